"""The patient-grouped bootstrap: metrics of many resamples at once, as weights of the images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from featx.evaluation._interval import CONFIDENCE, Interval

RESAMPLES = 2000
_RESAMPLES_AT_ONCE = 100

Key = TypeVar("Key", bound=Hashable)

Weights = NDArray[np.float64]
"""Counts of each image in each resample: shape (resamples, images)."""

Statistic = Callable[[Weights], NDArray[np.float64]]
"""Function that returns one value a resample, or NaN if the resample has none."""


def resampled_weights(
    groups: NDArray[np.intp], *, seed: int, resamples: int = RESAMPLES
) -> Iterator[Weights]:
    """Draw patients with replacement, each with all their images, in blocks of resamples.

    Groups are numbers of the images' patients, from 0 on.
    """
    patients = int(groups.max()) + 1
    random = np.random.default_rng(seed)
    chances = np.full(patients, 1.0 / patients)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        count = min(_RESAMPLES_AT_ONCE, resamples - start)
        yield random.multinomial(patients, chances, size=count)[:, groups].astype(np.float64)


def resample(
    statistics: Mapping[Key, Statistic], blocks: Iterable[Weights]
) -> dict[Key, NDArray[np.float64]]:
    """Return the values of some statistics on the same resamples of the patients."""
    values: dict[Key, list[NDArray[np.float64]]] = {name: [np.empty(0)] for name in statistics}
    for weights in blocks:
        for name, statistic in statistics.items():
            values[name].append(statistic(weights))
    return {name: np.concatenate(parts) for name, parts in values.items()}


def percentile_interval(values: NDArray[np.float64]) -> Interval | None:
    """Return the 95 % percentile interval of resamples (Efron and Tibshirani 1993).

    A resample in which the value isn't defined doesn't count. It is None if none is.
    """
    found = values[np.isfinite(values)]
    if not len(found):
        return None
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(found, (tail, 1.0 - tail))
    return Interval(float(low), float(high))


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    groups: NDArray[np.intp],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return percentile intervals of some statistics, without those that no resample has."""
    drawn = resample(statistics, resampled_weights(groups, seed=seed, resamples=resamples))
    found = {name: percentile_interval(values) for name, values in drawn.items()}
    return {name: interval for name, interval in found.items() if interval is not None}
