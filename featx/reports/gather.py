"""What a report says, as typed data: runs, their caches, their scores, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.errors import FeatxError, InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.progress import SILENT, Progress
from featx.reports.wording import keys, slug
from featx.runs import Run, RunRecord
from featx.runs.final_fit import HISTORY_NAME
from featx_cache import Cache, open_cache

OUT_OF_FOLD = "out of fold"


@dataclass(frozen=True, slots=True)
class Source:
    """A cache, by a name that tells it from the others.

    Attributes
    ----------
    name
        The last part of its path, or more where that is not enough.
    key
        The same for anchors and files.
    cache
        Opened.
    """

    name: str
    key: str
    cache: Cache

    @property
    def splits(self) -> list[str]:
        """The splits that it has, in the order of a study."""
        found = set(self.cache.images["split"])
        usual = [split for split in ("train", "val", "test") if split in found]
        return usual + sorted(found - set(usual))


@dataclass(frozen=True, slots=True)
class Scored:
    """A run's scores on a set of images, and what they amount to.

    Attributes
    ----------
    title
        Names the set: ``out of fold``, or a split of a cache.
    key
        The same for anchors and files.
    table : DataFrame
        One line an image: path, label, group, score.
    truth : ndarray of shape (images,), dtype bool
        Whether the image is positive.
    metrics
        At the run's threshold.
    source
        Where the images are; None when its cache isn't there.
    excluded
        Images left out because the run was fitted on them.
    """

    title: str
    key: str
    table: pd.DataFrame
    truth: NDArray[np.bool_]
    metrics: Metrics
    source: Source | None
    excluded: int = 0

    @property
    def out_of_fold(self) -> bool:
        """Whether the threshold was chosen on these scores."""
        return self.title == OUT_OF_FOLD

    @property
    def both_classes(self) -> bool:
        """Whether there are curves to draw."""
        return bool(self.truth.any() and (~self.truth).any())


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that can't be shown, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What there is to say of a run.

    Attributes
    ----------
    name
        The last part of its path, or more where that is not enough.
    key
        The same for anchors and files.
    run
        Opened.
    fitted_on
        Its own cache; None when it isn't there.
    out_of_fold
        Its scores on the images that it was fitted on, each by a head that hadn't seen it.
    evaluations
        Its scores on other images.
    history : DataFrame or None
        The epochs of a Keras head.
    """

    name: str
    key: str
    run: Run
    fitted_on: Source | None
    out_of_fold: Scored | None
    evaluations: tuple[Scored, ...]
    history: pd.DataFrame | None

    @property
    def record(self) -> RunRecord:
        """What the run says of itself."""
        return self.run.record

    @property
    def scored(self) -> tuple[Scored, ...]:
        """All its scores, those on other images first."""
        own = (self.out_of_fold,) if self.out_of_fold is not None else ()
        return (*self.evaluations, *own)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report is made of."""

    runs: tuple[RunFacts, ...]
    sources: tuple[Source, ...]
    missing: tuple[Missing, ...]

    @property
    def evaluated(self) -> bool:
        """Whether a run was measured on images that it wasn't fitted on."""
        return any(facts.evaluations for facts in self.runs)

    def sets(self) -> list[str]:
        """Return the titles of all sets of images, out of fold last."""
        titles = [scored.title for facts in self.runs for scored in facts.evaluations]
        return [*dict.fromkeys(titles), OUT_OF_FOLD]


@dataclass(frozen=True, slots=True)
class What:
    """What a report is asked for.

    Attributes
    ----------
    caches
        On which runs are measured; none for the cache that each was fitted on.
    split
        Of them; ``all`` takes every image.
    evaluate
        False leaves evaluation images alone.
    """

    caches: tuple[Path, ...] = ()
    split: str = "test"
    evaluate: bool = True


def gather(runs: Sequence[Run], what: What, progress: Progress = SILENT) -> Facts:
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
    names, facts = unique_names([run.path for run in runs]), []
    refused: dict[str, list[FeatxError]] = {source.key: [] for source in sources.values()}
    for run, name, key, cache in zip(runs, names, keys(names), own, strict=True):
        fitted_on = sources[cache.path.resolve()] if cache is not None else None
        evaluations = []
        for source in asked or ([fitted_on] if fitted_on is not None else []):
            if not what.evaluate:
                continue
            try:
                evaluations.append(_evaluate(run, source, what.split, progress))
            except FeatxError as error:
                missing.append(Missing(f"{name} on {_title(what.split, source)}", str(error)))
                refused[source.key].append(error)
        out_of_fold = _out_of_fold(run, name, fitted_on, missing)
        history = _history(run, name, missing)
        facts.append(RunFacts(name, key, run, fitted_on, out_of_fold, tuple(evaluations), history))
    for source in asked:
        if len(refused[source.key]) == len(runs):
            raise refused[source.key][0]
    if all(not one.scored for one in facts):
        raise InputError(
            f"there are no scores to report on: {missing[-1].why}",
            "Give --cache CACHE, or fit the run again.",
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


def _evaluate(run: Run, source: Source, split: str, progress: Progress) -> Scored:
    result = run.evaluate(source.cache, split=split, progress=progress)
    truth = (result.scores["label"] == run.record.classes[1]).to_numpy(bool)
    title, key = _title(split, source), f"{slug(split)}-{source.key}"
    return Scored(title, key, result.scores, truth, result.metrics, source, result.excluded)


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


def _own_cache(run: Run, missing: list[Missing]) -> Cache | None:
    """Open the cache that a run was fitted on, where it is still there and the same."""
    try:
        cache = open_cache(run.record.cache)
        run.require_match(cache)
    except FeatxError as error:
        what = f"the cache that {run.path.name} was fitted on, with its images and splits"
        missing.append(Missing(what, str(error)))
        return None
    return cache


def _out_of_fold(
    run: Run, name: str, source: Source | None, missing: list[Missing]
) -> Scored | None:
    record = run.record
    try:
        table = run.out_of_fold
        truth = (table["label"] == record.classes[1]).to_numpy(bool)
        metrics = evaluate_scores(
            truth, table["score"], record.threshold, table["group"], seed=record.seed
        )
    except FeatxError as error:
        missing.append(Missing(f"{name} {OUT_OF_FOLD}", str(error)))
        return None
    return Scored(OUT_OF_FOLD, slug(OUT_OF_FOLD), table, truth, metrics, source)


def _history(run: Run, name: str, missing: list[Missing]) -> pd.DataFrame | None:
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
