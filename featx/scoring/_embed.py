"""Embeddings of other people's images, made as a run's own were made."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featx._progress import SILENT, Progress
from featx.data import Manifest
from featx.errors import InputError
from featx.extraction import extract_images
from featx.extraction._spec import embedding_fields
from featx.runs._fitted import FittedRun
from featx.scoring._run_names import names_of
from featx_cache import Cache, open_cache


@contextlib.contextmanager
def embed_for_runs(
    runs: Sequence[FittedRun],
    manifest: Manifest,
    *,
    folder: Path | None = None,
    weights: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[list[Cache]]:
    """Embed images as each run's own were. Runs that embed alike share a cache.

    Images get the copies that a run averages over, and no others.

    Parameters
    ----------
    runs
        Runs that will score the images.
    manifest
        Images, labelled with the classes of the runs.
    folder
        Folder that keeps the embeddings. None makes a temporary folder, which is gone after the
        block. If runs embed in different ways, each way gets a folder in it.
    weights
        Place of the weights of the first run's backbone. None looks where they were.
    progress
        Progress that is shown.

    Yields
    ------
    list of Cache
        One for each run.
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
            own_folder = folder if alike else folder / name.replace("/", "-")
            own = run.extraction.backbone == runs[0].extraction.backbone
            caches.append(_embed(run, manifest, own_folder, weights if own else None, progress))
        yield caches


def _kind(run: FittedRun) -> dict[str, Any]:
    """Return everything that decides which embeddings a run needs."""
    spec = run.extraction.model_dump(mode="json")
    copies = run.record.tta
    return embedding_fields(spec, copies=bool(copies)) | {"copies": copies}


def _embed(
    run: FittedRun, manifest: Manifest, folder: Path, weights: str | None, progress: Progress
) -> Cache:
    spec = run.extraction
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
