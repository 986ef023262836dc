"""The area under the ROC curve: its variance, and whether two areas differ (DeLong)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from featx.errors import InputError
from featx.evaluation._interval import CONFIDENCE, Interval


@dataclass(frozen=True, slots=True)
class AreaDifference:
    """First area less the second, its 95 % interval, and the two-sided p-value of no difference."""

    difference: float
    interval: Interval
    p_value: float


def areas(y: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas under the ROC curves of some classifiers, and their covariance.

    The method is DeLong, DeLong and Clarke-Pearson's (Biometrics 1988), by way of mid-ranks as in
    Sun and Xu (IEEE Signal Processing Letters 2014). Images are taken for independent. If patients
    have several, resampling patients is more honest.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1
    scores : array of shape (images,) or (classifiers, images)
    """
    truth = np.asarray(y).astype(bool)
    values = np.atleast_2d(np.asarray(scores, np.float64))
    sick, well = values[:, truth], values[:, ~truth]
    m, n = sick.shape[1], well.shape[1]
    if min(m, n) < 2:
        raise InputError("DeLong's variance needs two images of each class")
    # Share of the other class on the right side of each image.
    ranks = rankdata(values, axis=1)
    of_sick = (ranks[:, truth] - rankdata(sick, axis=1)) / n
    of_well = 1.0 - (ranks[:, ~truth] - rankdata(well, axis=1)) / m
    covariance = np.atleast_2d(np.cov(of_sick)) / m + np.atleast_2d(np.cov(of_well)) / n
    return of_sick.mean(axis=1), covariance


def area_interval(y: ArrayLike, scores: ArrayLike) -> Interval:
    """Return DeLong's 95 % interval of an area, cut off at 0 and 1. See `areas` for errors."""
    (area,), covariance = areas(y, scores)
    margin = norm.ppf(0.5 + CONFIDENCE / 2.0) * np.sqrt(covariance[0, 0])
    return Interval(max(0.0, float(area - margin)), min(1.0, float(area + margin)))


def compare_areas(y: ArrayLike, one: ArrayLike, other: ArrayLike) -> AreaDifference:
    """Test whether two areas on the same images differ. See `areas` for errors."""
    (first, second), covariance = areas(y, np.stack([np.asarray(one), np.asarray(other)]))
    difference = float(first - second)
    deviation = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    margin = float(norm.ppf(0.5 + CONFIDENCE / 2.0)) * deviation
    if deviation < 1e-12:
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
    else:
        p_value = float(2.0 * norm.sf(abs(difference) / deviation))
    return AreaDifference(difference, Interval(difference - margin, difference + margin), p_value)
