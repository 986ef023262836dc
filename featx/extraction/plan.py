"""Deciding what is still to be done: which rows finished shards hold, and which are missing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from featx.data import Manifest
from featx.errors import DamagedShardError
from featx.extraction.spec import ExtractionSpec
from featx.progress import Progress
from featx.specs import require_equal
from featx_cache import SHARDS_NAME, RowKeys, RowPlaces, verify_shard

RowKey = tuple[str, int]
"""An image's SHA-256 and a copy's number."""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image to decode, and the copies of it to embed."""

    path: str
    sha256: str
    copies: tuple[int, ...]


@dataclass(slots=True)
class Survey:
    """What a cache folder holds already.

    Attributes
    ----------
    places
        Row key -> (shard's file name, row in it).
    damaged
        Shards whose checksum doesn't match; their rows aren't in `places`.
    """

    places: dict[RowKey, tuple[str, int]] = field(default_factory=dict)
    damaged: list[Path] = field(default_factory=list)

    def add(self, name: str, keys: list[RowKey] | RowKeys) -> None:
        """Count in the rows of a finished shard."""
        for row, key in enumerate(keys.pairs() if isinstance(keys, RowKeys) else keys):
            self.places.setdefault(key, (name, row))


def survey(folder: Path, spec: ExtractionSpec, progress: Progress) -> Survey:
    """Verify every shard in a cache folder and list its rows.

    Raises
    ------
    SpecMismatchError
        When a shard was made by another spec; the message names the fields that differ.
    """
    result = Survey()
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
                    "Use the same settings, or another --cache folder.",
                )
                result.add(path.name, keys.pairs())
            advance(1)
    return result


def missing_tasks(manifest: Manifest, spec: ExtractionSpec, held: Survey) -> list[ImageTask]:
    """List what isn't in any shard, each distinct image once, in the manifest's order."""
    tasks: dict[str, ImageTask] = {}
    wanted: dict[str, set[int]] = {}
    columns = (manifest.table[c] for c in ("path", "sha256", "split"))
    for path, sha256, split in zip(*columns, strict=True):
        copies = wanted.setdefault(sha256, set())
        copies.update(c for c in copies_of(split, spec) if (sha256, c) not in held.places)
        if copies:
            path = tasks[sha256].path if sha256 in tasks else path
            tasks[sha256] = ImageTask(path, sha256, tuple(sorted(copies)))
    return list(tasks.values())


def copies_of(split: str, spec: ExtractionSpec) -> range:
    """Which copies an image of a split has: only training images are augmented."""
    return range(1 + (spec.augmentation.copies if split == "train" else 0))


def place_rows(
    manifest: Manifest, spec: ExtractionSpec, held: Survey, skipped: set[str]
) -> tuple[pd.DataFrame, RowPlaces]:
    """Put the rows of the manifest's readable images in its order.

    Returns
    -------
    images : DataFrame
        The manifest's table without the images in `skipped` (SHA-256).
    places : RowPlaces
        Image by image, copies ascending.
    """
    images = manifest.table[~manifest.table["sha256"].isin(skipped)].reset_index(drop=True)
    rows: list[tuple[int, int, str, int]] = []
    for number, (sha256, split) in enumerate(zip(images["sha256"], images["split"], strict=True)):
        for copy in copies_of(split, spec):
            rows.append((number, copy, *held.places[sha256, copy]))
    shards = sorted({name for _, _, name, _ in rows})
    position = {name: number for number, name in enumerate(shards)}
    return images, RowPlaces(
        image=np.array([image for image, _, _, _ in rows], np.int64),
        copy=np.array([copy for _, copy, _, _ in rows], np.int16),
        shard=np.array([position[name] for _, _, name, _ in rows], np.int32),
        shard_row=np.array([row for _, _, _, row in rows], np.int32),
        shards=shards,
    )
