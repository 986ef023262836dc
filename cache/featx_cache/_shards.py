"""One shard: the embeddings of some images and their copies, in one HDF5 file with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from featx_cache._errors import DamagedShardError, InputError
from featx_cache._hdf5 import (
    UNREADABLE_FILE_ERRORS,
    OpenElsewhereError,
    dataset,
    opened,
    text_attribute,
)
from featx_cache._text import first_line
from featx_cache.files._atomic import atomic_path

FORMAT = "featx-shard-1"
SHA256_DTYPE = np.dtype("S64")

MIN_SPAN_SHARE = 0.6
"""Least share of the rows between the first and the last that are read in one piece. Fewer rows are
read stretch by stretch."""


@dataclass(frozen=True, slots=True)
class RowKeys:
    """Keys of a shard's rows: the image (by content) and the number of its copy.

    Attributes
    ----------
    image_sha256 : ndarray of shape (rows,), dtype S64
        Hexadecimal SHA-256 of the image file.
    copy : ndarray of shape (rows,), dtype int16
        0 is the untouched image. 1, 2, … are its augmented copies.
    """

    image_sha256: NDArray[np.bytes_]
    copy: NDArray[np.int16]

    @classmethod
    def of(cls, pairs: list[tuple[str, int]]) -> RowKeys:
        """Build the arrays from (hexadecimal SHA-256, copy) pairs."""
        return cls(
            np.array([sha256 for sha256, _ in pairs], SHA256_DTYPE),
            np.array([copy for _, copy in pairs], np.int16),
        )

    def pairs(self) -> list[tuple[str, int]]:
        """Return the rows as (hexadecimal SHA-256, copy) pairs."""
        return list(
            zip(
                np.char.decode(self.image_sha256, "ascii").tolist(), self.copy.tolist(), strict=True
            )
        )


def shard_name(fingerprint: str, keys: RowKeys) -> str:
    """Name a shard by what it holds, so that any worker arrives at the same name."""
    digest = hashlib.sha256(fingerprint.encode())
    digest.update(keys.image_sha256.tobytes())
    digest.update(keys.copy.astype("<i2").tobytes())
    return f"shard-{digest.hexdigest()[:20]}.h5"


def write_shard(
    path: Path,
    embeddings: NDArray[np.floating],
    keys: RowKeys,
    *,
    spec: str,
    compression: str | None = None,
) -> None:
    """Write a whole shard, or nothing.

    Parameters
    ----------
    path
        File of the shard. Its folder must exist, else an OSError is raised.
    embeddings : ndarray of shape (rows, ...), dtype float16 or float32
        One embedding a row. It is 9x9x512 for VGG19 at 300x300.
    keys, spec
        Image and copy of each row, and canonical JSON of what made the embeddings.
    compression
        ``None``, ``"lzf"`` or ``"gzip"``: the filters that plain HDF5 builds read.
    """
    if len(embeddings) != len(keys.copy):
        raise ValueError(f"{len(embeddings)} embeddings for {len(keys.copy)} rows")
    # The file is made in memory: HDF5 can't recover from a disk that fills up while it writes.
    # Not with HDF5's own file images: their superblock has a checksum that doesn't match.
    content = io.BytesIO()
    with h5py.File(content, "w", libver="v110") as file:
        file.create_dataset(
            "embeddings",
            data=embeddings,
            chunks=(1, *embeddings.shape[1:]),
            compression=compression,
        )
        file.create_dataset("rows/image_sha256", data=keys.image_sha256)
        file.create_dataset("rows/copy", data=keys.copy)
        facts = {"format": FORMAT, "spec": spec, "checksum": _checksum(embeddings, keys, spec)}
        for name, value in facts.items():
            file.attrs[name] = _fixed_text(value)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_keys(path: Path) -> tuple[RowKeys, str]:
    """Read what a shard's rows are, and its spec, without reading the embeddings."""
    with _opened(path) as file:
        return _keys(file), _spec(file)


def read_embeddings(path: Path, rows: NDArray[np.integer] | None = None) -> NDArray[np.floating]:
    """Read a shard's embeddings in its own dtype, or some rows of them in the order asked for."""
    with _opened(path) as file:
        held = _embeddings(file)
        if rows is None:
            return np.asarray(held[...])
        if rows.size and not 0 <= rows.min() <= rows.max() < len(held):
            raise ValueError(f"it has {len(held)} rows, and row {rows.max()} is asked for")
        first, last = int(rows.min()), int(rows.max()) + 1
        if (rows.size == last - first) and bool((np.diff(rows) == 1).all()):
            return np.asarray(held[first:last])
        if rows.size < MIN_SPAN_SHARE * (last - first):
            return _read_stretches(held, rows)
        span: NDArray[np.floating] = np.asarray(held[first:last])[rows - first]
        return span


def _read_stretches(held: h5py.Dataset, rows: NDArray[np.integer]) -> NDArray[np.floating]:
    """Read stretches of neighboring rows, each by itself: every row is compressed by itself."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    result = np.empty((rows.size, *held.shape[1:]), held.dtype)
    for stretch in np.split(np.arange(rows.size), np.flatnonzero(np.diff(ascending) != 1) + 1):
        result[order[stretch]] = held[int(ascending[stretch[0]]) : int(ascending[stretch[-1]]) + 1]
    return result


def verify_shard(path: Path) -> tuple[RowKeys, str]:
    """Recompute a shard's checksum and return its rows and spec."""
    with _opened(path) as file:
        keys = _keys(file)
        spec = _spec(file)
        if _checksum(_embeddings(file)[...], keys, spec) != text_attribute(file, "checksum"):
            raise ValueError("its checksum doesn't match")
        return keys, spec


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a shard. If HDF5 complains about anything, the shard is damaged."""
    if not path.is_file():
        raise _damaged(path, "the file is missing")
    try:
        with opened(path) as file:
            if text_attribute(file, "format") != FORMAT:
                raise ValueError(f"it isn't a {FORMAT} file")
            yield file
    except OpenElsewhereError as error:
        raise InputError(str(error), "Close it there, and run the command again.") from error
    except UNREADABLE_FILE_ERRORS as error:
        raise _damaged(path, first_line(error)[:200]) from error


def _embeddings(file: h5py.File) -> h5py.Dataset:
    held = dataset(file, "embeddings", "f")
    if held.ndim < 2:
        raise ValueError(f"its embeddings have the shape {held.shape}")
    return held


def _keys(file: h5py.File) -> RowKeys:
    keys = RowKeys(
        np.asarray(dataset(file, "rows/image_sha256", "S", 1)[...], SHA256_DTYPE),
        np.asarray(dataset(file, "rows/copy", "iu", 1)[...], np.int16),
    )
    if not len(keys.copy) == len(keys.image_sha256) == len(_embeddings(file)):
        raise ValueError("its tables differ in length")
    if not keys.image_sha256.tobytes().isascii():
        raise ValueError("its hashes of images are no hashes")
    return keys


def _spec(file: h5py.File) -> str:
    spec = text_attribute(file, "spec")
    if not isinstance(json.loads(spec), dict):
        raise ValueError("its spec is none")
    return spec


def _fixed_text(text: str) -> NDArray[np.generic]:
    """Encode an attribute in fixed length.

    Text of variable length lies in HDF5's global heap, which has no checksum: one flipped byte can
    make HDF5 read in circles for ever.
    """
    encoded = text.encode()
    return np.array(encoded, h5py.string_dtype("utf-8", len(encoded)))


def _checksum(embeddings: NDArray[np.floating], keys: RowKeys, spec: str) -> str:
    digest = hashlib.sha256(spec.encode())
    digest.update(f"{embeddings.dtype.str}{embeddings.shape}".encode())
    digest.update(keys.image_sha256.tobytes())
    digest.update(keys.copy.astype("<i2").tobytes())
    digest.update(np.ascontiguousarray(embeddings).view(np.uint8).data)
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> DamagedShardError:
    return DamagedShardError(
        f"damaged shard {path}: {why}",
        "Run `featx.extract` again: it repairs just the damaged shards.",
    )
