"""Headers of JPEG, JPEG-LS and JPEG 2000 codestreams, read before they are decoded.

A decoder makes room for what the codestream says, whatever the DICOM header around it says.
See ITU-T T.81 B.2 (JPEG), T.87 C.2 (JPEG-LS) and T.800 A.4 to A.6 (JPEG 2000).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import ceil
from typing import Literal

Kind = Literal["JPEG", "JPEG-LS", "JPEG 2000"]

SMALL_IMAGE = 2**22
"""Pixels of an image that may be compressed without a bound."""
MAX_PIXELS_PER_BYTE = 1000
"""Largest compression of larger images. Lossy X-rays have 10, and a blank JPEG has 90."""
MIN_TILE = 2**10
MIN_BLOCK = 2**8
"""Mean pixels of a tile and of a code block, at least: OpenJPEG takes 9 kB for a tile."""
MAX_PRECINCTS = 2**12
"""Largest number of precincts, with one more for every 512 pixels: each takes OpenJPEG 2 kB."""

_START = b"\xff\xd8"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LS_FRAME, _SCAN, _HIERARCHY, _EXTENSION = 0xF7, 0xDA, 0xDE, 0xEB
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
_BOXES = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SIZE = b"\xff\x4f\xff\x51"
_CODING, _COMPONENT_CODING, _TILE_PART, _TILE_DATA = 0xFF52, 0xFF53, 0xFF90, 0xFF93
_MARGIN = 2


class CodestreamError(ValueError):
    """A codestream that is damaged, or that asks for more memory than its pixels need."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """Size and parts of a codestream.

    Attributes
    ----------
    kind
        Family of its standard.
    rows, columns
        Size of the image in pixels.
    samples
        Samples of a pixel.
    precision
        Bits of a sample.
    marker
        Second byte of JPEG's frame marker, which tells the process. JPEG 2000 has 0.
    signed
        Whether samples may be negative. Only JPEG 2000 can say so.
    """

    kind: Kind
    rows: int
    columns: int
    samples: int
    precision: int
    marker: int = 0
    signed: bool = False


def read_codestream(data: bytes) -> Codestream:
    """Read the header of a codestream, without decoding."""
    try:
        return _jpeg(data) if data.startswith(_START) else _jpeg2000(data)
    except (IndexError, struct.error) as error:
        raise CodestreamError("damaged") from error


def _jpeg(data: bytes) -> Codestream:
    found, at = None, len(_START)
    while True:
        _require(data[at] == 0xFF)
        while (marker := data[at]) == 0xFF:  # any number of them may precede a marker
            at += 1
        _require(marker not in _WITHOUT_LENGTH and marker != _HIERARCHY)
        at += 1
        (length,) = struct.unpack_from(">H", data, at)
        _require(length >= _MARGIN)
        if marker == _SCAN:
            _require(found is not None)
            assert found is not None
            return found
        # JPEG XT hides a second image there.
        _require(marker != _EXTENSION or data[at + 2 : at + 4] != b"JP")
        if marker in _JPEG_FRAMES or marker == _JPEG_LS_FRAME:
            _require(found is None)
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 2)
            kind: Kind = "JPEG-LS" if marker == _JPEG_LS_FRAME else "JPEG"
            found = Codestream(kind, rows, columns, samples, precision, marker)
        at += length


def _jpeg2000(data: bytes) -> Codestream:
    start = _end_of_boxes(data) if data.startswith(_BOXES) else 0
    _require(data[start : start + 4] == _SIZE)
    length, _, x, y, left, top, width, height, tiles_left, tiles_top, samples = struct.unpack_from(
        ">2H8LH", data, start + 4
    )
    _require(samples > 0 and x > left and y > top and width > 0 and height > 0)
    columns, rows = x - left, y - top
    precision = max((data[start + 42 + 3 * c] & 0x7F) + 1 for c in range(samples))
    pixels = rows * columns
    tiles = ceil((x - tiles_left) / width) * ceil((y - tiles_top) / height)
    _require(tiles <= 1 + pixels // MIN_TILE)
    budget = (MAX_PRECINCTS + pixels // 512) // tiles
    tile = min(width, columns), min(height, rows)
    at = _require_modest_coding(data, start + 4 + length, samples, tile, budget)
    while data[at : at + 2] == _TILE_PART.to_bytes(2):
        (part,) = struct.unpack_from(">L", data, at + 6)
        _require_modest_coding(data, at + 12, samples, tile, budget)
        if part == 0:  # up to the end
            break
        _require(part >= 14)
        at += part
    signed = data[start + 42] >= 0x80
    return Codestream("JPEG 2000", rows, columns, samples, precision, signed=signed)


def _end_of_boxes(data: bytes) -> int:
    """Return where the codestream in a JP2 file begins."""
    at = len(_BOXES)
    while data[at + 4 : at + 8] != b"jp2c":
        (length,) = struct.unpack_from(">L", data, at)
        _require(length >= 8)  # shorter ones have a meaning, and make pydicom look for ever
        at += length
    return at + (16 if data[at : at + 4] == b"\0\0\0\1" else 8)


def _require_modest_coding(
    data: bytes, at: int, samples: int, tile: tuple[int, int], budget: int
) -> int:
    """Check the header of a codestream or a tile, and return where it ends."""
    while True:
        marker, length = struct.unpack_from(">2H", data, at)
        if marker in (_TILE_PART, _TILE_DATA):
            return at
        _require(marker > 0xFF00 and length >= _MARGIN)
        if marker == _CODING:
            _require_modest_blocks(data[at + 4], data[at + 9 : at + 2 + length], tile, budget)
        elif marker == _COMPONENT_CODING:
            style = at + (5 if samples < 257 else 6)
            _require_modest_blocks(data[style], data[style + 1 : at + 2 + length], tile, budget)
        at += 2 + length


def _require_modest_blocks(
    style: int, parameters: bytes, tile: tuple[int, int], budget: int
) -> None:
    """Refuse code blocks and precincts that are small and many (T.800 A.6.1)."""
    levels, wide, high = parameters[:3]
    _require(levels <= 32 and 2 ** (wide + high + 4) >= MIN_BLOCK)
    if style & 1:
        precincts = 0
        for level, size in enumerate(parameters[5 : 6 + levels]):
            scale = 2 ** (levels - level)
            across = ceil(tile[0] / scale / 2 ** (size & 15))
            precincts += across * ceil(tile[1] / scale / 2 ** (size >> 4))
        _require(precincts <= max(budget, levels + 1))


def _require(fine: bool) -> None:
    if not fine:
        raise CodestreamError("damaged")
