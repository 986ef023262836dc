"""The index of a cache: which images it holds, and one virtual dataset over all its shards."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx_cache._hdf5 import opened, require_no_writer
from featx_cache._spool import spooled
from featx_cache.files._atomic import atomic_path, open_regular

FORMAT = "featx-cache-1"
INDEX_NAME = "index.h5"
SHARDS_NAME = "shards"
PARTS_NAME = "parts"
DETAILS_NAME = "details"
IMAGE_COLUMNS = ("path", "sha256", "label", "split", "group")
TEXT = pd.StringDtype("python", na_value=np.nan)
"""Of text columns. Arrow's strings, pandas's default, can't hold file names that aren't UTF-8."""

MAPPINGS_PER_DATASET = 256
"""A virtual dataset of more mappings goes by way of parts, each with as many, or with the square
root of their number where that is more."""

_SIGNATURE = b"featx-index-sha256 "
_SIGNATURE_SIZE = len(_SIGNATURE) + 64 + 1
_HASHED_AT_ONCE = 2**20

BLOCK = 16_384
"""Texts that are encoded or decoded at a time, so that memory holds few of them twice."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What the labels of a cache mean.

    Attributes
    ----------
    classes
        The two class names, the negative one first.
    skipped
        Images that could not be read: relative path -> reason.
    weights, data
        Where the backbone's weights and the images were found; not part of the spec.
    """

    classes: tuple[str, str]
    skipped: Mapping[str, str]
    weights: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class RowPlaces:
    """Where each row of a cache lies.

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
    folder: Path, images: pd.DataFrame, places: RowPlaces, labelling: Labelling, *, spec: str
) -> None:
    """Write ``index.h5`` over finished shards, whole or not at all.

    Parameters
    ----------
    folder
        The cache; its shards are in ``shards/``.
    images
        One row an image, with the columns `IMAGE_COLUMNS`, all text, and any others.
    places
        Where the rows lie. Rows are in the order of `images`, copies ascending.
    labelling
        Class names, and what was skipped.
    spec
        Canonical JSON of what made the embeddings.

    Raises
    ------
    StorageError
        When the index can't be written.
    """
    first = folder / SHARDS_NAME / places.shards[0]
    with opened(first) as shard:
        shape, dtype = shard["embeddings"].shape[1:], shard["embeddings"].dtype
    with atomic_path(folder / INDEX_NAME) as temporary:
        _write(temporary, images, places, labelling, spec, shape, dtype)
        _sign(temporary)


def require_unchanged(index: Path) -> None:
    """Refuse an index that isn't what `write_index` wrote; of earlier versions any will do.

    A flipped bit in HDF5's own structures, those of virtual datasets before all, can make HDF5
    read in circles, or crash.

    Raises
    ------
    ValueError
        When it was changed.
    OpenElsewhereError
        When another program is changing it.
    """
    with open_regular(index) as file:
        require_no_writer(file, index)
        size = os.fstat(file.fileno()).st_size - _SIGNATURE_SIZE
        file.seek(max(0, size))
        signature = file.read()
        if signature.startswith(_SIGNATURE) and signature != _signature(index, size):
            raise ValueError("its checksum doesn't match")


def _sign(index: Path) -> None:
    """Put a checksum behind what HDF5 takes for the end of the file."""
    signature = _signature(index, index.stat().st_size)
    with index.open("ab") as file:
        file.write(signature)


def _signature(index: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with index.open("rb") as file:
        while size and (block := file.read(min(size, _HASHED_AT_ONCE))):
            digest.update(block)
            size -= len(block)
    return _SIGNATURE + digest.hexdigest().encode() + b"\n"


def _write(
    path: Path,
    images: pd.DataFrame,
    places: RowPlaces,
    labelling: Labelling,
    spec: str,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
) -> None:
    with spooled(path) as spool, h5py.File(spool, "w", libver="v110") as file:
        file.attrs["format"] = FORMAT
        file.attrs["spec"] = spec
        file.attrs["classes"] = json.dumps(list(labelling.classes))
        file.attrs["weights"] = labelling.weights
        file.attrs["data"] = labelling.data
        # Attributes end at 64 KiB; a list of skipped images may not.
        file.create_dataset("skipped", data=json.dumps(dict(labelling.skipped)))
        for column in IMAGE_COLUMNS:
            _write_text(file, f"images/{column}", images[column])
            spool.check()
        for column in images.columns:
            if column not in IMAGE_COLUMNS:
                _write_detail(file, str(column), images[column])
                spool.check()
        for column in ("image", "copy", "shard", "shard_row"):
            file.create_dataset(f"rows/{column}", data=getattr(places, column))
            spool.check()
        _write_text(file, "shards/name", pd.Series(list(places.shards)))
        _write_embeddings(file, places, shape, dtype)


def _write_embeddings(
    file: h5py.File, places: RowPlaces, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    """Make the virtual dataset over the shards, directly or by way of virtual datasets of parts.

    HDF5 holds some 25 kB of memory for each mapping of an open virtual dataset, whichever rows are
    read. A dataset over parts opens just the parts that a reader wants.
    """
    runs = _runs(places)
    rows = len(places.copy)
    size = max(MAPPINGS_PER_DATASET, math.isqrt(len(runs.start) - 1) + 1)
    if len(runs.start) <= size:
        _write_virtual(file, "embeddings", rows, shape, dtype, runs.mappings(places, 0))
        return
    parts: list[_Mapping] = []
    for first in range(0, len(runs.start), size):
        part = runs[first : first + size]
        begin, end = int(part.start[0]), int(part.stop[-1])
        name = f"{PARTS_NAME}/{len(parts):06}"
        _write_virtual(file, name, end - begin, shape, dtype, part.mappings(places, begin))
        parts.append(_Mapping(begin, end - begin, ".", name, 0, end - begin))
    _write_virtual(file, "embeddings", rows, shape, dtype, parts)


@dataclass(frozen=True, slots=True)
class _Mapping:
    """So many rows from `start` on are those of a dataset of `height` rows from `row` on."""

    start: int
    rows: int
    file: str
    dataset: str
    row: int
    height: int


@dataclass(frozen=True, slots=True)
class _Runs:
    """Rows that lie side by side in one shard: from `start` up to `stop`."""

    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    heights: NDArray[np.int64]

    def __getitem__(self, chosen: slice) -> _Runs:
        return _Runs(self.start[chosen], self.stop[chosen], self.heights)

    def mappings(self, places: RowPlaces, origin: int) -> Iterator[_Mapping]:
        """Describe each run, counting rows from `origin`."""
        for start, stop in zip(self.start.tolist(), self.stop.tolist(), strict=True):
            shard = int(places.shard[start])
            yield _Mapping(
                start - origin,
                stop - start,
                f"{SHARDS_NAME}/{places.shards[shard]}",
                "embeddings",
                int(places.shard_row[start]),
                int(self.heights[shard]),
            )


def _runs(places: RowPlaces) -> _Runs:
    heights = np.zeros(len(places.shards), np.int64)
    np.maximum.at(heights, places.shard, places.shard_row.astype(np.int64) + 1)
    breaks = (np.diff(places.shard) != 0) | (np.diff(places.shard_row) != 1)
    between = np.flatnonzero(breaks) + 1
    return _Runs(np.append(0, between), np.append(between, len(places.copy)), heights)


def _write_virtual(
    file: h5py.File,
    name: str,
    rows: int,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    mappings: Iterable[_Mapping],
) -> None:
    """Create a virtual dataset; h5py's own `VirtualLayout` takes ten times as long."""
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
    kind = h5py.h5t.py_create(dtype, logical=True)
    h5py.h5d.create(file.id, name.encode(), kind, target, properties, lcpl=created)


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
    for start in range(0, len(values), BLOCK):
        block = values.iloc[start : start + BLOCK]
        yield [str(value).encode("utf-8", "surrogateescape") for value in block]
