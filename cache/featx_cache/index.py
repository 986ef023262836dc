"""The index of a cache: which images it holds, and one virtual dataset over all its shards."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx_cache.files import atomic_path

FORMAT = "featx-cache-1"
INDEX_NAME = "index.h5"
SHARDS_NAME = "shards"
IMAGE_COLUMNS = ("path", "sha256", "label", "split", "group")


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
        One row an image, with the columns `IMAGE_COLUMNS`, all text.
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
    with h5py.File(first, "r") as shard:
        shape, dtype = shard["embeddings"].shape[1:], shard["embeddings"].dtype
    content = io.BytesIO()
    with h5py.File(content, "w", libver="v110") as file:
        file.attrs["format"] = FORMAT
        file.attrs["spec"] = spec
        file.attrs["classes"] = json.dumps(list(labelling.classes))
        file.attrs["weights"] = labelling.weights
        file.attrs["data"] = labelling.data
        # Attributes end at 64 KiB; a list of skipped images may not.
        file.create_dataset("skipped", data=json.dumps(dict(labelling.skipped)))
        for column in IMAGE_COLUMNS:
            file.create_dataset(f"images/{column}", data=_fixed_text(images[column]))
        for column in ("image", "copy", "shard", "shard_row"):
            file.create_dataset(f"rows/{column}", data=getattr(places, column))
        file.create_dataset("shards/name", data=_fixed_text(pd.Series(list(places.shards))))
        file.create_virtual_dataset("embeddings", _virtual_layout(places, shape, dtype))
    with atomic_path(folder / INDEX_NAME) as temporary:
        temporary.write_bytes(content.getbuffer())


def _virtual_layout(
    places: RowPlaces, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> h5py.VirtualLayout:
    """Map every run of rows that lie side by side in one shard."""
    layout = h5py.VirtualLayout((len(places.copy), *shape), dtype)
    sizes = np.zeros(len(places.shards), np.int64)
    np.maximum.at(sizes, places.shard, places.shard_row.astype(np.int64) + 1)
    breaks = (np.diff(places.shard) != 0) | (np.diff(places.shard_row) != 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(places.copy)]])
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        shard, row = int(places.shard[start]), int(places.shard_row[start])
        source = h5py.VirtualSource(
            f"{SHARDS_NAME}/{places.shards[shard]}",
            "embeddings",
            (int(sizes[shard]), *shape),
            dtype,
        )
        layout[start:stop] = source[row : row + stop - start]
    return layout


def _fixed_text(values: pd.Series[str]) -> NDArray[np.generic]:
    """Encode text as fixed-length UTF-8, which every HDF5 reader knows."""
    encoded = [str(value).encode("utf-8", "surrogateescape") for value in values]
    width = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))
