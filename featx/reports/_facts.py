"""What a report says, as typed data: runs, their caches, their scores, what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx import scoring
from featx.evaluation import Metrics, Shift
from featx.runs import FittedRun, RunRecord
from featx_cache import Cache

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
    images
        The scores, one line an image: path, sha256, label, group, score, and the manifest's other
        columns where its cache is there.
    truth : ndarray of shape (images,), dtype bool
        Whether the image is positive.
    metrics
        At the run's threshold.
    source
        Where the images are; None when their cache isn't there.
    shift
        How the images differ from those that the run was fitted on; None where that isn't known.
    """

    title: str
    key: str
    images: scoring.Scored
    truth: NDArray[np.bool_]
    metrics: Metrics
    source: Source | None
    shift: Shift | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One line an image: path, label, group, score, and more."""
        return self.images.table

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
    run: FittedRun
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
