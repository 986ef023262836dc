"""The uncertain range: scores whose verdict hangs on which patients chose the threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featx._scores import Scores
from featx.thresholds._criterion import Criterion
from featx.thresholds._one_standard_error import most_accurate, recall_error
from featx.thresholds._sweep import sweep_counts

RESAMPLES = 200
CONFIDENCE = 0.95


def uncertain_range(
    scores: Scores,
    threshold: float,
    *,
    criterion: Criterion,
    prevalence: float | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the threshold when patients are resampled.

    The threshold is an estimate like any other. If other patients of the same population had chosen
    it, it would lie elsewhere. An image between the two ends would have been called sick by some
    of these thresholds and healthy by others. (Bootstrap of patients: Efron and Tibshirani 1993.)

    Parameters
    ----------
    scores
        Scores that chose the threshold.
    threshold
        The operating point. The range is made wide enough to hold it.
    criterion
        Criterion that chose it. If no threshold keeps the floors in a resample, the one that misses
        them least is taken.
    prevalence
        Share of the sick where accuracy has to reach it. By default, their share among the images.
    seed
        Seed of the resampling.

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> low, high = uncertain_range(scores, 0.5, criterion=Criterion(accuracy_floor=0.9))
    >>> round(low, 2), round(high, 2)
    (0.4, 0.6)
    """
    resampled = _Resampled(scores, criterion, prevalence)
    patients = int(resampled.patient.max()) + 1
    random = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(0, patients, patients), minlength=patients)
        if (chosen := resampled.threshold(times)) is not None:
            found.append(chosen)
    if not found:
        return threshold, threshold
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(found, (tail, 1.0 - tail))
    return min(float(low), threshold), max(float(high), threshold)


class _Resampled:
    """The choice of a threshold when each patient is there so many times."""

    def __init__(self, scores: Scores, criterion: Criterion, prevalence: float | None) -> None:
        self.scores, self.criterion, self.prevalence = scores, criterion, prevalence
        self.patient, self.truth = scores.patient_number, scores.positive
        self.distinct, self.position = np.unique(scores.score, return_inverse=True)
        self.sick = np.bincount(self.patient, self.truth)

    def threshold(self, times: NDArray[np.int_]) -> float | None:
        """Choose the threshold. It is None if a class is missing."""
        weight = times[self.patient]
        places = len(self.distinct)
        positive = np.bincount(self.position, weight * self.truth, minlength=places)
        negative = np.bincount(self.position, weight * ~self.truth, minlength=places)
        if not positive.any() or not negative.any():
            return None
        there = (positive + negative) > 0
        points = sweep_counts(self.distinct[there], positive[there], negative[there])
        if self.prevalence is not None:
            points = points.at_prevalence(self.prevalence)
        best = self.criterion.best(points)
        if best is None:
            return float(points.thresholds[self.criterion.nearest(points)])
        if self.criterion.objective == "recall" and points.recall[best] < 1.0:
            called = self.scores.called(float(points.thresholds[best]))
            found = np.bincount(self.patient, self.truth & called)
            error = recall_error(self.sick, found, times)
            best = most_accurate(points, self.criterion, float(points.recall[best]) - error)
        return float(points.thresholds[best])
