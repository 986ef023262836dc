"""Runs on the same images: how much better or worse one is, and whether that may be chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._delong import compare_areas
from featx.evaluation._interval import CONFIDENCE, Interval
from featx.evaluation._metrics import Metrics, evaluate_scores, weighted_statistics
from featx.evaluation._resampling import RESAMPLES, Statistic, Weights, resampled_weights

Method = Literal["bootstrap", "delong", "mcnemar"]


@dataclass(frozen=True, slots=True)
class Contender:
    """What is compared: a name, its scores of the images, and its own threshold."""

    name: str
    scores: Scores
    threshold: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One test of one run against the first.

    Attributes
    ----------
    run
        The name of the other run.
    metric
        A metric of `Metrics`, or ``error_rate``, the share of images on the wrong side of each
        run's own threshold.
    method
        ``bootstrap`` resamples patients; ``delong`` (areas) and ``mcnemar`` (errors) take images
        for independent.
    first, other
        The metric of the first run and of the other; NaN where it isn't defined.
    difference
        `other` less `first`.
    interval
        95 % interval of the difference; None where there is none, as of McNemar's test, and where
        all resamples differ alike, which says nothing.
    p_value
        Two-sided, of no difference; None where the metric isn't defined.
    adjusted
        The same by Holm's method for all tests that were made together.
    only_first_wrong, only_other_wrong
        Images that only one of the two got wrong; of McNemar's test.
    """

    run: str
    metric: str
    method: Method
    first: float
    other: float
    difference: float
    interval: Interval | None
    p_value: float | None
    adjusted: float | None = None
    only_first_wrong: int | None = None
    only_other_wrong: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON; NaN becomes None."""
        values = asdict(self)
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()
        }


def compare_runs(
    contenders: Sequence[Contender], *, seed: int = 0, resamples: int = RESAMPLES
) -> list[Difference]:
    """Test every other run against the first, in every metric.

    The same patients are drawn for both runs of a pair (Efron and Tibshirani 1993, chapter 16):
    what makes an image hard is hard for both, so a difference is known better than either value.

    Parameters
    ----------
    contenders
        Two or more, with scores of the same images in the same order. The first is what the others
        are compared with.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    list of Difference
        For each other run: every metric by bootstrap, the area by DeLong, errors by McNemar.

    Raises
    ------
    InputError
        When there are fewer than two, or scores can't be evaluated.
    """
    if len(contenders) < 2:
        raise InputError("a comparison needs two runs")
    metrics = [evaluate_scores(c.scores, c.threshold, resamples=0) for c in contenders]
    place = contenders[0].scores.patient_number
    weights = resampled_weights(place, seed=seed, resamples=resamples)
    resampled = _resample(contenders, weights)
    found = []
    for number in range(1, len(contenders)):
        found += [
            _by_bootstrap(contenders[number].name, name, (metrics[0], metrics[number]), draws)
            for name, draws in _draws_of(resampled[0], resampled[number]).items()
        ]
        found += _by_formula(contenders[0], contenders[number], metrics[0], metrics[number])
    tested = [test.p_value for test in found if test.p_value is not None]
    adjusted = iter(holm(tested).tolist())
    return [t if t.p_value is None else replace(t, adjusted=next(adjusted)) for t in found]


def bootstrap_p_value(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of no difference: how often resamples fall on one side of zero.

    The inversion of the percentile interval (Efron and Tibshirani 1993, section 15.4); one is
    added above and below, so that it is never 0 (Davison and Hinkley 1997, section 4.2).

    Parameters
    ----------
    differences : ndarray of shape (resamples,), dtype float64
    """
    low, high = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2.0 * (min(low, high) + 1) / (len(differences) + 1))


def mcnemar(only_first_wrong: int, only_other_wrong: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (Psychometrika 1947).

    Of the images that only one run gets wrong, half would be the first's if both were as good.

    Parameters
    ----------
    only_first_wrong, only_other_wrong
        Counts.
    """
    discordant = only_first_wrong + only_other_wrong
    return float(binomtest(only_first_wrong, discordant).pvalue) if discordant else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm, Scandinavian Journal of Statistics 1979).

    Whoever calls those at most 0.05 real makes any mistake at all in 5 % of such families.

    Parameters
    ----------
    p_values : array of shape (tests,)

    Returns
    -------
    ndarray of shape (tests,), dtype float64
        In the same order.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _resample(
    contenders: Sequence[Contender], blocks: Iterator[Weights]
) -> list[dict[str, NDArray[np.float64]]]:
    """Measure every run on the same resamples of the patients."""
    statistics: list[dict[str, Statistic]] = [
        weighted_statistics(c.scores, c.threshold) for c in contenders
    ]
    parts: list[dict[str, list[NDArray[np.float64]]]] = [
        {name: [] for name in each} for each in statistics
    ]
    for weights in blocks:
        for each, collected in zip(statistics, parts, strict=True):
            for name, statistic in each.items():
                collected[name].append(statistic(weights))
    return [{name: np.concatenate(p) for name, p in each.items()} for each in parts]


def _draws_of(
    first: dict[str, NDArray[np.float64]], other: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the differences, resample by resample; a resample without either value has none."""
    found = {}
    for name in first:
        if name in other:
            differences = other[name] - first[name]
            # Sums in another order leave dust where nothing differs.
            differences[np.abs(differences) < 1e-12] = 0.0
            found[name] = differences[np.isfinite(differences)]
    return found


def _by_bootstrap(
    run: str, name: str, metrics: tuple[Metrics, Metrics], draws: NDArray[np.float64]
) -> Difference:
    first, other = (float(getattr(each, name)) for each in metrics)
    if not len(draws) or math.isnan(other - first):
        return Difference(run, name, "bootstrap", first, other, math.nan, None, None)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(draws, (tail, 1.0 - tail))
    interval = Interval(float(low), float(high)) if low < high else None
    p_value = bootstrap_p_value(draws)
    return Difference(run, name, "bootstrap", first, other, other - first, interval, p_value)


def _by_formula(one: Contender, two: Contender, first: Metrics, other: Metrics) -> list[Difference]:
    """Return the tests that take images for independent: DeLong's and McNemar's."""
    found, truth = [], one.scores.positive
    if min(truth.sum(), (~truth).sum()) >= 2:
        area = compare_areas(truth, two.scores.score, one.scores.score)
        values = (first.roc_auc, other.roc_auc, area.difference)
        found.append(
            Difference(two.name, "roc_auc", "delong", *values, area.interval, area.p_value)
        )
    wrong = [c.scores.called(c.threshold) != truth for c in (one, two)]
    counts = int((wrong[0] & ~wrong[1]).sum()), int((wrong[1] & ~wrong[0]).sum())
    rates = [float(each.mean()) for each in wrong]
    found.append(
        Difference(
            run=two.name,
            metric="error_rate",
            method="mcnemar",
            first=rates[0],
            other=rates[1],
            difference=rates[1] - rates[0],
            interval=None,
            p_value=mcnemar(*counts),
            only_first_wrong=counts[0],
            only_other_wrong=counts[1],
        )
    )
    return found
