"""Data of a report: runs, their caches, their scores, what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from featx._scores import Scores
from featx.evaluation import Metrics, Shift
from featx.runs import FittedRun, RunRecord
from featx.scoring import Scored
from featx_cache import Cache

OUT_OF_FOLD = "out of fold"


@dataclass(frozen=True, slots=True)
class NamedCache:
    """A cache with a name that no other cache of the report has.

    `key` is the name for anchors and files.
    """

    name: str
    key: str
    cache: Cache

    @property
    def splits(self) -> list[str]:
        """Splits of the cache, in the order of a study."""
        found = set(self.cache.images["split"])
        usual = [split for split in ("train", "val", "test") if split in found]
        return usual + sorted(found - set(usual))


@dataclass(frozen=True, slots=True)
class EvaluatedSplit:
    """A run's scores of a set of images, and their metrics.

    Attributes
    ----------
    title
        Name of the set: ``out of fold``, or a split of a cache.
    key
        Name for anchors and files.
    images
        Images and their scores, one row each, with the manifest's other columns if the cache is
        there. Out of fold there are no embeddings.
    metrics
        Metrics at the run's threshold.
    source
        Cache that has the images. None if it isn't there.
    shift
        Differences of the images from those that the run was fitted on. None if that isn't known.
    """

    title: str
    key: str
    images: Scored
    metrics: Metrics
    source: NamedCache | None
    shift: Shift | None = None

    @property
    def scores(self) -> Scores:
        """Labels, scores and patients of the images."""
        return self.images.scores

    def as_scores(self) -> Scores:
        """Return the scores, as `featx.plots` takes them."""
        return self.scores

    @property
    def table(self) -> pd.DataFrame:
        """One row for each image: path, label, group, score, and more."""
        return self.images.table

    @property
    def out_of_fold(self) -> bool:
        """Whether the threshold was chosen on these scores."""
        return self.title == OUT_OF_FOLD

    @property
    def both_classes(self) -> bool:
        """Whether there are curves to draw."""
        return bool(self.scores.positive.any() and (~self.scores.positive).any())


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a report can't show, and why.

    Examples
    --------
    >>> Missing("learning curves of keras", "the run has no history.csv").why
    'the run has no history.csv'
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class RunData:
    """All that a report says of one run.

    Attributes
    ----------
    name
        Last part of its path, or more if two runs would be called alike.
    key
        Name for anchors and files.
    run
        The open run.
    fitted_on
        Its own cache. None if it isn't there.
    out_of_fold
        Scores of the images that it was fitted on, each by a head that hadn't seen the patient.
    evaluations
        Scores of other images.
    history : DataFrame or None
        Epochs of a Keras head.
    """

    name: str
    key: str
    run: FittedRun
    fitted_on: NamedCache | None
    out_of_fold: EvaluatedSplit | None
    evaluations: tuple[EvaluatedSplit, ...]
    history: pd.DataFrame | None

    @property
    def record(self) -> RunRecord:
        """Record of the run."""
        return self.run.record

    @property
    def splits(self) -> tuple[EvaluatedSplit, ...]:
        """All scores of the run, those of other images first."""
        own = (self.out_of_fold,) if self.out_of_fold is not None else ()
        return (*self.evaluations, *own)


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report is made of."""

    runs: tuple[RunData, ...]
    sources: tuple[NamedCache, ...]
    missing: tuple[Missing, ...]

    @property
    def evaluated(self) -> bool:
        """Whether a run was measured on images that it wasn't fitted on."""
        return any(run.evaluations for run in self.runs)

    def titles(self) -> list[str]:
        """Return the titles of all sets of images, out of fold last."""
        found = [split.title for run in self.runs for split in run.evaluations]
        return [*dict.fromkeys(found), OUT_OF_FOLD]

    def on(self, title: str) -> list[tuple[RunData, EvaluatedSplit]]:
        """Return the runs that scored a set of images, with their scores."""
        return [(run, split) for run in self.runs for split in run.splits if split.title == title]
