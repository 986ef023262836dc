"""Embeddings of other people's images, made as a run's own were made."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx._progress import SILENT, Progress
from featx.data import Manifest
from featx.errors import InputError
from featx.extraction import extract_images
from featx.extraction._spec import embedding_fields
from featx.scoring._evaluate import ALL, choose_split, names_of
from featx_cache import Cache, open_cache

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun


@contextlib.contextmanager
def embedded(
    runs: Sequence[FittedRun],
    manifest: Manifest,
    *,
    folder: Path | None = None,
    weights: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[list[Cache]]:
    """Embed images as each run's own were; runs that do it alike share a cache.

    Images get the copies that a run averages over, and no others.

    Parameters
    ----------
    runs
        Which runs.
    manifest
        The images, labelled with the classes of the runs.
    folder
        Where to keep the embeddings; None makes a temporary folder, which is gone after the block.
        Where runs differ, each kind gets a folder in it.
    weights
        Where the weights of the first run's backbone are; None looks where they were.
    progress
        Shows how far it got.

    Yields
    ------
    list of Cache
        One for each run.

    Raises
    ------
    FeatxError
        When a backbone can't be loaded, or the images can't be embedded.
    """
    kinds = [_kind(run) for run in runs]
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="featx-")))
        alike = all(kind == kinds[0] for kind in kinds)
        caches: list[Cache] = []
        for number, (run, name) in enumerate(zip(runs, names_of(runs), strict=True)):
            first = kinds.index(kinds[number])
            if first < number:
                caches.append(caches[first])
                continue
            place = folder if alike else folder / name.replace("/", "-")
            own = run.record.extraction.backbone == runs[0].record.extraction.backbone
            caches.append(_embed(run, manifest, place, weights if own else None, progress))
        yield caches


def only_split(manifest: Manifest, split: str | None, data: Path) -> tuple[Manifest, str]:
    """Leave the images of the split to evaluate on; `data` is what was typed for them.

    Returns
    -------
    manifest : Manifest
    split : str
        Its name, or ``all``.

    Raises
    ------
    InputError
        When no image is in it.
    """
    chosen = choose_split(manifest.table["split"], split, data)
    if chosen == ALL:
        return manifest, chosen
    table = manifest.table[manifest.table["split"] == chosen].reset_index(drop=True)
    return replace(manifest, table=table), chosen


def relabelled(manifest: Manifest, classes: tuple[str, str]) -> Manifest:
    """Call the negative and the positive class of some data as a run does."""
    if manifest.classes == classes:
        return manifest
    names = dict(zip(manifest.classes, classes, strict=True))
    label = manifest.table["label"].map(names).astype(manifest.table["label"].dtype)
    return replace(manifest, table=manifest.table.assign(label=label), classes=classes)


def _kind(run: FittedRun) -> dict[str, Any]:
    """Return all that decides which embeddings a run needs."""
    spec = run.record.extraction.model_dump(mode="json")
    copies = run.record.tta
    return embedding_fields(spec, copies=bool(copies)) | {"copies": copies}


def _embed(
    run: FittedRun, manifest: Manifest, folder: Path, weights: str | None, progress: Progress
) -> Cache:
    spec = run.record.extraction
    report = extract_images(
        manifest,
        folder,
        run.backbone(weights),
        augmentation=spec.augmentation.model_copy(update={"copies": run.record.tta}),
        decoding=spec.decoding,
        storage_dtype=spec.storage_dtype,
        copies_of="all",
        progress=progress,
    )
    for path, reason in report.skipped.items():
        progress.note(f"Skipped {path}: {reason}")
    if not report.images:
        raise InputError(f"no image in {manifest.root} could be read")
    return open_cache(folder)
