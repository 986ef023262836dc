"""Intervals of proportions of images that come in patients, honest at 0 and at 1, too."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import beta, norm, t

from featx.evaluation._interval import CONFIDENCE, Interval

_TAIL = (1.0 - CONFIDENCE) / 2.0


def clustered_interval(hits: ArrayLike, patients: ArrayLike) -> Interval | None:
    """Return the 95 % interval of a proportion of images, where patients have several.

    It is Clopper and Pearson's interval (Biometrika 1934) for as many independent images as these
    are worth (Korn and Graubard, Survey Methodology 1998), the standard of the National Center for
    Health Statistics (Parker et al., Vital and Health Statistics 2(175), 2017). See
    `effective_size`. If all images are hits, or none is, its far end is the one that the rule of
    three approximates, on patients (Hanley and Lippman-Hand, JAMA 1983).

    Parameters
    ----------
    hits : array of shape (images,), bool or 0/1
        Whether an image counts as a success.
    patients : array of shape (images,)
        Patient of each image. If there are fewer than two, there is no interval.
    """
    found = np.asarray(hits, np.float64)
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    images = np.bincount(patient, np.ones_like(found)).astype(np.float64)
    if len(images) < 2:
        return None
    size = effective_size(np.bincount(patient, found).astype(np.float64), images)
    count = float(found.mean()) * size
    low = float(beta.ppf(_TAIL, count, size - count + 1.0)) if count > 0.0 else 0.0
    high = float(beta.ppf(1.0 - _TAIL, count + 1.0, size - count)) if count < size else 1.0
    return Interval(low, high)


def effective_size(hits: NDArray[np.float64], images: NDArray[np.float64]) -> float:
    """Return how many independent images the images of some patients are worth.

    The number of images by the design effect: the variance between patients (Taylor's, of a ratio)
    by the binomial one. It isn't known well from few hits or few misses. So it is estimated with
    two patients more, of average size: one with hits only, one with misses only, as Agresti and
    Coull add two of each (The American Statistician 1998). Korn and Graubard's factor accounts for
    few patients. The result is at most the number of images, and at least what it is if a
    patient's images are all alike (Kish, Survey Sampling, 1965). If there is no hit or no miss, it
    is the number of patients. Each patient has an image at least.
    """
    total, patients = float(images.sum()), len(images)
    if total == patients or not 0.0 < hits.sum() < total:
        return float(patients)
    kish = total**2 / float((images**2).sum())
    mean = total / patients
    x, m = np.append(hits, [mean, 0.0]), np.append(images, [mean, mean])
    share = x.sum() / m.sum()
    between = float(((x - share * m) ** 2).sum()) * len(m) / (len(m) - 1)
    design = between / (m.sum() * share * (1.0 - share))
    few = (t.ppf(_TAIL, total - 1.0) / t.ppf(_TAIL, patients - 1.0)) ** 2
    return float(min(max(total / design * few, kish), total))


def weighted_sum_interval(
    values: tuple[float, float], intervals: tuple[Interval, Interval], weights: tuple[float, float]
) -> Interval:
    """Return the interval of a weighted sum of two independent estimates, from those of both.

    The method is MOVER (Zou and Donner, Statistics in Medicine 2008). No weight is negative.
    """
    below = above = 0.0
    for value, interval, weight in zip(values, intervals, weights, strict=True):
        below += (weight * (value - interval.low)) ** 2
        above += (weight * (interval.high - value)) ** 2
    middle = sum(w * v for w, v in zip(weights, values, strict=True))
    return Interval(middle - math.sqrt(below), middle + math.sqrt(above))


def extreme_area_interval(area: float, sick: int, healthy: int) -> Interval:
    """Return the 95 % interval of an area under the ROC curve of 0 or 1, by patients of each class.

    Newcombe's method 5 (Statistics in Medicine 2006, part 2) takes the areas that lie no farther
    from the one found than 1.96 of their own standard errors, which are Hanley and McNeil's (1982).

    Examples
    --------
    >>> found = extreme_area_interval(1.0, 20, 20)
    >>> round(found.low, 2), found.high
    (0.9, 1.0)
    """
    z, half = float(norm.ppf(1.0 - _TAIL)), (sick + healthy) / 2.0 - 1.0

    def away(other: float) -> float:
        spread = 1.0 + half * ((1.0 - other) / (2.0 - other) + other / (1.0 + other))
        return (area - other) ** 2 - z**2 * other * (1.0 - other) * spread / (sick * healthy)

    # It is 0 at the area itself, and once more, at the other end.
    tiny = 1e-9
    end = float(brentq(away, tiny, 1.0 - tiny))
    return Interval(end, 1.0) if area >= 0.5 else Interval(0.0, end)
