"""Filling a cache with the embeddings of images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from featx._progress import Advance, Progress, progress_of
from featx.backbones import Backbone
from featx.data import Manifest
from featx.errors import FeatxError, InputError, NotACacheError
from featx.extraction._batch_size import (
    DEFAULT_BATCH_SIZE,
    ROWS_PER_PROBED_ROW,
    probe_batch_size,
)
from featx.extraction._cache_folder import (
    agree_on_spec,
    augmentation_of,
    discard,
    filling,
    index_lock,
    keep_standardization,
)
from featx.extraction._engines import Engine, LocalEngine
from featx.extraction._pipeline import Job, ShardResult
from featx.extraction._plan import (
    CopiesOf,
    FinishedShards,
    find_finished_shards,
    locate_rows,
    missing_tasks,
)
from featx.extraction._shard_tasks import ShardTask, divide_into_shards
from featx.extraction._spec import ExtractionSpec, StorageDtype
from featx.images import AugmentationSpec, DecodingSpec, UnreadableImageError, decode
from featx_cache import open_cache
from featx_cache._index import SHARDS_NAME, Provenance, write_index
from featx_cache._text import plural
from featx_cache.files import Claims

ROWS_PER_SHARD = 240
"""Rows of a full shard: under 20 MB of 9x9x512 float16, and a multiple of the usual batches."""

POLL_SECONDS = 1.0
"""Time between two looks whether another process has finished a shard."""

OnError = Literal["skip", "fail"]


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """Settings of an extraction that change no embedding.

    Attributes
    ----------
    engine
        Maker of the shards: a `LocalEngine` or a `DaskEngine`.
    batch_size
        Rows in one forward pass. None finds a good size, if there are enough images.
    on_error
        ``skip`` leaves unreadable images out and lists them. ``fail`` stops at the first.
    rows_per_shard
        Most rows of a shard, which are what a crash can lose.
    compression
        Compression of the shards: ``None``, ``"lzf"`` or ``"gzip"``.

    Raises
    ------
    InputError
        If a number is smaller than 1.

    Examples
    --------
    >>> from featx.extraction import ExtractionOptions
    >>> ExtractionOptions(batch_size=16, on_error="fail").rows_per_shard
    240
    """

    engine: Engine = field(default_factory=LocalEngine)
    batch_size: int | None = None
    on_error: OnError = "skip"
    rows_per_shard: int = ROWS_PER_SHARD
    compression: str | None = "gzip"

    def __post_init__(self) -> None:
        for name in ("batch_size", "rows_per_shard"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InputError(f"`{name}` must be at least 1, not {number}", parameter=name)


@dataclass(slots=True)
class ExtractionReport:
    """Counts of an extraction. `extract_images` returns them.

    Attributes
    ----------
    cache
        Folder of the cache.
    images, rows
        Images and embeddings in the cache now.
    new_rows
        Embeddings that were computed. The others were there.
    rows_by_others
        Embeddings that other extractions into the same cache computed meanwhile.
    added, changed, removed
        Images that are new, have other content, or are gone since the cache was last finished.
    repaired
        Damaged shards that were replaced.
    skipped
        Unreadable images: relative path -> reason.
    seconds
        Time of decoding, forward passes and writing.

    Examples
    --------
    >>> from pathlib import Path
    >>> from featx.extraction import ExtractionReport
    >>> ExtractionReport(Path("embeddings"), images=10, new_rows=50, seconds=2.0).rows_per_second
    25.0
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

    @property
    def rows_per_second(self) -> float:
        """Embeddings that were computed in a second."""
        return self.new_rows / self.seconds if self.seconds else 0.0


def extract_images(  # noqa: PLR0913
    manifest: Manifest,
    cache: str | Path,
    backbone: Backbone,
    *,
    augmentation: AugmentationSpec | None = None,
    decoding: DecodingSpec | None = None,
    copies_of: CopiesOf = "train",
    storage_dtype: StorageDtype = "float16",
    options: ExtractionOptions | None = None,
    progress: Progress | bool = True,
) -> ExtractionReport:
    """Do the work of `featx.extract` with a loaded backbone, and report what was done.

    Parameters
    ----------
    manifest
        Labelled images.
    cache
        Folder to fill. It is created if it is missing.
    backbone
        Network that `featx.load_backbone` made.
    augmentation
        Number and kind of augmented copies. None is that of a cache that was begun, or the preset
        ``shift``.
    decoding
        Settings with which files become pixels. None takes the defaults.
    copies_of, storage_dtype, options, progress
        See `featx.extract`.

    Raises
    ------
    SpecMismatchError, InputError, StorageError
        See `featx.extract`.

    Examples
    --------
    >>> from featx.extraction import extract_images
    >>> report = extract_images(data, "embeddings", backbone)  # doctest: +SKIP
    >>> report.new_rows, report.skipped  # doctest: +SKIP
    (21976, {})
    """
    options = options or ExtractionOptions()
    spec = ExtractionSpec(
        backbone=backbone.spec,
        decoding=decoding or DecodingSpec(),
        augmentation=augmentation_of(cache) if augmentation is None else augmentation,
        storage_dtype=storage_dtype,
    )
    extraction = _Extraction(
        manifest, Path(cache), backbone, spec, copies_of, options, progress_of(progress)
    )
    if manifest.unreadable and options.on_error == "fail":
        path, reason = next(iter(manifest.unreadable.items()))
        raise UnreadableImageError(manifest.root / path, reason)
    return extraction.run()


@dataclass(frozen=True, slots=True)
class FilledShards:
    """Shards of a cache that hold all rows of some images.

    Attributes
    ----------
    finished
        Shards in the folder.
    unreadable
        Relative path -> reason, for the images that couldn't be decoded.
    report
        Counts of what was done.
    """

    finished: FinishedShards
    unreadable: dict[str, str]
    report: ExtractionReport


def fill_shards(
    manifest: Manifest,
    cache: Path,
    backbone: Backbone,
    spec: ExtractionSpec,
    *,
    options: ExtractionOptions,
    progress: Progress,
) -> FilledShards:
    """Embed images and copies of all of them that aren't in a cache, whatever their labels are.

    An index that the cache has stays as it is. Without one, `featx.extract` writes it later.
    """
    extraction = _Extraction(manifest, cache, backbone, spec, "all", options, progress)
    with filling(cache):
        return extraction.fill()


@dataclass(frozen=True, slots=True)
class _Extraction:
    """One extraction: the images, the network, the cache, and how to go about it."""

    manifest: Manifest
    folder: Path
    backbone: Backbone
    spec: ExtractionSpec
    copies_of: CopiesOf
    options: ExtractionOptions
    progress: Progress

    def run(self) -> ExtractionReport:
        """Make the missing shards, and write the index over the images of the manifest."""
        _require_readable_classes(self.manifest)
        with filling(self.folder):
            before = _images_of(self.folder)
            filled = self.fill()
            images = self._write_index(filled.finished, filled.unreadable, filled.report)
            _compare(before, images, filled.report)
        return filled.report

    def fill(self) -> FilledShards:
        """Make the missing shards, and leave the index as it is."""
        manifest, options, folder = self.manifest, self.options, self.folder
        report = ExtractionReport(folder, skipped=dict(manifest.unreadable))
        finished = find_finished_shards(folder, self.spec, self.progress)
        report.repaired = discard(finished.damaged)
        wanted = missing_tasks(manifest.table, self.spec, FinishedShards(), self.copies_of)
        missing = missing_tasks(manifest.table, self.spec, finished, self.copies_of)
        tasks = divide_into_shards(wanted, missing, options.rows_per_shard, self.spec.fingerprint)
        rows = sum(task.rows for task in tasks)
        batch_size = options.batch_size or self._find_batch_size(rows)
        agree_on_spec(folder, self.spec)
        if self.backbone.standardization is not None:
            keep_standardization(folder, self.backbone.standardization)
        job = Job(
            manifest.root.resolve(),
            folder.resolve(),
            self.spec,
            batch_size,
            options.compression,
            fail_fast=options.on_error == "fail",
        )
        started = time.perf_counter()
        unreadable: dict[str, str] = {}
        with (
            self.progress.task("Extracting embeddings", rows, "image") as advance,
            contextlib.closing(self._make_all(tasks, job, advance)) as results,
        ):
            for result in results:
                if result.keys is not None:
                    finished.add(result.task.name, result.keys)
                    report.new_rows += result.computed
                    report.rows_by_others += len(result.keys.copy) - result.computed
                unreadable |= dict(result.unreadable)
        report.seconds = time.perf_counter() - started
        return FilledShards(finished, unreadable, report)

    def _find_batch_size(self, rows: int) -> int:
        largest = min(self.options.rows_per_shard, rows // ROWS_PER_PROBED_ROW)
        if largest <= DEFAULT_BATCH_SIZE:
            return DEFAULT_BATCH_SIZE
        batch_size, speeds = probe_batch_size(self.backbone, largest)
        tried = ", ".join(f"{speed:.1f} at {size}" for size, speed in speeds.items())
        self.progress.note(f"Batch size {batch_size} (images/s: {tried})")
        return batch_size

    def _make_all(
        self, tasks: list[ShardTask], job: Job, advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Make what nobody else is making, then wait for the others, or stand in for them."""
        claims, told = Claims(job.cache / SHARDS_NAME), False
        while tasks:
            busy = []
            made = self.options.engine.run(tasks, job, self.backbone, advance)
            with contextlib.closing(made) as results:
                for result in results:
                    if result.busy:
                        busy.append(result.task)
                        continue
                    yield result
            if busy and not told:
                self.progress.note(
                    f"Another featx extract is making {plural(len(busy), 'shard')} of this cache. "
                    "This one waits for it."
                )
                told = True
            while busy and not any(claims.is_free(task.name) for task in busy):
                time.sleep(POLL_SECONDS)
            tasks = busy

    def _write_index(
        self, finished: FinishedShards, unreadable: dict[str, str], report: ExtractionReport
    ) -> pd.DataFrame:
        """Write the index over all shards that there are now. Return its image table."""
        table = self.manifest.table
        hashes = dict(zip(table["path"], table["sha256"], strict=True))
        reasons = {hashes[path]: reason for path, reason in unreadable.items()}
        skipped = table[table["sha256"].isin(reasons)]
        report.skipped |= {
            path: reasons[sha256]
            for path, sha256 in zip(skipped["path"], skipped["sha256"], strict=True)
        }
        readable = table[~table["sha256"].isin(reasons)].reset_index(drop=True)
        locations = locate_rows(readable, self.spec, finished, self.copies_of)
        report.images, report.rows = len(readable), len(locations.copy)
        provenance = Provenance(
            classes=self.manifest.classes,
            skipped=report.skipped,
            weights=self.backbone.weights_location,
            data=str(self.manifest.root.resolve()),
        )
        with index_lock(self.folder):
            text = self.spec.canonical_json()
            write_index(self.folder, readable, locations, provenance, spec=text)
        return readable


def _images_of(folder: Path) -> pd.DataFrame | None:
    """Return the image table of a finished cache. None if there is none."""
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
    """Fail before the long work if no image of a class can be decoded."""
    for label in manifest.classes:
        error: FeatxError | None = None
        paths = manifest.table.loc[manifest.table["label"] == label, "path"]
        if paths.empty:  # data that a run is evaluated on may have one class
            continue
        for path in paths:
            try:
                decode(manifest.root / path, 8)
                break
            except UnreadableImageError as unreadable:
                error = unreadable
        else:
            raise InputError(f"class {label!r} has no readable image in {manifest.root} ({error})")
