"""Filling a cache: what `featx extract` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import filelock

from featx.backbones import Backbone
from featx.data import Manifest
from featx.errors import FeatxError, InputError
from featx.extraction.pipeline import Pipeline
from featx.extraction.plan import Survey, missing_tasks, pack, place_rows, survey
from featx.extraction.spec import ExtractionSpec, StorageDtype
from featx.images import AugmentationSpec, UnreadableImageError, decode
from featx.progress import SILENT, Progress
from featx_cache import (
    INDEX_NAME,
    SHARDS_NAME,
    Labelling,
    make_folder,
    remove_leftovers,
    storage_errors,
    write_index,
)

ROWS_PER_SHARD = 240
"""Rows of a full shard: under 20 MB of 9x9x512 float16, and a multiple of the usual batches."""

DEFAULT_BATCH_SIZE = 8

OnError = Literal["skip", "fail"]


@dataclass(frozen=True, slots=True)
class ExtractionOptions:
    """How to extract, as far as it doesn't change the embeddings.

    Attributes
    ----------
    batch_size
        Rows in one forward pass.
    on_error
        ``skip`` leaves unreadable images out and lists them; ``fail`` stops at the first.
    rows_per_shard
        What a crash can lose at most.
    compression
        ``None``, ``"lzf"`` or ``"gzip"``.
    """

    batch_size: int = DEFAULT_BATCH_SIZE
    on_error: OnError = "skip"
    rows_per_shard: int = ROWS_PER_SHARD
    compression: str | None = None


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
    repaired: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def extract(
    manifest: Manifest,
    cache: str | Path,
    backbone: Backbone,
    *,
    augmentation: AugmentationSpec | None = None,
    storage_dtype: StorageDtype = "float16",
    options: ExtractionOptions | None = None,
    progress: Progress = SILENT,
) -> ExtractionReport:
    """Run the backbone once over every image and its copies, and keep the embeddings.

    Finished shards are never computed again: call it once more after an interruption, after
    ``featx cache verify`` found damage, or after images were added or taken away.

    Parameters
    ----------
    manifest
        The labelled images. Only those of split ``train`` get augmented copies.
    cache
        The folder to fill; created when missing.
    backbone
        See `featx.backbones.load_backbone`.
    augmentation
        Number and kind of copies; None takes the study's four.
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
        augmentation=augmentation or AugmentationSpec(),
        storage_dtype=storage_dtype,
    )
    folder = Path(cache)
    report = ExtractionReport(folder, skipped=dict(manifest.unreadable))
    if manifest.unreadable and options.on_error == "fail":
        path, reason = next(iter(manifest.unreadable.items()))
        raise UnreadableImageError(manifest.root / path, reason)
    _require_readable_classes(manifest)
    with _exclusive(folder):
        held = survey(folder, spec, progress)
        tasks = missing_tasks(manifest, spec, held)
        _discard(held.damaged)
        report.repaired = len(held.damaged)
        packs = pack(tasks, options.rows_per_shard)
        pipeline = Pipeline(
            manifest.root,
            folder / SHARDS_NAME,
            backbone,
            spec,
            options.batch_size,
            options.compression,
        )
        started = time.perf_counter()
        unreadable = set()
        rows = sum(len(task.copies) for task in tasks)
        with progress.task("Extracting embeddings", rows, "image") as advance:
            for result in pipeline.run(packs, advance):
                if isinstance(result, UnreadableImageError):
                    if options.on_error == "fail":
                        raise result
                    sha256 = _sha256_of(manifest, result.path)
                    same = manifest.table.loc[manifest.table["sha256"] == sha256, "path"]
                    report.skipped |= dict.fromkeys(same, result.reason)
                    unreadable.add(sha256)
                else:
                    held.add(*result)
                    report.new_rows += len(result[1])
        report.seconds = time.perf_counter() - started
        _finish(manifest, spec, held, unreadable, report, backbone)
    return report


def _finish(
    manifest: Manifest,
    spec: ExtractionSpec,
    held: Survey,
    unreadable: set[str],
    report: ExtractionReport,
    backbone: Backbone,
) -> None:
    """Write the index over all shards that there are now."""
    images, places = place_rows(manifest, spec, held, unreadable)
    report.images, report.rows = len(images), len(places.copy)
    labelling = Labelling(
        classes=manifest.classes,
        skipped=report.skipped,
        weights=backbone.weights_location,
        data=str(manifest.root.resolve()),
    )
    write_index(report.cache, images, places, labelling, spec=spec.canonical_json())


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the cache's lock; take away what this call created if it achieved nothing."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", "Give --cache a folder.")
    new = [path for path in (folder / SHARDS_NAME, folder, *folder.parents) if not path.exists()]
    lock = folder / ".lock"
    try:
        _refuse_foreign(folder)
        make_folder(folder / SHARDS_NAME)
        with storage_errors(folder), filelock.FileLock(lock, timeout=0):
            remove_leftovers(folder)
            remove_leftovers(folder / SHARDS_NAME)
            yield
    except filelock.Timeout as error:
        new.clear()  # whoever holds the lock needs it all
        raise InputError(
            f"another featx extract is writing to {folder}",
            "Wait for it to end, or use another folder.",
        ) from error
    finally:
        if new and not any((folder / SHARDS_NAME).glob("shard-*.h5")):
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()


def _refuse_foreign(folder: Path) -> None:
    """Refuse to fill a folder that has something else in it."""
    if not folder.is_dir() or (folder / SHARDS_NAME).is_dir() or (folder / INDEX_NAME).exists():
        return
    if any(path.name != ".lock" for path in folder.iterdir()):
        raise InputError(
            f"{folder} is not empty and not a featx cache", "Give --cache a new folder."
        )


def _require_readable_classes(manifest: Manifest) -> None:
    """Fail before the long work when a whole class can't be decoded."""
    for label in manifest.classes:
        error: FeatxError | None = None
        for path in manifest.table.loc[manifest.table["label"] == label, "path"]:
            try:
                decode(manifest.root / path, 8)
                break
            except UnreadableImageError as unreadable:
                error = unreadable
        else:
            raise InputError(f"class {label!r} has no readable image in {manifest.root} ({error})")


def _discard(damaged: list[Path]) -> None:
    for path in damaged:
        with storage_errors(path):
            path.unlink()


def _sha256_of(manifest: Manifest, path: Path) -> str:
    relative = path.relative_to(manifest.root).as_posix()
    return str(manifest.table.loc[manifest.table["path"] == relative, "sha256"].iloc[0])
