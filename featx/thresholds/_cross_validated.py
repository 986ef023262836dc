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

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> point = choose_cross_validated(scores, accuracy_floor=0.9)
    >>> point
    CrossValidatedPoint(threshold 0.5, 6 images in 3 folds)
    >>> point.called.tolist()
    [False, False, False, True, True, True]
    """

    threshold: float
    called: NDArray[np.bool_]
    folds: int

    def __repr__(self) -> str:
        images = f"{plural(len(self.called), 'image')} in {self.folds} folds"
        return f"CrossValidatedPoint(threshold {self.threshold:.6g}, {images})"


def choose_cross_validated(
    scores: Scores, *, accuracy_floor: float, seed: int = 0
) -> CrossValidatedPoint:
    """Pick the threshold of highest recall above an accuracy floor, and cross-validate the choice.

    Parameters
    ----------
    scores
        Scores of images that the head wasn't fitted on.
    accuracy_floor
        Accuracy to reach, between 0 and 1. If the images outside a fold reach it nowhere, their
        most accurate threshold is taken for the fold.
    seed
        Seed of the folds.

    Raises
    ------
    InputError
        If a class has fewer than two patients.
    NoFeasibleThresholdError
        If no threshold reaches the floor on all images.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])
    >>> round(choose_cross_validated(scores, accuracy_floor=0.9).threshold, 2)
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
    try:
        threshold = choose_threshold(scores, accuracy_floor=accuracy_floor).threshold
    except NoFeasibleThresholdError as error:
        raise NoFeasibleThresholdError(
            f"on these {len(scores)} images {error.what}",
            "Lower `accuracy_floor`, or fit a head on images of this population.",
            best_accuracy=error.best_accuracy,
            roc_auc=error.roc_auc,
        ) from error
    called = np.empty(len(scores), bool)
    folds = list(PatientFolds(FOLDS, seed).split(values, truth, patients))
    for kept, held_out in folds:
        # A patient may have images of both classes, so a fold may leave one class only.
        both = 0 < truth[kept].sum() < len(kept)
        part = sweep(scores[kept]).threshold(accuracy_floor) if both else threshold
        called[held_out] = values[held_out] >= part
    return CrossValidatedPoint(threshold, called, len(folds))
