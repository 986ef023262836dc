"""The exact sweep: every threshold that makes a difference, and what each achieves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from featx._scores import Scores, as_scores
from featx.errors import InputError


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sweep:
    """All distinct operating points of some scores, thresholds ascending.

    An image is called positive if its score is at least the threshold. Thresholds lie halfway
    between neighboring scores, so that each one is as far from the scores as it can be.

    Attributes
    ----------
    thresholds, recall, specificity, accuracy : ndarray of shape (points,), dtype float64
        The first point calls everybody positive, the last nobody.

    Examples
    --------
    >>> points = sweep([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9])
    >>> points
    Sweep(5 thresholds, accuracy up to 0.7500)
    >>> points.to_frame().round(3)
       threshold  recall  specificity  accuracy
    0        0.1     1.0          0.0      0.50
    1        0.2     1.0          0.5      0.75
    2        0.4     0.5          0.5      0.50
    3        0.7     0.5          1.0      0.75
    4        0.9     0.0          1.0      0.50
    >>> points.best(0.75), round(points.threshold(0.9), 3), points.front.tolist()
    (1, 0.2, [1])
    """

    thresholds: NDArray[np.float64]
    recall: NDArray[np.float64]
    specificity: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Share of the sick: the accuracy of calling everybody so."""
        return float(self.accuracy[0])

    @property
    def most_accurate(self) -> int:
        """The lowest point of highest accuracy."""
        return int(self.accuracy.argmax())

    @property
    def front(self) -> NDArray[np.intp]:
        """The points that no other exceeds in recall or accuracy without being less in the other.

        Recall falls from point to point. So a point is one of them if it is more accurate than all
        points of higher or equal recall.
        """
        return self._not_exceeded(self.accuracy)

    @property
    def corners(self) -> NDArray[np.intp]:
        """The corners of the ROC curve.

        No other point exceeds them in recall or specificity without being less in the other.
        The points of the front are among them.
        """
        return self._not_exceeded(self.specificity)

    def _not_exceeded(self, other: NDArray[np.float64]) -> NDArray[np.intp]:
        order = np.lexsort((-other, -self.recall))
        ranked = other[order]
        before = np.maximum.accumulate(np.concatenate([[-np.inf], ranked[:-1]]))
        return np.sort(order[ranked > before])

    def best(self, accuracy_floor: float) -> int | None:
        """Return the point of highest recall with accuracy at or above the floor.

        Ties are broken by accuracy. It is None if no point is feasible.
        """
        feasible = np.flatnonzero(self.accuracy >= accuracy_floor)
        if not feasible.size:
            return None
        order = np.lexsort((self.accuracy[feasible], self.recall[feasible]))
        return int(feasible[order[-1]])

    def threshold(self, accuracy_floor: float) -> float:
        """Return the threshold of the best point, or of the most accurate if none is feasible."""
        best = self.best(accuracy_floor)
        return float(self.thresholds[self.most_accurate if best is None else best])

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point."""
        columns = {"threshold": self.thresholds, "recall": self.recall}
        return pd.DataFrame({**columns, "specificity": self.specificity, "accuracy": self.accuracy})

    def at_prevalence(self, prevalence: float) -> Sweep:
        """Return the same points with their accuracy at another share of the sick, 0..1."""
        accuracy = prevalence * self.recall + (1.0 - prevalence) * self.specificity
        return Sweep(self.thresholds, self.recall, self.specificity, accuracy)

    def __len__(self) -> int:
        return len(self.thresholds)

    def __repr__(self) -> str:
        return f"Sweep({len(self)} thresholds, accuracy up to {self.accuracy.max():.4f})"


def sweep(y: ArrayLike | Scores, scores: ArrayLike | None = None) -> Sweep:
    """Compute recall, specificity and accuracy at every distinct threshold.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1, or Scores
        Labels: 1 for the positive class. `Scores` hold labels and scores together.
    scores : array of shape (images,)
        Finite numbers. A higher one means likelier positive.

    Raises
    ------
    InputError
        If a class is missing, lengths differ, or a score is not finite.

    Examples
    --------
    >>> sweep([0, 1], [0.2, 0.8]).thresholds[:2].tolist()
    [0.2, 0.5]
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
    distinct, position = np.unique(values, return_inverse=True)
    positive_at = np.bincount(position, weights=truth, minlength=len(distinct))
    negative_at = np.bincount(position, weights=~truth, minlength=len(distinct))
    return sweep_counts(distinct, positive_at, negative_at)


def sweep_counts(
    distinct: NDArray[np.float64], positive_at: NDArray[Any], negative_at: NDArray[Any]
) -> Sweep:
    """Sweep distinct scores, ascending, with the numbers of sick and healthy images at each."""
    positives, negatives = positive_at.sum(), negative_at.sum()
    # Raising the threshold past a score turns its images negative.
    missed = np.concatenate([[0.0], np.cumsum(positive_at)])
    cleared = np.concatenate([[0.0], np.cumsum(negative_at)])
    between = distinct[:-1] + (distinct[1:] - distinct[:-1]) / 2
    between = np.where(between > distinct[:-1], between, distinct[1:])
    return Sweep(
        np.concatenate([distinct[:1], between, [np.nextafter(distinct[-1], np.inf)]]),
        (positives - missed) / positives,
        cleared / negatives,
        (positives - missed + cleared) / (positives + negatives),
    )
