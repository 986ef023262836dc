"""The index of a cache: which images it holds, and one virtual dataset over all its shards."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx_cache._hdf5 import opened, require_no_writer
from featx_cache.files._atomic import atomic_path, open_regular

FORMAT = "featx-cache-1"
INDEX_NAME = "index.h5"
SHARDS_NAME = "shards"
PARTS_NAME = "parts"
DETAILS_NAME = "details"
IMAGE_COLUMNS = ("path", "sha256", "label", "split", "group")
TEXT = pd.StringDtype("python", na_value=np.nan)
"""Type of text columns. Arrow's strings, pandas's default, hold no file names that aren't UTF-8."""

MAPPINGS_PER_DATASET = 256
"""A virtual dataset of more mappings goes by way of parts, each with as many, or with the square
root of their number where that is more."""

_SIGNATURE = b"featx-index-sha256 "
_SIGNATURE_SIZE = len(_SIGNATURE) + 64 + 1
_BYTES_PER_BLOCK = 2**20

TEXTS_PER_BLOCK = 16_384
"""Texts that are encoded or decoded at a time, so that memory holds few of them twice."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a cache's embeddings, besides its spec.

    Attributes
    ----------
    classes
        Names of the negative and the positive class.
    skipped
        Images that could not be read: relative path -> reason.
    weights, data
        Places where the backbone's weights and the images were found.
    """

    classes: tuple[str, str]
    skipped: Mapping[str, str]
    weights: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class _EmbeddingKind:
    """Shape and dtype of one embedding."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True)
class RowLocations:
    """Location of each row of a cache.

    Attributes
    ----------
    image, copy : ndarray of shape (rows,), int64 and int16
        Position in the image table, and the copy.
    shard, shard_row : ndarray of shape (rows,), int32
        Position in `shards`, and the row within that shard.
    shards
        File names of the shards.
    """

    image: NDArray[np.int64]
    copy: NDArray[np.int16]
    shard: NDArray[np.int32]
    shard_row: NDArray[np.int32]
    shards: Sequence[str]


def write_index(
    folder: Path,
    images: pd.DataFrame,
    locations: RowLocations,
    provenance: Provenance,
    *,
    spec: str,
) -> None:
    """Write ``index.h5`` over finished shards, whole or not at all.

    Parameters
    ----------
    folder
        Folder of the cache.
    images
        One row an image, with the columns `IMAGE_COLUMNS`, all text, and any others.
    locations
        Locations of the rows, which are in the order of `images`, copies ascending.
    provenance, spec
        Origin of the embeddings, and canonical JSON of what made them.
    """
    first = folder / SHARDS_NAME / locations.shards[0]
    with opened(first) as shard:
        kind = _EmbeddingKind(shard["embeddings"].shape[1:], shard["embeddings"].dtype)
    # The file is made in memory: HDF5 crashes the process if a disk fills up while it writes.
    content = io.BytesIO()
    with h5py.File(content, "w", libver="v110") as file:
        _write_facts(file, provenance, spec)
        for column in images.columns:
            if column in IMAGE_COLUMNS:
                _write_text(file, f"images/{column}", images[column])
            else:
                _write_detail(file, str(column), images[column])
        for column in ("image", "copy", "shard", "shard_row"):
            file.create_dataset(f"rows/{column}", data=getattr(locations, column))
        _write_text(file, "shards/name", pd.Series(list(locations.shards)))
        _write_embeddings(file, locations, kind)
    # HDF5 takes the checksum for something behind the end of its file.
    content.write(_signature(content, content.seek(0, io.SEEK_END)))
    with atomic_path(folder / INDEX_NAME) as temporary:
        temporary.write_bytes(content.getbuffer())


def require_unchanged(index: Path) -> None:
    """Refuse an index that isn't what `write_index` wrote. Earlier versions wrote no checksum.

    A flipped bit in HDF5's own structures, those of virtual datasets before all, can make HDF5
    read in circles, or crash.
    """
    with open_regular(index) as file:
        require_no_writer(file, index)
        size = os.fstat(file.fileno()).st_size - _SIGNATURE_SIZE
        file.seek(max(0, size))
        signature = file.read()
        if signature.startswith(_SIGNATURE) and signature != _signature(file, size):
            raise ValueError("its checksum doesn't match")


def _signature(file: IO[bytes], size: int) -> bytes:
    """Return the checksum of the first `size` bytes, as it stands behind them."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (block := file.read(min(size, _BYTES_PER_BLOCK))):
        digest.update(block)
        size -= len(block)
    return _SIGNATURE + digest.hexdigest().encode() + b"\n"


def _write_facts(file: h5py.File, provenance: Provenance, spec: str) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["spec"] = spec
    file.attrs["classes"] = json.dumps(list(provenance.classes))
    file.attrs["weights"] = provenance.weights
    file.attrs["data"] = provenance.data
    # Attributes end at 64 KiB; a list of skipped images may not.
    file.create_dataset("skipped", data=json.dumps(dict(provenance.skipped)))


def _write_embeddings(file: h5py.File, locations: RowLocations, kind: _EmbeddingKind) -> None:
    """Make the virtual dataset over the shards, directly or by way of virtual datasets of parts.

    HDF5 holds some 25 kB of memory for each mapping of an open virtual dataset, whichever rows are
    read. A dataset over parts opens just the parts that a reader wants.
    """
    stretches = _stretches(locations)
    rows = len(locations.copy)
    size = max(MAPPINGS_PER_DATASET, math.isqrt(len(stretches.start) - 1) + 1)
    if len(stretches.start) <= size:
        _write_virtual(file, "embeddings", rows, kind, stretches.mappings(locations, 0))
        return
    parts: list[_Mapping] = []
    for first in range(0, len(stretches.start), size):
        part = stretches[first : first + size]
        begin, end = int(part.start[0]), int(part.stop[-1])
        name = f"{PARTS_NAME}/{len(parts):06}"
        _write_virtual(file, name, end - begin, kind, part.mappings(locations, begin))
        parts.append(_Mapping(begin, end - begin, ".", name, 0, end - begin))
    _write_virtual(file, "embeddings", rows, kind, parts)


@dataclass(frozen=True, slots=True)
class _Mapping:
    """Rows from `start` on are the rows from `row` on of a dataset of `height` rows."""

    start: int
    rows: int
    file: str
    dataset: str
    row: int
    height: int


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Rows that lie side by side in one shard: from `start` up to `stop`."""

    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    heights: NDArray[np.int64]

    def __getitem__(self, chosen: slice) -> _Stretches:
        return _Stretches(self.start[chosen], self.stop[chosen], self.heights)

    def mappings(self, locations: RowLocations, origin: int) -> Iterator[_Mapping]:
        """Describe each stretch, counting rows from `origin`."""
        for start, stop in zip(self.start.tolist(), self.stop.tolist(), strict=True):
            shard = int(locations.shard[start])
            yield _Mapping(
                start - origin,
                stop - start,
                f"{SHARDS_NAME}/{locations.shards[shard]}",
                "embeddings",
                int(locations.shard_row[start]),
                int(self.heights[shard]),
            )


def _stretches(locations: RowLocations) -> _Stretches:
    heights = np.zeros(len(locations.shards), np.int64)
    np.maximum.at(heights, locations.shard, locations.shard_row.astype(np.int64) + 1)
    breaks = (np.diff(locations.shard) != 0) | (np.diff(locations.shard_row) != 1)
    between = np.flatnonzero(breaks) + 1
    return _Stretches(np.append(0, between), np.append(between, len(locations.copy)), heights)


def _write_virtual(
    file: h5py.File, name: str, rows: int, kind: _EmbeddingKind, mappings: Iterable[_Mapping]
) -> None:
    """Create a virtual dataset. h5py's own `VirtualLayout` takes ten times as long."""
    shape = kind.shape
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.VIRTUAL)
    target, rest = h5py.h5s.create_simple((rows, *shape)), (0,) * len(shape)
    for m in mappings:
        target.select_hyperslab((m.start, *rest), (m.rows, *shape))
        source = h5py.h5s.create_simple((m.height, *shape))
        source.select_hyperslab((m.row, *rest), (m.rows, *shape))
        properties.set_virtual(target, os.fsencode(m.file), m.dataset.encode(), source)
    target.select_all()
    created = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    created.set_create_intermediate_group(True)
    dtype = h5py.h5t.py_create(kind.dtype, logical=True)
    h5py.h5d.create(file.id, name.encode(), dtype, target, properties, lcpl=created)


def _write_detail(file: h5py.File, name: str, values: pd.Series[Any]) -> None:
    """Write another column of the manifest: numbers as numbers, the rest as text."""
    path = f"{DETAILS_NAME}/{name.replace('/', '_')}"
    if pd.api.types.is_integer_dtype(values.dtype):
        file.create_dataset(path, data=values.to_numpy())
    else:
        _write_text(file, path, values)


def _write_text(file: h5py.File, name: str, values: pd.Series[str]) -> None:
    """Write text as fixed-length UTF-8, which every HDF5 reader knows, a block at a time."""
    width = max([1, *(len(text) for block in _encoded(values) for text in block)])
    dtype = h5py.string_dtype("utf-8", width)
    dataset = file.create_dataset(name, (len(values),), dtype)
    start = 0
    for block in _encoded(values):
        dataset[start : start + len(block)] = np.array(block, dtype)
        start += len(block)


def _encoded(values: pd.Series[str]) -> Iterator[list[bytes]]:
    for start in range(0, len(values), TEXTS_PER_BLOCK):
        block = values.iloc[start : start + TEXTS_PER_BLOCK]
        yield [str(value).encode("utf-8", "surrogateescape") for value in block]
