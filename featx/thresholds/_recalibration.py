"""A map from scores to probabilities that doesn't change who is likelier sick."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.special import expit, logit

from featx._specs import Spec

Method = Literal["sigmoid", "temperature", "prior"]


class Recalibration(Spec):
    """A map of a score to ``sigmoid(slope * logit(score) + intercept)``.

    Attributes
    ----------
    method
        ``sigmoid`` (Platt 1999: slope and intercept), ``temperature`` (Guo et al. 2017: slope
        alone) or ``prior`` (Saerens et al. 2002: intercept alone, for another share of the sick).
    slope, intercept
        Numbers on the scale of logits. The slope is positive, so the order of the images stays.

    Examples
    --------
    >>> milder = Recalibration(method="temperature", slope=0.5, intercept=0.0)
    >>> milder.apply([0.01, 0.5, 0.99]).round(2).tolist()
    [0.09, 0.5, 0.91]
    """

    method: Method
    slope: float = Field(gt=0, allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Map scores.

        Parameters
        ----------
        scores : array of shape (images,)
            Probabilities of the positive class, 0..1.

        Returns
        -------
        ndarray of shape (images,), dtype float64
        """
        return np.asarray(expit(self.slope * logits(scores) + self.intercept), np.float64)

    def after(self, earlier: Recalibration | None) -> Recalibration:
        """Return the map that does `earlier` first and then this one."""
        if earlier is None:
            return self
        return Recalibration(
            method=self.method,
            slope=self.slope * earlier.slope,
            intercept=self.slope * earlier.intercept + self.intercept,
        )


def logits(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the log odds of probabilities. 0 and 1 are moved to the next number between them."""
    values = np.asarray(scores, np.float64)
    tiny = np.finfo(np.float64).tiny
    return np.asarray(logit(values.clip(tiny, np.nextafter(1.0, 0.0))), np.float64)
