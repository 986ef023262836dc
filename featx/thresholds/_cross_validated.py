"""An operating point for another population, chosen on a few labelled images of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx._scores import Scores
from featx.errors import InputError
from featx.heads import PatientFolds
from featx.thresholds._choose import note_of, nothing_feasible
from featx.thresholds._criterion import Criterion
from featx.thresholds._one_standard_error import choose_point
from featx.thresholds._sweep import sweep
from featx_cache._text import plural

FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CrossValidatedPoint:
    """A threshold, and what such a choice calls patients who had no part in it.

    Attributes
    ----------
    threshold
        Threshold that all images chose.
    called : ndarray of shape (images,), dtype bool
        Whether an image is called positive by the threshold that the other folds' patients chose
        (cross-validation). Metrics of these calls are honest, though the images are few.
    folds
        Number of folds.
    note
        Sentence on recall that was given up; see `OperatingPoint`.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> point = choose_cross_validated(scores, criterion=Criterion())
    >>> point
    CrossValidatedPoint(threshold 0.5, 6 images in 3 folds)
    >>> point.called.tolist()
    [False, False, False, True, True, True]
    """

    threshold: float
    called: NDArray[np.bool_]
    folds: int
    note: str = ""

    def __repr__(self) -> str:
        images = f"{plural(len(self.called), 'image')} in {self.folds} folds"
        return f"CrossValidatedPoint(threshold {self.threshold:.6g}, {images})"


def choose_cross_validated(
    scores: Scores, *, criterion: Criterion, seed: int = 0
) -> CrossValidatedPoint:
    """Pick the threshold by a criterion, and cross-validate the choice.

    Parameters
    ----------
    scores
        Scores of images that the head wasn't fitted on.
    criterion
        Criterion of the choice. If the images outside a fold keep its floors nowhere, the threshold
        that misses them least is taken for the fold.
    seed
        Seed of the folds.

    Raises
    ------
    InputError
        If a class has fewer than two patients.
    NoFeasibleThresholdError
        If no threshold reaches the floors on all images.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])
    >>> round(choose_cross_validated(scores, criterion=Criterion()).threshold, 2)
    0.45
    """
    truth, values, patients = scores.positive, scores.score, scores.patient.astype(str)
    for positive in (False, True):
        if (known := len(set(patients[truth == positive]))) < 2:
            raise InputError(
                f"there are images of {known} {'sick' if positive else 'healthy'} patient"
                f"{'' if known == 1 else 's'} to choose a threshold on, and two of each class are "
                "needed to say anything of it",
                "Label images of more patients: a few dozen are a good beginning.",
            )
    points = sweep(scores)
    choice = choose_point(points, criterion, scores)
    if choice is None:
        raise nothing_feasible(
            points,
            criterion,
            scores,
            where=f"on these {len(scores)} images ",
            instead="fit a head on images of this population",
        )
    threshold = float(points.thresholds[choice.point])
    called = np.empty(len(scores), bool)
    folds = list(PatientFolds(FOLDS, seed).split(values, truth, patients))
    for kept, held_out in folds:
        # A patient may have images of both classes, so a fold may leave one class only.
        both = 0 < truth[kept].sum() < len(kept)
        part = _threshold(scores[kept], criterion) if both else threshold
        called[held_out] = values[held_out] >= part
    return CrossValidatedPoint(threshold, called, len(folds), note_of(points, choice))


def _threshold(scores: Scores, criterion: Criterion) -> float:
    points = sweep(scores)
    choice = choose_point(points, criterion, scores)
    return float(points.thresholds[criterion.nearest(points) if choice is None else choice.point])
