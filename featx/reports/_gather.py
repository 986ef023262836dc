"""Finding out what there is to say of some runs, and what can't be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx import scoring
from featx._progress import SILENT, Progress
from featx._scores import Scores
from featx.errors import FeatxError, InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.reports._facts import OUT_OF_FOLD, Facts, Missing, RunFacts, Scored, Source
from featx.reports._wording import keys, slug
from featx.runs import FittedRun
from featx.runs._record import HISTORY_NAME
from featx.scoring import score_images
from featx.scoring._evaluate import find_shift
from featx_cache import Cache, open_cache


@dataclass(frozen=True, slots=True)
class What:
    """What a report is asked for.

    Attributes
    ----------
    caches
        On which runs are measured; none for the cache that each was fitted on.
    split
        Of them; ``all`` takes every image. None takes ``test``, and of a cache that was asked for
        and has no such split every image.
    evaluate
        False leaves evaluation images alone.
    by
        Columns of the manifest to divide the images by; none for the usual ones.
    keep_known_patients
        See `featx.scoring.score_images`.
    """

    caches: tuple[Path, ...] = ()
    split: str | None = None
    evaluate: bool = True
    by: tuple[str, ...] = ()
    keep_known_patients: bool = False


def gather(runs: Sequence[FittedRun], what: What, progress: Progress = SILENT) -> Facts:
    """Find out what there is to say of some runs, and what can't be said.

    Raises
    ------
    InputError
        When there is no run, or a cache that was asked for can't be used with any of them.
    """
    if not runs:
        raise InputError("there is no run to report on", "Give one or more run directories.")
    missing: list[Missing] = []
    given = [open_cache(path) for path in {p.resolve(): p for p in what.caches}.values()]
    own = [_own_cache(run, missing) for run in runs]
    sources = _sources([*given, *(cache for cache in own if cache is not None)])
    asked = [sources[cache.path.resolve()] for cache in given]
    names = unique_names([run.path for run in runs])
    measured: list[tuple[Source | None, tuple[Scored, ...]]] = []
    refused: dict[str, list[FeatxError]] = {source.key: [] for source in sources.values()}
    for run, name, cache in zip(runs, names, own, strict=True):
        fitted_on = sources[cache.path.resolve()] if cache is not None else None
        evaluations = []
        for source in asked or ([fitted_on] if fitted_on is not None else []):
            if not what.evaluate:
                continue
            # A run's own cache may hold no other images than those that it was fitted on.
            split = what.split if asked else what.split or "test"
            try:
                images = score_images(
                    run,
                    source.cache,
                    split,
                    keep_known_patients=what.keep_known_patients,
                    progress=progress,
                )
                evaluations.append(_evaluate(run, name, source, images, missing))
            except FeatxError as error:
                missing.append(Missing(f"{name} on {source.name}", str(error)))
                refused[source.key].append(error)
        measured.append((fitted_on, tuple(evaluations)))
    for source in asked:
        if len(refused[source.key]) == len(runs):
            raise refused[source.key][0]
    facts = []
    with progress.task("Measuring out of fold", len(runs), "run") as advance:
        for run, name, key, (fitted_on, others) in zip(
            runs, names, keys(names), measured, strict=True
        ):
            out_of_fold = _out_of_fold(run, name, fitted_on, missing)
            history = _history(run, name, missing)
            facts.append(RunFacts(name, key, run, fitted_on, out_of_fold, others, history))
            advance(1)
    if all(not one.scored for one in facts):
        raise InputError(
            f"there are no scores to report on: {missing[-1].why}",
            "Give `cache` CACHE, or fit the run again.",
        )
    return Facts(tuple(facts), tuple(sources.values()), tuple(missing))


def _sources(caches: Sequence[Cache]) -> dict[Path, Source]:
    """Name caches, by their paths."""
    different = {cache.path.resolve(): cache for cache in caches}
    names = unique_names(list(different))
    return {
        path: Source(name, key, cache)
        for (path, cache), name, key in zip(different.items(), names, keys(names), strict=True)
    }


def _title(split: str, source: Source) -> str:
    return f"all of {source.name}" if split == "all" else f"split {split} of {source.name}"


def _evaluate(
    run: FittedRun,
    name: str,
    source: Source,
    images: scoring.Scored,
    missing: list[Missing],
) -> Scored:
    title, key = _title(images.split, source), f"{slug(images.split)}-{source.key}"
    truth, metrics = _measure(run, images)
    try:
        shift = find_shift(run, images)
    except FeatxError as error:
        missing.append(Missing(f"how {title} differs from what {name} was fitted on", str(error)))
        shift = None
    return Scored(title, key, images, truth, metrics, source, shift)


def _measure(run: FittedRun, images: scoring.Scored) -> tuple[NDArray[np.bool_], Metrics]:
    record, table = run.record, images.table
    scores = Scores.from_table(table, record.classes, images.split)
    return scores.positive, evaluate_scores(scores, record.threshold, seed=record.seed)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Call each path by its last part, or by more of them where two would be called alike."""
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
    """Open the cache that a run was fitted on, where it is still there and the same."""
    try:
        cache = run.own_cache()
        run.require_match(cache)
    except FeatxError as error:
        what = f"the cache that {run.path.name} was fitted on, with its images and splits"
        missing.append(Missing(what, str(error)))
        return None
    return cache


def _out_of_fold(
    run: FittedRun, name: str, source: Source | None, missing: list[Missing]
) -> Scored | None:
    try:
        table = run.out_of_fold.assign(sha256="")
        if source is not None:
            table = _with_details(table, source.cache)
        images = scoring.Scored(OUT_OF_FOLD, table, np.empty((0, 0), np.float32))
        truth, metrics = _measure(run, images)
    except FeatxError as error:
        missing.append(Missing(f"{name} {OUT_OF_FOLD}", str(error)))
        return None
    return Scored(OUT_OF_FOLD, slug(OUT_OF_FOLD), images, truth, metrics, source)


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
        missing.append(Missing(f"the learning curves of {name}", str(error).splitlines()[0]))
        return None
    return table
