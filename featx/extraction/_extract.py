"""Filling a cache: what `featx extract` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from featx._progress import SILENT, Advance, Progress
from featx.backbones import Backbone
from featx.data import Manifest
from featx.errors import FeatxError, InputError, NotACacheError
from featx.extraction._batching import DEFAULT_BATCH_SIZE, ROWS_PER_PROBED_ROW, probe_batch_size
from featx.extraction._engines import Engine, LocalEngine
from featx.extraction._packing import ShardTask, pack
from featx.extraction._pipeline import ShardResult, Workplace
from featx.extraction._plan import CopiesOf, Survey, missing_tasks, place_rows, survey
from featx.extraction._spec import ExtractionSpec, StorageDtype
from featx.extraction._target import (
    agree_on_spec,
    discard,
    filling,
    index_lock,
    keep_standardization,
)
from featx.images import AugmentationSpec, DecodingSpec, UnreadableImageError, decode
from featx_cache import open_cache
from featx_cache._index import SHARDS_NAME, Provenance, write_index
from featx_cache.files import Claims

ROWS_PER_SHARD = 240
"""Rows of a full shard: under 20 MB of 9x9x512 float16, and a multiple of the usual batches."""

SECONDS_BETWEEN_LOOKS = 1.0
"""How often to look whether someone else has finished a shard."""

OnError = Literal["skip", "fail"]


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """How to extract, as far as it doesn't change the embeddings.

    Attributes
    ----------
    engine
        Who makes the shards.
    batch_size
        Rows in one forward pass; None finds out, where there is enough to do for it to pay.
    on_error
        ``skip`` leaves unreadable images out and lists them; ``fail`` stops at the first.
    rows_per_shard
        What a crash can lose at most.
    compression
        ``None``, ``"lzf"`` or ``"gzip"``, of the shards. docs/extraction.md has what each costs.
    copies_of
        Which images get augmented copies: those of split ``train``, or ``all``, which test-time
        augmentation needs.
    """

    engine: Engine = field(default_factory=LocalEngine)
    batch_size: int | None = None
    on_error: OnError = "skip"
    rows_per_shard: int = ROWS_PER_SHARD
    compression: str | None = "gzip"
    copies_of: CopiesOf = "train"


@dataclass(slots=True)
class ExtractionReport:
    """What an extraction did.

    Attributes
    ----------
    cache
        The folder.
    images, rows
        Images and embeddings in the cache now.
    new_rows
        Embeddings that were computed; the rest were there.
    rows_by_others
        Embeddings that another `featx extract` on the same cache computed meanwhile.
    added, changed, removed
        Images that are new, have other content, or are gone since the cache was last finished.
    repaired
        Damaged shards that were replaced.
    skipped
        Unreadable images: relative path -> reason.
    seconds
        Time of the forward passes, decoding and writing, without loading the network.
    """

    cache: Path
    images: int = 0
    rows: int = 0
    new_rows: int = 0
    rows_by_others: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    repaired: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def extract(
    manifest: Manifest,
    cache: str | Path,
    backbone: Backbone,
    *,
    augmentation: AugmentationSpec | None = None,
    decoding: DecodingSpec | None = None,
    storage_dtype: StorageDtype = "float16",
    options: ExtractionOptions | None = None,
    progress: Progress = SILENT,
) -> ExtractionReport:
    """Run the backbone once over every image and its copies, and keep the embeddings.

    Finished shards are never computed again: call it once more after an interruption, after
    ``featx cache verify`` found damage, or after images were added or taken away. Several calls, on
    one machine or many, may fill one cache together.

    Parameters
    ----------
    manifest
        The labelled images. Only those of split ``train`` get augmented copies, unless `options`
        say otherwise.
    cache
        The folder to fill; created when missing.
    backbone
        See `featx.backbones.load_backbone`.
    augmentation
        Number and kind of copies; None takes the study's four.
    decoding
        How files become pixels; None takes the defaults.
    storage_dtype
        ``float16`` (half the disk; relative error below 0.1 %) or ``float32``.
    options
        Batch size, what to do with unreadable images, and the like.
    progress
        Shows how far it got.

    Returns
    -------
    ExtractionReport

    Raises
    ------
    SpecMismatchError
        When the cache was made with other settings.
    InputError
        When the folder isn't a cache, an image can't be read and `on_error` is ``fail``, or a
        class has no readable image.
    StorageError
        When the disk is full or the folder can't be written. Finished shards stay.
    """
    options = options or ExtractionOptions()
    spec = ExtractionSpec(
        backbone=backbone.spec,
        decoding=decoding or DecodingSpec(),
        augmentation=augmentation or AugmentationSpec(),
        storage_dtype=storage_dtype,
    )
    folder = Path(cache)
    report = ExtractionReport(folder, skipped=dict(manifest.unreadable))
    if manifest.unreadable and options.on_error == "fail":
        path, reason = next(iter(manifest.unreadable.items()))
        raise UnreadableImageError(manifest.root / path, reason)
    _require_readable_classes(manifest)
    with filling(folder):
        before = _images_of(folder)
        held = survey(folder, spec, progress)
        report.repaired = discard(held.damaged)
        wanted = missing_tasks(manifest, spec, Survey(), options.copies_of)
        missing = missing_tasks(manifest, spec, held, options.copies_of)
        tasks = pack(wanted, missing, options.rows_per_shard, spec.fingerprint)
        rows = sum(task.rows for task in tasks)
        batch_size = options.batch_size or _find_batch_size(
            backbone, rows, options.rows_per_shard, progress
        )
        agree_on_spec(folder, spec)
        if backbone.standardization is not None:
            keep_standardization(folder, backbone.standardization)
        place = Workplace(
            manifest.root.resolve(),
            folder.resolve(),
            spec,
            batch_size,
            options.compression,
            fail_fast=options.on_error == "fail",
        )
        started = time.perf_counter()
        unreadable: dict[str, str] = {}
        with (
            progress.task("Extracting embeddings", rows, "image") as advance,
            contextlib.closing(
                _until_none_is_missing(tasks, place, backbone, options.engine, progress, advance)
            ) as results,
        ):
            for result in results:
                if result.keys is not None:
                    held.add(result.task.name, result.keys)
                    report.new_rows += result.computed
                    report.rows_by_others += len(result.keys.copy) - result.computed
                unreadable |= dict(result.unreadable)
        report.seconds = time.perf_counter() - started
        images = _finish(manifest, spec, held, unreadable, report, backbone, options.copies_of)
        _compare(before, images, report)
    return report


def _until_none_is_missing(
    tasks: list[ShardTask],
    place: Workplace,
    backbone: Backbone,
    engine: Engine,
    progress: Progress,
    advance: Advance,
) -> Generator[ShardResult, None, None]:
    """Make what nobody else is making, then wait for the others, or stand in for them."""
    claims, said = Claims(place.cache / SHARDS_NAME), False
    while tasks:
        busy = []
        with contextlib.closing(engine.run(tasks, place, backbone, advance)) as results:
            for result in results:
                if result.busy:
                    busy.append(result.task)
                    continue
                yield result
        if busy and not said:
            progress.note(
                f"Another featx extract is making {len(busy)} shards of this cache; waiting for it"
            )
            said = True
        while busy and not any(claims.is_free(task.name) for task in busy):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        tasks = busy


def _find_batch_size(backbone: Backbone, rows: int, rows_per_shard: int, progress: Progress) -> int:
    largest = min(rows_per_shard, rows // ROWS_PER_PROBED_ROW)
    if largest <= DEFAULT_BATCH_SIZE:
        return DEFAULT_BATCH_SIZE
    batch_size, speeds = probe_batch_size(backbone, largest)
    tried = ", ".join(f"{speed:.1f} at {size}" for size, speed in speeds.items())
    progress.note(f"Batch size {batch_size} (images/s: {tried})")
    return batch_size


def _finish(
    manifest: Manifest,
    spec: ExtractionSpec,
    held: Survey,
    unreadable: dict[str, str],
    report: ExtractionReport,
    backbone: Backbone,
    copies_of: CopiesOf,
) -> pd.DataFrame:
    """Write the index over all shards that there are now; return its image table."""
    table = manifest.table
    reasons = {table.loc[table["path"] == p, "sha256"].iloc[0]: r for p, r in unreadable.items()}
    skipped = table[table["sha256"].isin(reasons)]
    report.skipped |= {
        path: reasons[sha256]
        for path, sha256 in zip(skipped["path"], skipped["sha256"], strict=True)
    }
    images, places = place_rows(manifest, spec, held, set(reasons), copies_of)
    report.images, report.rows = len(images), len(places.copy)
    labelling = Provenance(
        classes=manifest.classes,
        skipped=report.skipped,
        weights=backbone.weights_location,
        data=str(manifest.root.resolve()),
    )
    with index_lock(report.cache):
        write_index(report.cache, images, places, labelling, spec=spec.canonical_json())
    return images


def _images_of(folder: Path) -> pd.DataFrame | None:
    """Return the image table of a finished cache; None where there is none."""
    try:
        return open_cache(folder).images
    except NotACacheError:
        return None


def _compare(before: pd.DataFrame | None, after: pd.DataFrame, report: ExtractionReport) -> None:
    """Count what is different since the cache was last finished."""
    if before is None:
        return
    both = before.merge(after, on="path", suffixes=("_before", "_after"))
    report.added, report.removed = len(after) - len(both), len(before) - len(both)
    report.changed = int((both["sha256_before"] != both["sha256_after"]).sum())


def _require_readable_classes(manifest: Manifest) -> None:
    """Fail before the long work when a whole class can't be decoded."""
    for label in manifest.classes:
        error: FeatxError | None = None
        paths = manifest.table.loc[manifest.table["label"] == label, "path"]
        if paths.empty:  # of data that a run is evaluated on
            continue
        for path in paths:
            try:
                decode(manifest.root / path, 8)
                break
            except UnreadableImageError as unreadable:
                error = unreadable
        else:
            raise InputError(f"class {label!r} has no readable image in {manifest.root} ({error})")
