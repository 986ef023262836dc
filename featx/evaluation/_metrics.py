"""Metrics of scores against labels at a threshold, with intervals that resample patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._clustered import added, clustered_interval, extreme_area_interval
from featx.evaluation._delong import area_interval
from featx.evaluation._interval import CONFIDENCE, Interval, proportion_interval
from featx.evaluation._prevalence import predictive_intervals, predictive_values
from featx.evaluation._resampling import (
    RESAMPLES,
    Statistic,
    Weights,
    bootstrap_intervals,
    weighted_auc,
    weighted_average_precision,
)

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "log_loss": "log loss",
    "calibration_error": "expected calibration error",
}
"""Display names of the metrics, for all tables and figures."""

COUNTED = ("accuracy", "recall", "specificity", "precision", "npv", "balanced_accuracy", "f1")
"""Metrics whose intervals follow from counts of images and patients, without resampling."""

AT_PREVALENCE = ("ppv_at_prevalence", "npv_at_prevalence")

BINS = 10
"""Of equal width, in which the expected calibration error compares scores and outcomes."""

__all__ = ["CONFIDENCE", "RESAMPLES", "Interval", "Metrics", "evaluate_scores"]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a classifier achieved on a set of images.

    Attributes
    ----------
    images, patients
        How many there were.
    threshold
        The operating point.
    accuracy, balanced_accuracy, recall, specificity, precision, npv, f1, mcc
        At the threshold; NaN where a class that they need is missing. Recall is sensitivity,
        precision the positive predictive value, mcc Matthews's correlation coefficient.
    roc_auc, average_precision
        Of the scores; NaN when one class is missing.
    brier, log_loss, calibration_error
        Of the scores as probabilities; the last is the expected calibration error over ten bins of
        equal width (Naeini et al., AAAI 2015). Log loss is NaN when one class is missing.
    confusion
        Counts under ``tn``, ``fp``, ``fn``, ``tp``.
    intervals
        95 % intervals of these by patients. Accuracy, recall, specificity, precision and NPV: Korn
        and Graubard's (see `featx.evaluation._clustered`), which holds at 0 and 1, too; balanced
        accuracy and F1 follow from such. The others: percentile bootstrap over patients, each with
        all their images (Efron and Tibshirani 1993), 2,000 resamples. Absent where fewer than two
        patients have such images, and where all resamples have the same value, which says nothing.
    other_intervals
        95 % intervals that take images for independent: ``wilson`` and ``clopper_pearson`` of the
        proportions, ``delong`` of the area under the ROC curve.
    at_prevalence
        ``prevalence`` as it was stated, and ``ppv`` and ``npv`` there, with `recall` and
        `specificity` as they are here; empty where none was stated. Their intervals are in
        `intervals` as ``ppv_at_prevalence`` and ``npv_at_prevalence``.
    """

    images: int
    patients: int
    threshold: float
    accuracy: float
    balanced_accuracy: float
    recall: float
    specificity: float
    precision: float
    npv: float
    f1: float
    mcc: float
    roc_auc: float
    average_precision: float
    brier: float
    log_loss: float
    calibration_error: float
    confusion: Mapping[str, int]
    intervals: Mapping[str, Interval]
    other_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    at_prevalence: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON; NaN becomes None."""
        plain: dict[str, Any] = asdict(self)
        plain["at_prevalence"] = _without_nan(plain["at_prevalence"])
        return _without_nan(plain)


class _Counts(NamedTuple):
    """The confusion matrices of many resamples."""

    tp: NDArray[np.float64]
    fn: NDArray[np.float64]
    fp: NDArray[np.float64]
    tn: NDArray[np.float64]


def evaluate_scores(
    scores: Scores,
    threshold: float,
    *,
    seed: int = 0,
    prevalence: float | None = None,
    resamples: int = RESAMPLES,
) -> Metrics:
    """Measure scores against labels.

    Parameters
    ----------
    scores
        Scores of labelled images.
    threshold
        An image is called positive when its score is at least this.
    seed
        Seed of the bootstrap.
    prevalence
        Share of the people who are sick where the classifier will be used; None leaves it open.
    resamples
        Of the bootstrap; 0 leaves `intervals` out.

    Raises
    ------
    InputError
        When there are no images, a score is not finite, or the prevalence isn't a share.
    """
    truth, values = scores.positive, scores.score
    if not len(scores):
        raise InputError("there are no images to evaluate")
    if not np.isfinite(values).all():
        raise InputError(f"some scores are not finite numbers: {int((~np.isfinite(values)).sum())}")
    called = scores.called(threshold)
    (tn, fp), (fn, tp) = confusion_matrix(truth, called, labels=[False, True]).tolist()
    both = bool(truth.any() and (~truth).any())
    place = scores.patient_number
    probabilities = values.clip(0.0, 1.0)
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    intervals: dict[str, Interval] = {}
    if resamples:
        statistics = weighted_statistics(scores, threshold, prevalence)
        drawn = bootstrap_intervals(
            {n: s for n, s in statistics.items() if n not in COUNTED},
            place,
            seed=seed,
            resamples=resamples,
        )
        intervals = _intervals(truth, values, called, place, drawn, prevalence)
    stated: dict[str, float] = {}
    if prevalence is not None:
        ppv, npv = predictive_values(recall, specificity, prevalence)
        stated = {"prevalence": prevalence, "ppv": ppv, "npv": npv}
    proportions = {
        "accuracy": (tp + tn, len(truth)),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    return Metrics(
        images=len(truth),
        patients=int(place.max()) + 1,
        threshold=float(threshold),
        accuracy=_ratio(tp + tn, len(truth)),
        balanced_accuracy=(recall + specificity) / 2.0,
        recall=recall,
        specificity=specificity,
        precision=_ratio(tp, tp + fp),
        npv=_ratio(tn, tn + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        mcc=float(matthews_corrcoef(truth, called)) if both else math.nan,
        roc_auc=float(roc_auc_score(truth, values)) if both else math.nan,
        average_precision=float(average_precision_score(truth, values)) if both else math.nan,
        brier=float(brier_score_loss(truth, probabilities, labels=[False, True])),
        log_loss=float(log_loss(truth, probabilities, labels=[False, True])) if both else math.nan,
        calibration_error=_calibration_error(truth, probabilities),
        confusion={"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        intervals=intervals,
        other_intervals=_other_intervals(proportions, truth, values),
        at_prevalence=stated,
    )


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _calibration_error(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Average over bins how far the mean score is from the share of the sick."""
    ones = np.ones((1, len(truth)))
    return float(_calibration_statistic(truth, probabilities)(ones)[0])


def _calibration_statistic(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> Statistic:
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    members = np.eye(BINS)[bins]
    gap = members * (probabilities - truth)[:, np.newaxis]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1), np.float64)

    return statistic


def weighted_statistics(
    scores: Scores, threshold: float, prevalence: float | None = None
) -> dict[str, Statistic]:
    """Return the metrics that can be resampled: those which two patients at least have images for.

    Parameters
    ----------
    scores, threshold, prevalence
        See `evaluate_scores`.
    """
    truth, values, place = scores.positive, scores.score, scores.patient_number
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
            of_counts(lambda n: (n.tp / (n.tp + n.fn) + n.tn / (n.fp + n.tn)) / 2.0),
            [truth, ~truth],
        ),
        "recall": (of_counts(lambda n: n.tp / (n.tp + n.fn)), [truth]),
        "specificity": (of_counts(lambda n: n.tn / (n.fp + n.tn)), [~truth]),
        "precision": (of_counts(lambda n: n.tp / (n.tp + n.fp)), [called]),
        "npv": (of_counts(lambda n: n.tn / (n.fn + n.tn)), [~called]),
        "f1": (of_counts(lambda n: 2 * n.tp / (2 * n.tp + n.fn + n.fp)), [truth | called]),
        "mcc": (of_counts(_mcc), [truth, ~truth, called, ~called]),
        "roc_auc": (weighted_auc(truth, values), [truth, ~truth]),
        "average_precision": (weighted_average_precision(truth, values), [truth, ~truth]),
        "brier": (mean_of((probabilities - truth) ** 2), []),
        "log_loss": (mean_of(-np.log(outcome.clip(tiny, 1.0))), [truth, ~truth]),
        "calibration_error": (_calibration_statistic(truth, probabilities), []),
    }
    if prevalence is not None:
        for number, name in enumerate(AT_PREVALENCE):
            everything[name] = (of_counts(_at(prevalence, number)), [truth, ~truth])
    anybody = np.ones(len(truth), bool)
    return {
        name: statistic
        for name, (statistic, needed) in everything.items()
        if all(len(np.unique(place[which])) >= 2 for which in (anybody, *needed))
    }


def _mcc(n: _Counts) -> NDArray[np.float64]:
    product = (n.tp + n.fn) * (n.tp + n.fp) * (n.tn + n.fn) * (n.tn + n.fp)
    return np.asarray((n.tp * n.tn - n.fn * n.fp) / np.sqrt(product), np.float64)


def _at(prevalence: float, number: int) -> Callable[[_Counts], NDArray[np.float64]]:
    """Return the formula of a predictive value at a prevalence: 0 is PPV, 1 is NPV."""

    def formula(n: _Counts) -> NDArray[np.float64]:
        sensitivity, specificity = n.tp / (n.tp + n.fn), n.tn / (n.fp + n.tn)
        if number == 0:
            right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        else:
            right, wrong = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        return np.asarray(right / (right + wrong), np.float64)

    return formula


def _intervals(
    truth: NDArray[np.bool_],
    values: NDArray[np.float64],
    called: NDArray[np.bool_],
    place: NDArray[np.intp],
    drawn: Mapping[str, Interval],
    prevalence: float | None,
) -> dict[str, Interval]:
    """Return all intervals by patients; those of resamples that are all alike say nothing."""
    right, anybody = truth == called, np.ones(len(truth), bool)
    parts = {
        "accuracy": (right, anybody),
        "recall": (called, truth),
        "specificity": (~called, ~truth),
        "precision": (truth, called),
        "npv": (~truth, ~called),
        # Jaccard's index J, of which F1 is 2 J / (1 + J).
        "f1": (right, truth | called),
    }
    found = {
        name: interval
        for name, (hits, among) in parts.items()
        if (interval := clustered_interval(hits[among], place[among])) is not None
    }
    if "f1" in found:
        low, high = (2.0 * j / (1.0 + j) for j in (found["f1"].low, found["f1"].high))
        found["f1"] = Interval(low, high)
    found |= {name: interval for name, interval in drawn.items() if interval.low < interval.high}
    if not {"recall", "specificity"} <= set(found):
        return found
    both = found["recall"], found["specificity"]
    shares = float(called[truth].mean()), float((~called[~truth]).mean())
    found["balanced_accuracy"] = added(shares, both, (0.5, 0.5))
    if prevalence is not None:
        stated = dict(zip(AT_PREVALENCE, predictive_intervals(*both, prevalence), strict=True))
        found = stated | found
    if "roc_auc" not in found and (area := float(roc_auc_score(truth, values))) in (0.0, 1.0):
        sick, healthy = (len(np.unique(place[which])) for which in (truth, ~truth))
        found["roc_auc"] = extreme_area_interval(area, sick, healthy)
    return found


def _other_intervals(
    proportions: Mapping[str, tuple[int, int]],
    truth: NDArray[np.bool_],
    values: NDArray[np.float64],
) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {"wilson": {}, "clopper_pearson": {}, "delong": {}}
    for name, (hits, total) in proportions.items():
        if (wilson := proportion_interval(hits, total, "wilson")) is not None:
            found["wilson"][name] = wilson
        if (exact := proportion_interval(hits, total, "clopper_pearson")) is not None:
            found["clopper_pearson"][name] = exact
    if min(truth.sum(), (~truth).sum()) >= 2:
        found["delong"]["roc_auc"] = area_interval(truth, values)
    return found
