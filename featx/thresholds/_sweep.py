"""The exact sweep: every threshold that makes a difference, and what each achieves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx._scores import Scores, as_scores
from featx.errors import InputError


@dataclass(frozen=True, slots=True)
class Sweep:
    """All distinct operating points of a set of scores, thresholds ascending.

    An image is called positive when its score is at least the threshold. Thresholds lie halfway
    between neighbouring scores, so that each one is as far from the scores as it can be.

    Attributes
    ----------
    thresholds, recall, accuracy : ndarray of shape (points,), dtype float64
        The first point calls everybody positive, the last nobody.
    """

    thresholds: NDArray[np.float64]
    recall: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def best(self, accuracy_floor: float) -> int | None:
        """Return the point of highest recall with accuracy at or above the floor.

        Ties are broken by accuracy. None when no point is feasible.
        """
        feasible = np.flatnonzero(self.accuracy >= accuracy_floor)
        if not feasible.size:
            return None
        order = np.lexsort((self.accuracy[feasible], self.recall[feasible]))
        return int(feasible[order[-1]])


def sweep(y: ArrayLike | Scores, scores: ArrayLike | None = None) -> Sweep:
    """Compute recall and accuracy at every distinct threshold.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1, or Scores
        1 for the positive class; or labels and scores together.
    scores : array of shape (images,)
        Finite; higher means likelier positive.

    Raises
    ------
    InputError
        When a class is missing, lengths differ, or a score is not finite.
    """
    data = as_scores(y, scores)
    truth, values = data.positive, data.score
    if not np.isfinite(values).all():
        raise InputError(f"some scores are not finite numbers: {int((~np.isfinite(values)).sum())}")
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        raise InputError(
            f"all {len(truth)} images are of one class, so there is no threshold to choose"
        )
    distinct, place = np.unique(values, return_inverse=True)
    positive_at = np.bincount(place, weights=truth, minlength=len(distinct))
    negative_at = np.bincount(place, weights=~truth, minlength=len(distinct))
    # Raising the threshold past a score turns its images negative.
    missed = np.concatenate([[0.0], np.cumsum(positive_at)])
    cleared = np.concatenate([[0.0], np.cumsum(negative_at)])
    between = distinct[:-1] + (distinct[1:] - distinct[:-1]) / 2
    between = np.where(between > distinct[:-1], between, distinct[1:])
    thresholds = np.concatenate([distinct[:1], between, [np.nextafter(distinct[-1], np.inf)]])
    return Sweep(
        thresholds, (positives - missed) / positives, (positives - missed + cleared) / len(truth)
    )
