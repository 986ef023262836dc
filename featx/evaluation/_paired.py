"""Runs on the same images: how much better or worse one is, and whether that may be chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._delong import compare_areas
from featx.evaluation._interval import Interval
from featx.evaluation._metrics import Metrics, evaluate_scores
from featx.evaluation._resampling import (
    RESAMPLES,
    percentile_interval,
    resample,
    resampled_weights,
)
from featx.evaluation._weighted_metrics import weighted_statistics

Method = Literal["bootstrap", "delong", "mcnemar"]


@dataclass(frozen=True, slots=True)
class Contender:
    """A run to compare: its name, its scores of the images, and its own threshold.

    Examples
    --------
    >>> Contender("logreg", Scores.from_arrays([0, 1], [0.2, 0.9]), 0.5).name
    'logreg'
    """

    name: str
    scores: Scores
    threshold: float


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """One test of one run against the first.

    Attributes
    ----------
    run
        Name of the other run.
    metric
        A metric of `Metrics`, or ``error_rate``, the share of images on the wrong side of each
        run's own threshold.
    method
        ``bootstrap`` resamples patients. ``delong`` (areas) and ``mcnemar`` (errors) take images
        for independent.
    first, other
        Metric of the first run and of the other. It is NaN if it isn't defined.
    difference
        Value of `other` less `first`.
    interval
        95 % interval of the difference. McNemar's test has none. It is None, too, if all resamples
        differ alike, which says nothing.
    p_value
        Two-sided p-value of no difference. It is None if the metric isn't defined.
    adjusted
        P-value adjusted by Holm's method for all tests that were made together.
    only_first_wrong, only_other_wrong
        Numbers of images that only one of the two got wrong, for McNemar's test.

    Examples
    --------
    >>> Difference("keras", "recall", "bootstrap", 0.9, 0.95, 0.05, Interval(0.01, 0.09), 0.02)
    Difference(keras: recall +0.0500 (0.0100 – 0.0900), p 0.02, bootstrap)
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

    def __repr__(self) -> str:
        interval = f" ({self.interval.low:.4f} – {self.interval.high:.4f})" if self.interval else ""
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        found = f"{self.metric} {self.difference:+.4f}{interval}{p_value}"
        return f"Difference({self.run}: {found}, {self.method})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON. NaN becomes None."""
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
        Seed of the bootstrap, and its number of resamples.

    Returns
    -------
    list of Difference
        Tests of each other run: every metric by bootstrap, the area by DeLong, errors by McNemar.

    Raises
    ------
    InputError
        If there are fewer than two runs, or scores can't be evaluated.

    Examples
    --------
    >>> y = [0, 0, 1, 1]
    >>> one = Contender("one", Scores.from_arrays(y, [0.1, 0.6, 0.7, 0.9]), 0.5)
    >>> two = Contender("two", Scores.from_arrays(y, [0.1, 0.2, 0.7, 0.9]), 0.5)
    >>> compare_runs([one, two], resamples=100)[-1]
    Difference(two: error_rate -0.2500, p 1, mcnemar)
    """
    if len(contenders) < 2:
        raise InputError("a comparison needs two runs")
    metrics = [evaluate_scores(c.scores, c.threshold, resamples=0) for c in contenders]
    patient = contenders[0].scores.patient_number
    statistics = [weighted_statistics(c.scores, c.threshold) for c in contenders]
    # All runs are measured on the same resamples, so they are looked at in one pass.
    together = {(n, name): s for n, each in enumerate(statistics) for name, s in each.items()}
    drawn = resample(together, resampled_weights(patient, seed=seed, resamples=resamples))
    resampled = [{name: drawn[n, name] for name in each} for n, each in enumerate(statistics)]
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

    It inverts the percentile interval (Efron and Tibshirani 1993, section 15.4). One is added above
    and below, so that it is never 0 (Davison and Hinkley 1997, section 4.2).
    """
    low, high = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2.0 * (min(low, high) + 1) / (len(differences) + 1))


def mcnemar(only_first_wrong: int, only_other_wrong: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (Psychometrika 1947).

    If both runs were as good, half of the images that only one gets wrong would be the first's.
    """
    discordant = only_first_wrong + only_other_wrong
    return float(binomtest(only_first_wrong, discordant).pvalue) if discordant else 1.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm, Scandinavian Journal of Statistics 1979).

    If those at most 0.05 are called real, there is any mistake at all in 5 % of such families.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _draws_of(
    first: dict[str, NDArray[np.float64]], other: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the differences of the resamples that have both values."""
    found = {}
    for name in first:
        if name in other:
            differences = other[name] - first[name]
            # If nothing differs, sums in another order still do, in the last digits.
            differences[np.abs(differences) < 1e-12] = 0.0
            found[name] = differences[np.isfinite(differences)]
    return found


def _by_bootstrap(
    run: str, name: str, metrics: tuple[Metrics, Metrics], draws: NDArray[np.float64]
) -> Difference:
    first, other = (float(getattr(each, name)) for each in metrics)
    if not len(draws) or math.isnan(other - first):
        return Difference(run, name, "bootstrap", first, other, math.nan, None, None)
    interval, p_value = percentile_interval(draws), bootstrap_p_value(draws)
    if interval is not None and interval.low == interval.high:
        interval = None
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
    one_rate, two_rate = (float(each.mean()) for each in wrong)
    rates, p_value = (one_rate, two_rate, two_rate - one_rate), mcnemar(*counts)
    errors = Difference(two.name, "error_rate", "mcnemar", *rates, None, p_value, None, *counts)
    return [*found, errors]
