"""The rule of one standard error: recall that is noise isn't paid for with accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx._scores import Scores
from featx.thresholds._criterion import Criterion
from featx.thresholds._sweep import Sweep

RESAMPLES = 200
SEED = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A point of a sweep that a criterion chose.

    Attributes
    ----------
    point
        Number of the point.
    best
        Number of the point of highest value, whose recall can't be told from the chosen one's.
    error
        Standard error of the recall of the best point. 0 if recall isn't what is maximized.
    """

    point: int
    best: int
    error: float = 0.0

    @property
    def moved(self) -> bool:
        """Whether the most accurate point within one standard error is another than the best."""
        return self.point != self.best


def choose_point(points: Sweep, criterion: Criterion, scores: Scores) -> Choice | None:
    """Choose the point of a sweep. It is None if no point is feasible.

    If recall is what is maximized, the last patient of the best point is often chance. Among
    feasible points whose recall is within one standard error of the best one's, the most accurate
    is taken (the rule of Breiman et al. 1984). The error is a bootstrap's, by patients.
    """
    best = criterion.best(points)
    if best is None:
        return None
    if criterion.objective != "recall":
        return Choice(best, best)
    error = recall_error_at(scores, float(points.thresholds[best]))
    return Choice(most_accurate(points, criterion, float(points.recall[best]) - error), best, error)


def most_accurate(points: Sweep, criterion: Criterion, recall: float) -> int:
    """Return the most accurate of the feasible points that have a recall, at least."""
    able = np.flatnonzero(criterion.feasible(points) & (points.recall >= recall))
    return int(able[np.lexsort((points.recall[able], points.accuracy[able]))[-1]])


def recall_error_at(scores: Scores, threshold: float) -> float:
    """Return the standard error of recall at a threshold. See `recall_error`."""
    patient, positive = scores.patient_number, scores.positive
    sick = np.bincount(patient, positive)
    found = np.bincount(patient, positive & scores.called(threshold))
    return recall_error(sick, found, np.ones(len(sick), np.int_))


def recall_error(sick: NDArray[Any], found: NDArray[Any], times: NDArray[np.int_]) -> float:
    """Return the standard error of recall, by the bootstrap of patients.

    Patients with equally many sick images and equally many of them found are drawn together, by
    one multinomial draw: it is the bootstrap itself, at the cost of a few numbers a resample.

    Parameters
    ----------
    sick, found, times : array of shape (patients,)
        Number of a patient's sick images, number of those that are found, and how often the patient
        is there.

    Returns
    -------
    float
        Standard deviation over the resamples that have a sick image. 0 if nobody is missed.
    """
    kinds, kind = np.unique(sick * (sick.max() + 1.0) + found, return_inverse=True)
    if len(kinds) == 1:
        return 0.0
    patients = np.bincount(kind, times)
    # All patients of a kind have the same numbers.
    sick_of, found_of = np.zeros(len(kinds)), np.zeros(len(kinds))
    sick_of[kind], found_of[kind] = sick, found
    if (found_of == sick_of)[patients > 0].all():
        return 0.0
    random = np.random.default_rng(SEED)
    total = int(patients.sum())
    drawn = random.multinomial(total, patients / total, size=RESAMPLES)
    everybody = drawn @ sick_of
    recalls = (drawn @ found_of)[everybody > 0] / everybody[everybody > 0]
    return float(recalls.std()) if len(recalls) else 0.0
