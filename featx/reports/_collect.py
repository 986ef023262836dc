"""Collecting all that a report says of some runs, and what can't be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from featx._progress import Progress
from featx.errors import FeatxError, InputError
from featx.evaluation import evaluate_scores
from featx.reports._report_data import (
    OUT_OF_FOLD,
    EvaluatedSplit,
    Missing,
    NamedCache,
    ReportData,
    RunData,
)
from featx.reports._wording import keys, slug
from featx.runs import FittedRun
from featx.runs._record import HISTORY_NAME
from featx.scoring import Scored, score_images
from featx.scoring._evaluation import find_shift
from featx_cache import Cache, open_cache
from featx_cache._text import first_line


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Request for a report. See `featx.report`."""

    caches: tuple[Path, ...] = ()
    split: str | None = None
    evaluate: bool = True
    by: tuple[str, ...] = ()
    keep_known_patients: bool = False


def collect_data(
    runs: Sequence[FittedRun], request: ReportRequest, progress: Progress
) -> ReportData:
    """Collect all that a report says of some runs, and what can't be said."""
    if not runs:
        raise InputError("there is no run to report on", "Give one or more run directories.")
    missing: list[Missing] = []
    given = [open_cache(path) for path in {p.resolve(): p for p in request.caches}.values()]
    own = [_own_cache(run, missing) for run in runs]
    sources = _named([*given, *(cache for cache in own if cache is not None)])
    asked = [sources[cache.path.resolve()] for cache in given]
    refused: dict[str, list[FeatxError]] = {source.key: [] for source in asked}
    names = unique_names([run.path for run in runs])
    measured: list[tuple[NamedCache | None, tuple[EvaluatedSplit, ...]]] = []
    for run, name, cache in zip(runs, names, own, strict=True):
        fitted_on = sources[cache.path.resolve()] if cache is not None else None
        chosen = asked or ([fitted_on] if fitted_on is not None else [])
        # A run's own cache may hold no other images than those that it was fitted on.
        split = request.split if asked else request.split or "test"
        evaluations = []
        for source in chosen if request.evaluate else ():
            try:
                images = score_images(
                    run,
                    source.cache,
                    split,
                    keep_known_patients=request.keep_known_patients,
                    progress=progress,
                )
                evaluations.append(_evaluate(run, name, source, images, missing))
            except FeatxError as error:
                missing.append(Missing(f"{name} on {source.name}", str(error)))
                refused.setdefault(source.key, []).append(error)
        measured.append((fitted_on, tuple(evaluations)))
    for errors in (refused[source.key] for source in asked):
        if len(errors) == len(runs):
            raise errors[0]
    found = []
    with progress.task("Measuring out of fold", len(runs), "run") as advance:
        for run, name, key, (fitted_on, others) in zip(
            runs, names, keys(names), measured, strict=True
        ):
            out_of_fold = _out_of_fold(run, name, fitted_on, missing)
            history = _history(run, name, missing)
            found.append(RunData(name, key, run, fitted_on, out_of_fold, others, history))
            advance(1)
    if not any(one.splits for one in found):
        raise InputError(
            f"there are no scores to report on: {missing[-1].why}",
            "Give `caches`, or fit the run again.",
            parameter="caches",
        )
    return ReportData(tuple(found), tuple(sources.values()), tuple(missing))


def _named(caches: Sequence[Cache]) -> dict[Path, NamedCache]:
    """Name caches by their paths."""
    different = {cache.path.resolve(): cache for cache in caches}
    names = unique_names(list(different))
    return {
        path: NamedCache(name, key, cache)
        for (path, cache), name, key in zip(different.items(), names, keys(names), strict=True)
    }


def _title(split: str, source: NamedCache) -> str:
    return f"all of {source.name}" if split == "all" else f"split {split} of {source.name}"


def _evaluate(
    run: FittedRun,
    name: str,
    source: NamedCache,
    images: Scored,
    missing: list[Missing],
) -> EvaluatedSplit:
    title, key = _title(images.split, source), f"{slug(images.split)}-{source.key}"
    measured = _measure(run, title, key, images, source)
    try:
        return replace(measured, shift=find_shift(run, images))
    except FeatxError as error:
        missing.append(Missing(f"how {title} differs from what {name} was fitted on", str(error)))
        return measured


def _measure(
    run: FittedRun, title: str, key: str, images: Scored, source: NamedCache | None
) -> EvaluatedSplit:
    record = run.record
    metrics = evaluate_scores(images.scores, record.threshold, seed=record.seed)
    return EvaluatedSplit(title, key, images, metrics, source)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Call each path by its last part, or by more parts if two would be called alike."""
    resolved = [path.resolve() for path in paths]
    different = set(resolved)
    names = []
    for path in resolved:
        parts = path.parts
        for number in range(1, len(parts) + 1):
            tail = parts[-number:]
            if sum(other.parts[-number:] == tail for other in different) == 1:
                break
        names.append("/".join(tail))
    return names


def _own_cache(run: FittedRun, missing: list[Missing]) -> Cache | None:
    """Open the cache that a run was fitted on, if it is still there and the same."""
    try:
        cache = run.own_cache()
        run.require_match(cache)
    except FeatxError as error:
        what = f"the cache that {run.path.name} was fitted on, with its images and splits"
        missing.append(Missing(what, str(error)))
        return None
    return cache


def _out_of_fold(
    run: FittedRun, name: str, source: NamedCache | None, missing: list[Missing]
) -> EvaluatedSplit | None:
    try:
        table = run.out_of_fold.assign(sha256="")
        if source is not None:
            table = _with_details(table, source.cache)
        nothing = np.empty((0, 0), np.float32)
        images = Scored(OUT_OF_FOLD, table, nothing, run.record.classes)
        return _measure(run, OUT_OF_FOLD, slug(OUT_OF_FOLD), images, source)
    except FeatxError as error:
        missing.append(Missing(f"{name} {OUT_OF_FOLD}", str(error)))
        return None


def _with_details(table: pd.DataFrame, cache: Cache) -> pd.DataFrame:
    """Join the manifest's other columns by the paths of the images, if each is there once."""
    details = cache.details.assign(path=cache.images["path"], split=cache.images["split"])
    columns = ["path", *(name for name in details.columns if name not in table.columns)]
    details = details[columns].drop_duplicates("path")
    return table.merge(details, on="path", how="left")


def _history(run: FittedRun, name: str, missing: list[Missing]) -> pd.DataFrame | None:
    if run.record.head.keras is None:
        return None
    try:
        table = pd.read_csv(run.file(HISTORY_NAME))
        if not {"training", "member", "epoch", "loss"} <= set(table.columns):
            raise ValueError("columns are missing")
    except (FeatxError, OSError, ValueError) as error:
        missing.append(Missing(f"the learning curves of {name}", first_line(error)))
        return None
    return table
