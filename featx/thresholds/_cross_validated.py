"""An operating point for another population, chosen on a few labelled images of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.heads import PatientFolds
from featx.thresholds._choose import choose_threshold
from featx.thresholds._sweep import sweep

FOLDS = 10


@dataclass(frozen=True, slots=True)
class CrossValidatedPoint:
    """A threshold, and what such a choice calls patients who had no part in it.

    Attributes
    ----------
    threshold
        Chosen on all images.
    called : ndarray of shape (images,), dtype bool
        Whether an image is called positive by the threshold that the other folds' patients chose
        (cross-validation): the only honest base for metrics, since the images are few.
    folds
        How many there were.
    """

    threshold: float
    called: NDArray[np.bool_]
    folds: int


def choose_cross_validated(
    scores: Scores, *, accuracy_floor: float, seed: int = 0
) -> CrossValidatedPoint:
    """Pick the threshold of highest recall above an accuracy floor, and cross-validate the choice.

    Parameters
    ----------
    scores
        Scores of images that the head wasn't fitted on.
    accuracy_floor
        Between 0 and 1. A fold whose other images reach it nowhere takes their most accurate
        threshold.
    seed
        Of the folds.

    Raises
    ------
    InputError
        When a class has fewer than two patients.
    NoFeasibleThresholdError
        When no threshold reaches the floor on all images.
    """
    truth, values, patients = scores.positive, scores.score, scores.patient.astype(str)
    for sick in (False, True):
        if (known := len(set(patients[truth == sick]))) < 2:
            raise InputError(
                f"there are images of {known} {'sick' if sick else 'healthy'} patient"
                f"{'' if known == 1 else 's'} to choose a threshold on, and two of each class are "
                "needed to say anything of it",
                "Label images of more patients: a few dozen are a good beginning.",
            )
    try:
        threshold = choose_threshold(scores, accuracy_floor=accuracy_floor, seed=seed).threshold
    except NoFeasibleThresholdError as error:
        raise NoFeasibleThresholdError(
            f"on these {len(truth)} images {str(error).split('. ')[0]}",
            "Lower `accuracy_floor`, or fit a head on images of this population.",
            best_accuracy=error.best_accuracy,
        ) from error
    splitter = PatientFolds(FOLDS, seed)
    called = np.empty(len(truth), bool)
    folds = list(splitter.split(values, truth, patients))
    for kept, held_out in folds:
        # A patient may have images of both classes, so a fold may leave one class only.
        part = threshold
        if 0 < truth[kept].sum() < len(kept):
            points = sweep(scores[kept])
            best = points.best(accuracy_floor)
            part = float(points.thresholds[int(points.accuracy.argmax()) if best is None else best])
        called[held_out] = values[held_out] >= part
    return CrossValidatedPoint(threshold, called, len(folds))
