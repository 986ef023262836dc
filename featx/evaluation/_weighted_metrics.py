"""Metrics as functions of the images' weights, for the bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx._scores import Scores
from featx.evaluation._prevalence import AT_PREVALENCE, predictive_values
from featx.evaluation._resampling import Statistic, Weights

BINS = 10
"""Number of bins of equal width, in which the calibration error compares scores and outcomes."""


class _Counts(NamedTuple):
    """The confusion matrices of many resamples."""

    tp: NDArray[np.float64]
    fn: NDArray[np.float64]
    fp: NDArray[np.float64]
    tn: NDArray[np.float64]

    @property
    def recall(self) -> NDArray[np.float64]:
        return self.tp / (self.tp + self.fn)

    @property
    def specificity(self) -> NDArray[np.float64]:
        return self.tn / (self.fp + self.tn)

    @property
    def mcc(self) -> NDArray[np.float64]:
        tp, fn, fp, tn = self
        product = (tp + fn) * (tp + fp) * (tn + fn) * (tn + fp)
        return np.asarray((tp * tn - fn * fp) / np.sqrt(product), np.float64)


def weighted_statistics(
    scores: Scores, threshold: float, prevalence: float | None = None
) -> dict[str, Statistic]:
    """Return the metrics that can be resampled: two patients at least have images for them."""
    truth, values, patient = scores.positive, scores.score, scores.patient_number
    called = scores.called(threshold)
    probabilities = values.clip(0.0, 1.0)
    cells = np.stack([truth & called, truth & ~called, ~truth & called, ~truth & ~called], axis=1)
    cells = cells.astype(np.float64)

    def of_counts(formula: Callable[[_Counts], NDArray[np.float64]]) -> Statistic:
        def statistic(weights: Weights) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(formula(_Counts(*(weights @ cells).T)), np.float64)

        return statistic

    def mean_of(losses: NDArray[np.float64]) -> Statistic:
        return lambda weights: np.asarray(weights @ losses / weights.sum(axis=1), np.float64)

    outcome = np.where(truth, probabilities, 1.0 - probabilities)
    tiny = np.finfo(np.float64).eps
    everything: dict[str, tuple[Statistic, list[NDArray[np.bool_]]]] = {
        "accuracy": (of_counts(lambda n: (n.tp + n.tn) / (n.tp + n.fn + n.fp + n.tn)), []),
        "balanced_accuracy": (
            of_counts(lambda n: (n.recall + n.specificity) / 2.0),
            [truth, ~truth],
        ),
        "recall": (of_counts(lambda n: n.recall), [truth]),
        "specificity": (of_counts(lambda n: n.specificity), [~truth]),
        "precision": (of_counts(lambda n: n.tp / (n.tp + n.fp)), [called]),
        "npv": (of_counts(lambda n: n.tn / (n.fn + n.tn)), [~called]),
        "f1": (of_counts(lambda n: 2 * n.tp / (2 * n.tp + n.fn + n.fp)), [truth | called]),
        "mcc": (of_counts(lambda n: n.mcc), [truth, ~truth, called, ~called]),
        "roc_auc": (weighted_auc(truth, values), [truth, ~truth]),
        "average_precision": (weighted_average_precision(truth, values), [truth, ~truth]),
        "brier": (mean_of((probabilities - truth) ** 2), []),
        "log_loss": (mean_of(-np.log(outcome.clip(tiny, 1.0))), [truth, ~truth]),
        "calibration_error": (weighted_calibration_error(truth, probabilities), []),
    }
    if prevalence is not None:
        for number, name in enumerate(AT_PREVALENCE):
            formula = _predictive_value(prevalence, number)
            everything[name] = (of_counts(formula), [truth, ~truth])
    anybody = np.ones(len(truth), bool)
    return {
        name: statistic
        for name, (statistic, needed) in everything.items()
        if all(len(np.unique(patient[which])) >= 2 for which in (anybody, *needed))
    }


def _predictive_value(prevalence: float, number: int) -> Callable[[_Counts], NDArray[np.float64]]:
    """Return the formula of PPV or NPV at a prevalence."""
    return lambda n: np.asarray(predictive_values(n.recall, n.specificity, prevalence)[number])


def weighted_calibration_error(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> Statistic:
    """Return the average over bins of how far the mean score is from the share of the sick."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gap = np.eye(BINS)[bins] * (probabilities - truth)[:, np.newaxis]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1), np.float64)

    return statistic


def weighted_auc(y: NDArray[np.bool_], scores: NDArray[np.float64]) -> Statistic:
    """Return the area under the ROC curve as a statistic of weights. Equal scores count half."""
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
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
