"""The shift protocol: what a head loses that is trained on one side of a seam of its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from featx._progress import SILENT, Progress
from featx._scores import Scores
from featx.errors import NoFeasibleThresholdError
from featx.evaluation import Metrics, evaluate_scores
from featx.evaluation._seams import Seam, find_seams
from featx.heads import HeadSpec
from featx.thresholds import choose_threshold, sweep
from featx.training import TrainingData, fit_head, load_training_data, out_of_fold
from featx_cache import Cache

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun

ORDINARY = "ordinary folds"


@dataclass(frozen=True, slots=True)
class SeamResult:
    """What a head achieved across one seam, or on ordinary folds.

    Attributes
    ----------
    name
        Of the seam, or ``ordinary folds``.
    trained, metrics
        Images trained on, and metrics on the other side: at the threshold that out-of-fold scores
        of the training side chose under the accuracy floor.
    feasible
        Whether any threshold reached the floor there; else it is the most accurate one.
    """

    name: str
    trained: int
    metrics: Metrics
    feasible: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "name": self.name,
            "trained": self.trained,
            "feasible": self.feasible,
            **self.metrics.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class ProtocolReport:
    """A head on ordinary folds and across seams.

    Attributes
    ----------
    head, accuracy_floor
        What was trained, and the floor of its thresholds.
    ordinary
        Five folds by patient; their threshold was chosen on the same scores.
    seams
        One result a seam.
    """

    head: HeadSpec
    accuracy_floor: float
    ordinary: SeamResult
    seams: tuple[SeamResult, ...]

    def drop(self, result: SeamResult) -> float:
        """Return how much less the area under the ROC curve is than on ordinary folds."""
        return self.ordinary.metrics.roc_auc - result.metrics.roc_auc

    @property
    def worst(self) -> SeamResult:
        """The seam with the largest drop."""
        return max(self.seams, key=self.drop)

    def table(self) -> pd.DataFrame:
        """Return one line a result: name, images, ROC AUC, drop, recall, accuracy, specificity."""
        return pd.DataFrame(
            {
                "name": result.name,
                "trained": result.trained,
                "images": result.metrics.images,
                "roc_auc": result.metrics.roc_auc,
                "drop": self.drop(result),
                "recall": result.metrics.recall,
                "accuracy": result.metrics.accuracy,
                "specificity": result.metrics.specificity,
            }
            for result in (self.ordinary, *self.seams)
        )


def shift_protocol(
    run: FittedRun,
    cache: Cache | None = None,
    *,
    columns: Sequence[str] = (),
    progress: Progress = SILENT,
) -> ProtocolReport:
    """Train a run's head anew across the seams of its training and validation images.

    Parameters
    ----------
    run
        Whose head, settings, floor and seed are taken.
    cache
        None takes the cache that it was fitted on.
    columns
        See `featx.evaluation._seams.find_seams`.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When there is no seam, or too few patients on a side.
    SpecMismatchError
        When the cache's embeddings are another backbone's.
    """
    cache = cache if cache is not None else run.own_cache()
    run.require_match(cache)
    spec = run.record.head
    images = cache.images.join(
        cache.details[cache.details.columns.difference(cache.images.columns)]
    )
    data = load_training_data(cache, spec, use_copies=run.record.copies > 0, progress=progress)
    # Groups of byte-identical images are merged in the training data: those are the patients.
    known = images.iloc[data.image[data.originals]].reset_index(drop=True)
    known = known.assign(group=data.groups[data.originals])
    seams = find_seams(known, cache.classes[1], columns, seed=spec.seed)
    return across(spec, data, seams, accuracy_floor=run.record.accuracy_floor, progress=progress)


def across(
    spec: HeadSpec,
    data: TrainingData,
    seams: Sequence[Seam],
    *,
    accuracy_floor: float,
    progress: Progress = SILENT,
) -> ProtocolReport:
    """Measure a head on ordinary folds and across seams.

    Parameters
    ----------
    spec, data
        Which head, on what.
    seams
        Of the untouched images, in their order.
    accuracy_floor
        Between 0 and 1.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        See `featx.training.out_of_fold`.
    """
    originals, truth = data.originals, data.y[data.originals] == 1
    scores = _out_of_fold(spec, data, accuracy_floor, progress)
    threshold, feasible = _threshold(scores, accuracy_floor, spec.seed)
    metrics = evaluate_scores(scores, threshold, seed=spec.seed)
    ordinary = SeamResult(ORDINARY, len(truth), metrics, feasible)
    results = []
    for seam in seams:
        progress.note(f"Seam {seam.name}")
        side = data.part(np.isin(data.image, data.image[originals][seam.train]))
        inner = _out_of_fold(spec, side, accuracy_floor, progress)
        threshold, feasible = _threshold(inner, accuracy_floor, spec.seed)
        head = fit_head(spec, side, np.flatnonzero(side.fitted), accuracy_floor=accuracy_floor)
        tested = originals[seam.test]
        found = head.predict_proba(data.rows(tested))[:, 1]
        measured = Scores.from_arrays(truth[seam.test], found, data.groups[tested])
        metrics = evaluate_scores(measured, threshold, seed=spec.seed)
        results.append(SeamResult(seam.name, int(seam.train.sum()), metrics, feasible))
    return ProtocolReport(spec, accuracy_floor, ordinary, tuple(results))


def _out_of_fold(
    spec: HeadSpec, data: TrainingData, accuracy_floor: float, progress: Progress
) -> Scores:
    scores, _, _ = out_of_fold(
        spec, data, seed=spec.seed, accuracy_floor=accuracy_floor, progress=progress
    )
    originals = data.originals
    return Scores.from_arrays(data.y[originals] == 1, scores["score"], data.groups[originals])


def _threshold(scores: Scores, floor: float, seed: int) -> tuple[float, bool]:
    """Choose a threshold; where none reaches the floor, the most accurate."""
    try:
        return choose_threshold(scores, accuracy_floor=floor, seed=seed).threshold, True
    except NoFeasibleThresholdError:
        points = sweep(scores)
        return float(points.thresholds[int(points.accuracy.argmax())]), False
