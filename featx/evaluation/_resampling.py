"""The patient-grouped bootstrap: metrics of many resamples at once, as weights of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from featx.evaluation._interval import CONFIDENCE, Interval

RESAMPLES = 2000
_RESAMPLES_AT_ONCE = 100

Weights = NDArray[np.float64]
"""How often each image is in each resample: shape (resamples, images)."""

Statistic = Callable[[Weights], NDArray[np.float64]]
"""Function that returns one value a resample, or NaN if the resample has none."""


def resampled_weights(
    groups: NDArray[np.intp], *, seed: int, resamples: int = RESAMPLES
) -> Iterator[Weights]:
    """Draw patients with replacement, each with all their images, in blocks of resamples.

    Parameters
    ----------
    groups : ndarray of shape (images,), dtype intp
        Number of each image's patient, from 0 on.
    seed
        Seed of the drawing.
    resamples
        Number of resamples.
    """
    patients = int(groups.max()) + 1
    random = np.random.default_rng(seed)
    chances = np.full(patients, 1.0 / patients)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        drawn = random.multinomial(
            patients, chances, size=min(_RESAMPLES_AT_ONCE, resamples - start)
        )
        yield drawn[:, groups].astype(np.float64)


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    groups: NDArray[np.intp],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return percentile intervals of some statistics on the same resamples of the patients.

    See Efron and Tibshirani 1993. If a statistic isn't defined in a resample, the resample doesn't
    count for it.

    Parameters
    ----------
    statistics
        Statistics by name.
    groups, seed, resamples
        See `resampled_weights`.

    Returns
    -------
    dict of str to Interval
        Intervals of the statistics that some resample has.
    """
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for weights in resampled_weights(groups, seed=seed, resamples=resamples):
        for name, statistic in statistics.items():
            values[name].append(statistic(weights))
    tail = (1.0 - CONFIDENCE) / 2.0
    intervals = {}
    for name, parts in values.items():
        found = np.concatenate([np.empty(0), *parts])
        found = found[np.isfinite(found)]
        if len(found):
            low, high = np.quantile(found, (tail, 1.0 - tail))
            intervals[name] = Interval(float(low), float(high))
    return intervals


def weighted_auc(y: NDArray[np.bool_], scores: NDArray[np.float64]) -> Statistic:
    """Return the area under the ROC curve as a statistic of weights; equal scores count half."""
    order, ends = _ranked(scores)
    truth = y[order]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        ranked = weights[:, order]
        hits = np.add.reduceat(ranked * truth, ends, axis=1)
        alarms = np.add.reduceat(ranked * ~truth, ends, axis=1)
        above = np.cumsum(hits, axis=1) - 0.5 * hits
        with np.errstate(invalid="ignore"):
            area = (above * alarms).sum(axis=1) / (hits.sum(axis=1) * alarms.sum(axis=1))
        return np.asarray(area, np.float64)

    return statistic


def weighted_average_precision(y: NDArray[np.bool_], scores: NDArray[np.float64]) -> Statistic:
    """Return the average precision, scikit-learn's, as a statistic of weights."""
    order, ends = _ranked(scores)
    truth = y[order]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        ranked = weights[:, order]
        hits = np.add.reduceat(ranked * truth, ends, axis=1)
        called = np.cumsum(np.add.reduceat(ranked, ends, axis=1), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(called > 0, np.cumsum(hits, axis=1) / called, 0.0)
            value = (precision * hits).sum(axis=1) / hits.sum(axis=1)
        return np.asarray(value, np.float64)

    return statistic


def _ranked(scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sort scores from the highest, and say where runs of equal ones begin."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return order, starts
