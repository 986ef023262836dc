"""Rows that finished shards hold, and rows that are missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Progress
from featx._specs import require_equal
from featx.errors import DamagedShardError
from featx.extraction._spec import ExtractionSpec
from featx_cache._index import SHARDS_NAME, RowLocations
from featx_cache._shards import SHA256_DTYPE, RowKeys, verify_shard

CopiesOf = Literal["train", "all"]
"""Images that have augmented copies: those of the split ``train``, or all."""

RowKey = tuple[str, int]
"""An image's SHA-256 and a copy's number."""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image to decode, and the copies of it to embed."""

    path: str
    sha256: str
    copies: tuple[int, ...]


class FinishedShards:
    """Shards that a cache folder holds, and their rows.

    Attributes
    ----------
    names : list of str
        File names of the finished shards, in the order in which they were added.
    damaged : list of Path
        Shards whose checksum doesn't match. Their rows aren't counted in.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.damaged: list[Path] = []
        self._keys: list[RowKeys] = []

    def add(self, name: str, keys: RowKeys) -> None:
        """Count in the rows of a finished shard."""
        self.names.append(name)
        self._keys.append(keys)

    def find(self, keys: RowKeys) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Find rows. If several shards hold a row, the shard counts that was added first.

        Returns
        -------
        shard, shard_row : ndarray of shape (rows,), dtype int32
            Position in `names` and row in that shard, or -1 for rows that no shard holds.
        """
        shard = np.full(len(keys.copy), -1, np.int32)
        shard_row = np.full(len(keys.copy), -1, np.int32)
        if not self._keys:
            return shard, shard_row
        sizes = [len(each.copy) for each in self._keys]
        finished = RowKeys(
            np.concatenate([each.image_sha256 for each in self._keys]),
            np.concatenate([each.copy for each in self._keys]),
        )
        hashes = _hashes(finished)
        order = np.argsort(hashes, kind="stable")
        hashes, wanted = hashes[order], _hashes(keys)
        position = np.searchsorted(hashes, wanted)
        left = np.arange(len(wanted))
        # Equal hashes are as good as always equal keys, but only equal keys count.
        while len(left):
            left = left[position[left] < len(hashes)]
            left = left[hashes[position[left]] == wanted[left]]
            at = order[position[left]]
            same = finished.copy[at] == keys.copy[left]
            same &= finished.image_sha256[at] == keys.image_sha256[left]
            shard_row[left[same]] = at[same]
            left = left[~same]
            position[left] += 1
        found = shard_row >= 0
        starts = np.concatenate([[0], np.cumsum(sizes)])
        shard[found] = np.searchsorted(starts, shard_row[found], side="right") - 1
        shard_row[found] -= starts[shard[found]].astype(np.int32)
        return shard, shard_row


def _hashes(keys: RowKeys) -> NDArray[np.uint64]:
    """Mix 64 bits of each image's SHA-256 with the copy's number."""
    words = np.ascontiguousarray(keys.image_sha256).view(np.uint64).reshape(-1, 8)
    mixed: NDArray[np.uint64] = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) + words[:, 1]
    return mixed * np.uint64(0xD6E8FEB86659FD93) + keys.copy.astype(np.uint64)


def find_finished_shards(folder: Path, spec: ExtractionSpec, progress: Progress) -> FinishedShards:
    """Verify every shard in a cache folder and list its rows."""
    result = FinishedShards()
    shards = sorted((folder / SHARDS_NAME).glob("shard-*.h5"))
    with progress.task("Checking finished shards", len(shards), "shard") as advance:
        for path in shards:
            try:
                keys, made_by = verify_shard(path)
            except DamagedShardError:
                result.damaged.append(path)
            else:
                require_equal(
                    f"the cache {folder} was made with other settings",
                    json.loads(made_by),
                    spec.model_dump(mode="json"),
                    "Use the same settings, or another `cache` folder.",
                )
                result.add(path.name, keys)
            advance(1)
    return result


def missing_tasks(
    table: pd.DataFrame,
    spec: ExtractionSpec,
    finished: FinishedShards,
    copies_of: CopiesOf = "train",
) -> list[ImageTask]:
    """List what isn't in any shard, each distinct image once, in the order of the table."""
    image, keys = _wanted_rows(table, spec, copies_of)
    absent = np.flatnonzero(finished.find(keys)[0] < 0)
    paths, hashes = (table[column].to_numpy(object) for column in ("path", "sha256"))
    tasks: dict[str, tuple[str, set[int]]] = {}
    for number, copy in zip(image[absent].tolist(), keys.copy[absent].tolist(), strict=True):
        tasks.setdefault(hashes[number], (paths[number], set()))[1].add(copy)
    shared: dict[frozenset[int], tuple[int, ...]] = {}
    return [
        ImageTask(path, sha256, shared.setdefault(frozenset(copies), tuple(sorted(copies))))
        for sha256, (path, copies) in tasks.items()
    ]


def locate_rows(
    table: pd.DataFrame,
    spec: ExtractionSpec,
    finished: FinishedShards,
    copies_of: CopiesOf = "train",
) -> RowLocations:
    """Find the rows of images, image by image in the order of the table, copies ascending."""
    image, keys = _wanted_rows(table, spec, copies_of)
    shard, shard_row = finished.find(keys)
    if (absent := np.flatnonzero(shard < 0)).size:
        path = table["path"].iloc[image[absent[0]]]
        raise KeyError(f"no shard holds copy {keys.copy[absent[0]]} of {path}")
    used, number = np.unique(shard, return_inverse=True)
    names = [finished.names[each] for each in used.tolist()]
    order = np.argsort(names)
    position = np.empty(len(names), np.int32)
    position[order] = np.arange(len(names))
    return RowLocations(
        image=image,
        copy=keys.copy,
        shard=position[number],
        shard_row=shard_row,
        shards=[names[each] for each in order.tolist()],
    )


def _wanted_rows(
    table: pd.DataFrame, spec: ExtractionSpec, copies_of: CopiesOf
) -> tuple[NDArray[np.int64], RowKeys]:
    """List the rows that a cache of these images has: positions in the table, and keys."""
    copied = (table["split"] == "train").to_numpy() | (copies_of == "all")
    copies = np.where(copied, 1 + spec.augmentation.copies, 1)
    image = np.repeat(np.arange(len(table)), copies)
    first = np.repeat(np.cumsum(copies) - copies, copies)
    sha256 = table["sha256"].to_numpy(object).astype(SHA256_DTYPE)[image]
    return image, RowKeys(sha256, (np.arange(len(image)) - first).astype(np.int16))
