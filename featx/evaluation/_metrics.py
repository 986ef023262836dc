"""Metrics of scores against labels at a threshold, with intervals that resample patients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from featx._html import html_table
from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._clustered import (
    clustered_interval,
    extreme_area_interval,
    weighted_sum_interval,
)
from featx.evaluation._delong import area_interval
from featx.evaluation._interval import Interval, proportion_interval
from featx.evaluation._prevalence import AT_PREVALENCE, predictive_intervals, predictive_values
from featx.evaluation._resampling import RESAMPLES, bootstrap_intervals
from featx.evaluation._weighted_metrics import BINS as BINS
from featx.evaluation._weighted_metrics import weighted_calibration_error, weighted_statistics
from featx_cache._text import plural

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

_COUNTS_AND_THRESHOLD = frozenset({"images", "patients", "threshold"})

FORMULA_INTERVALS = (
    "accuracy",
    "recall",
    "specificity",
    "precision",
    "npv",
    "balanced_accuracy",
    "f1",
)
"""Metrics whose intervals follow from counts of images and patients, without resampling."""


@dataclass(frozen=True, slots=True, repr=False)
class Metrics:
    """Results of a classifier on a set of images.

    Attributes
    ----------
    images, patients
        Numbers of images and patients.
    threshold
        The operating point.
    accuracy, balanced_accuracy, recall, specificity, precision, npv, f1, mcc
        Metrics at the threshold. They are NaN if a class that they need is missing. Recall is
        sensitivity, precision the positive predictive value, mcc Matthews's correlation
        coefficient.
    roc_auc, average_precision
        Metrics of the scores. They are NaN if one class is missing.
    brier, log_loss, calibration_error
        Metrics of the scores as probabilities. The last is the expected calibration error over ten
        bins of equal width (Naeini et al., AAAI 2015). Log loss is NaN if one class is missing.
    confusion
        Counts under ``tn``, ``fp``, ``fn``, ``tp``.
    intervals
        95 % intervals of these metrics by patients. Accuracy, recall, specificity, precision and
        NPV have Korn and Graubard's (see `featx.evaluation._clustered`), which holds at 0 and 1,
        too. Those of balanced accuracy and F1 follow from such intervals. The others have a
        percentile bootstrap over patients, each with all their images (Efron and Tibshirani 1993),
        with 2,000 resamples. A metric has none if fewer than two patients have such images, or if
        all resamples have the same value, which says nothing.
    other_intervals
        95 % intervals that take images for independent: ``wilson`` and ``clopper_pearson`` of the
        proportions, ``delong`` of the area under the ROC curve.
    at_prevalence
        Stated ``prevalence``, and ``ppv`` and ``npv`` there, if `recall` and `specificity` are as
        they are here. It is empty if no prevalence was stated. Their intervals are in `intervals`
        as ``ppv_at_prevalence`` and ``npv_at_prevalence``.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
    >>> metrics = evaluate_scores(scores, 0.5)
    >>> metrics
    Metrics(4 images of 4 patients, recall 1.0000, accuracy 0.7500, ROC AUC 1.0000)
    >>> metrics.confusion
    {'tn': 1, 'fp': 1, 'fn': 0, 'tp': 2}
    >>> metrics.to_frame().head(2).round(2)
                  metric  value   low  high
    0           accuracy   0.75  0.19  0.99
    1  balanced_accuracy   0.75  0.26  0.99
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
        """Return plain types for JSON. NaN becomes None."""
        plain: dict[str, Any] = asdict(self)
        plain["at_prevalence"] = _without_nan(plain["at_prevalence"])
        return _without_nan(plain)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: metric, value, and the ends of its 95 % interval."""
        return metrics_frame(self.as_dict())

    def __repr__(self) -> str:
        return (
            f"Metrics({plural(self.images, 'image')} of {plural(self.patients, 'patient')}, recall "
            f"{self.recall:.4f}, accuracy {self.accuracy:.4f}, ROC AUC {self.roc_auc:.4f})"
        )

    def _repr_html_(self) -> str:
        return metrics_html(self.to_frame(), [repr(self)])


def metrics_frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a metric: its name, its value, and the ends of its 95 % interval.

    Examples
    --------
    >>> metrics_frame({"recall": 0.96, "intervals": {"recall": {"low": 0.92, "high": 0.98}}})
       metric  value   low  high
    0  recall   0.96  0.92  0.98
    """
    at_prevalence = metrics.get("at_prevalence") or {}
    values = {
        **{
            name: value
            for name, value in metrics.items()
            if name not in _COUNTS_AND_THRESHOLD and (value is None or isinstance(value, float))
        },
        **{f"{k}_at_prevalence": v for k, v in at_prevalence.items() if k != "prevalence"},
    }
    intervals = metrics.get("intervals") or {}
    ends = [intervals.get(name) or {} for name in values]
    return pd.DataFrame(
        {
            "metric": list(values),
            "value": pd.Series(list(values.values()), dtype=float),
            "low": pd.Series([end.get("low") for end in ends], dtype=float),
            "high": pd.Series([end.get("high") for end in ends], dtype=float),
        }
    )


def metrics_html(table: pd.DataFrame, notes: Iterable[str], *, title: str = "") -> str:
    """Return a table with a column ``metric`` as HTML, with display names and equal digits.

    Examples
    --------
    >>> "<td>ROC AUC</td>" in metrics_html(metrics_frame({"roc_auc": 1.0}), [])
    True
    """
    named = table.assign(metric=table["metric"].replace(METRIC_NAMES))
    return html_table(named, notes, title=title, number="{:.4f}")


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
        Share of the people who are sick where the classifier will be used. None leaves it open.
    resamples
        Number of resamples of the bootstrap. 0 leaves `intervals` out.

    Raises
    ------
    InputError
        If there are no images, a score is not finite, or the prevalence isn't a share.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9], ["a", "b", "c", "c"])
    >>> evaluate_scores(scores, 0.5, resamples=0).specificity
    0.5
    """
    truth, values = scores.positive, scores.score
    if not len(scores):
        raise InputError("there are no images to evaluate")
    if not np.isfinite(values).all():
        raise InputError(f"some scores are not finite numbers: {int((~np.isfinite(values)).sum())}")
    called = scores.called(threshold)
    (tn, fp), (fn, tp) = confusion_matrix(truth, called, labels=[False, True]).tolist()
    both = bool(truth.any() and (~truth).any())
    patient = scores.patient_number
    probabilities = values.clip(0.0, 1.0)
    calibration_error = weighted_calibration_error(truth, probabilities)
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    intervals: dict[str, Interval] = {}
    if resamples:
        statistics = weighted_statistics(scores, threshold, prevalence)
        drawn = bootstrap_intervals(
            {n: s for n, s in statistics.items() if n not in FORMULA_INTERVALS},
            patient,
            seed=seed,
            resamples=resamples,
        )
        intervals = _intervals(scores, threshold, drawn, prevalence)
    stated: dict[str, float] = {}
    if prevalence is not None:
        ppv, npv = map(float, predictive_values(recall, specificity, prevalence))
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
        patients=int(patient.max()) + 1,
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
        calibration_error=float(calibration_error(np.ones((1, len(scores))))[0]),
        confusion={"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        intervals=intervals,
        other_intervals=_other_intervals(scores, proportions),
        at_prevalence=stated,
    )


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _intervals(
    scores: Scores, threshold: float, drawn: Mapping[str, Interval], prevalence: float | None
) -> dict[str, Interval]:
    """Return all intervals by patients. Those of resamples that are all alike say nothing."""
    truth, called, patient = scores.positive, scores.called(threshold), scores.patient_number
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
        if (interval := clustered_interval(hits[among], patient[among])) is not None
    }
    if "f1" in found:
        low, high = (2.0 * j / (1.0 + j) for j in (found["f1"].low, found["f1"].high))
        found["f1"] = Interval(low, high)
    found |= {name: interval for name, interval in drawn.items() if interval.low < interval.high}
    if not {"recall", "specificity"} <= set(found):
        return found
    both = found["recall"], found["specificity"]
    shares = float(called[truth].mean()), float((~called[~truth]).mean())
    found["balanced_accuracy"] = weighted_sum_interval(shares, both, (0.5, 0.5))
    if prevalence is not None:
        stated = dict(zip(AT_PREVALENCE, predictive_intervals(*both, prevalence), strict=True))
        found = stated | found
    if "roc_auc" not in found and (area := float(roc_auc_score(truth, scores.score))) in (0.0, 1.0):
        sick, healthy = (len(np.unique(patient[which])) for which in (truth, ~truth))
        found["roc_auc"] = extreme_area_interval(area, sick, healthy)
    return found


def _other_intervals(
    scores: Scores, proportions: Mapping[str, tuple[int, int]]
) -> dict[str, dict[str, Interval]]:
    methods: tuple[Literal["wilson", "clopper_pearson"], ...] = ("wilson", "clopper_pearson")
    found: dict[str, dict[str, Interval]] = {
        method: {
            name: interval
            for name, counts in proportions.items()
            if (interval := proportion_interval(*counts, method)) is not None
        }
        for method in methods
    }
    enough = min(scores.positive.sum(), (~scores.positive).sum()) >= 2
    area = {"roc_auc": area_interval(scores.positive, scores.score)} if enough else {}
    return {**found, "delong": area}
