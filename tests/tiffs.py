"""TIFF files of any kind of pixels, written tag by tag."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, LAB = 0, 1, 2, 3, 5, 8
_TYPES = {"H": 3, "I": 4, "f": 11, "d": 12}


def tiff(
    path: Path,
    *pages: NDArray[Any],
    photometric: int = MIN_IS_BLACK,
    order: str = "<",
    bits: int | None = None,
    tags: Mapping[int, tuple[str, Any]] | None = None,
    page_tags: Sequence[Mapping[int, tuple[str, Any]]] = (),
) -> Path:
    """Write uncompressed pages of shape (rows, columns[, samples]).

    `tags` are of all pages and `page_tags` of one each: number -> (struct's letter, value or
    values). `bits` is what a sample is said to have, where that isn't what it takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8))
    for number, page in enumerate(pages):
        data = page.astype(page.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
        if bits == 12:
            data = _packed(page)
        samples = 1 if page.ndim == 2 else page.shape[2]
        kind = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
        width = bits or 8 * page.dtype.itemsize
        entries: dict[int, tuple[str, Any]] = {
            256: ("I", [page.shape[1]]), 257: ("I", [page.shape[0]]), 258: ("H", [width] * samples),
            259: ("H", [1]), 262: ("H", [photometric]), 273: ("I", [0]), 277: ("H", [samples]),
            278: ("I", [page.shape[0]]), 279: ("I", [len(data)]), 339: ("H", [kind] * samples),
        }  # fmt: skip
        more = {**(tags or {}), **(page_tags[number] if number < len(page_tags) else {})}
        for tag, (letter, value) in more.items():
            entries[tag] = letter, np.ravel(value).tolist()
        start = len(content)
        behind = start + 2 + 12 * len(entries) + 4
        outside = bytearray()
        table = struct.pack(f"{order}H", len(entries))
        for tag in sorted(entries):
            letter, values = entries[tag]
            packed = struct.pack(f"{order}{len(values)}{letter}", *values)
            if tag == 273:
                packed = b"????"
            if len(packed) > 4:
                outside += packed
                packed = struct.pack(f"{order}I", behind + len(outside) - len(packed))
            table += struct.pack(f"{order}HHI", tag, _TYPES[letter], len(values))
            table += packed.ljust(4, b"\0")
        table = table.replace(b"????", struct.pack(f"{order}I", behind + len(outside)))
        end = behind + len(outside) + len(data)
        last = number == len(pages) - 1
        table += struct.pack(f"{order}I", 0 if last else end)
        content += table + outside + data
    path.write_bytes(bytes(content))
    return path


def _packed(page: NDArray[Any]) -> bytes:
    """Pack samples of 12 bits, two in three bytes. Rows are of an even length."""
    pairs = page.reshape(-1, 2).astype(np.uint32)
    whole = pairs[:, 0] << 12 | pairs[:, 1]
    return np.stack([whole >> 16, whole >> 8 & 255, whole & 255], axis=1).astype(np.uint8).tobytes()
