"""Metrics of scores against labels at a threshold, with intervals that resample patients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, confusion_matrix, log_loss, roc_auc_score

from featx.errors import InputError

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a classifier achieved on a set of images.

    Attributes
    ----------
    images, patients
        How many there were.
    threshold
        The operating point.
    accuracy, recall, specificity, precision, f1
        At the threshold; NaN where a class that they need is missing. Recall is sensitivity.
    roc_auc, average_precision, log_loss
        Of the scores; NaN when one class is missing.
    confusion
        Counts under ``tn``, ``fp``, ``fn``, ``tp``.
    intervals
        95 % intervals of accuracy, recall and specificity: percentile bootstrap over the patients
        that have such images (Efron and Tibshirani 1993), 2,000 resamples. Absent where fewer than
        two patients have.
    """

    images: int
    patients: int
    threshold: float
    accuracy: float
    recall: float
    specificity: float
    precision: float
    f1: float
    roc_auc: float
    average_precision: float
    log_loss: float
    confusion: Mapping[str, int]
    intervals: Mapping[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON; NaN becomes None."""
        plain: dict[str, Any] = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}


def evaluate_scores(
    y: ArrayLike, scores: ArrayLike, threshold: float, groups: ArrayLike, *, seed: int = 0
) -> Metrics:
    """Measure scores against labels.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1
        1 for the positive class.
    scores : array of shape (images,)
        Probability of the positive class.
    threshold
        An image is called positive when its score is at least this.
    groups : array of shape (images,)
        The patient of each image.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        When there are no images, or a score is not finite.
    """
    truth, values = np.asarray(y).astype(bool), np.asarray(scores, np.float64)
    if not len(truth):
        raise InputError("there are no images to evaluate")
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} scores are not finite numbers")
    called = values >= threshold
    (tn, fp), (fn, tp) = confusion_matrix(truth, called, labels=[False, True]).tolist()
    both = bool(truth.any() and (~truth).any())
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    return Metrics(
        images=len(truth),
        patients=len(names),
        threshold=float(threshold),
        accuracy=_ratio(tp + tn, len(truth)),
        recall=_ratio(tp, tp + fn),
        specificity=_ratio(tn, tn + fp),
        precision=_ratio(tp, tp + fp),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        roc_auc=float(roc_auc_score(truth, values)) if both else math.nan,
        average_precision=float(average_precision_score(truth, values)) if both else math.nan,
        log_loss=float(log_loss(truth, values.clip(0, 1), labels=[False, True]))
        if both
        else math.nan,
        confusion={"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        intervals=_intervals(truth, called, place, len(names), seed),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _intervals(
    truth: NDArray[np.bool_],
    called: NDArray[np.bool_],
    place: NDArray[np.intp],
    patients: int,
    seed: int,
) -> dict[str, Interval]:
    """Resample patients, each with all its images, by way of counts per patient."""
    hits = np.bincount(place, weights=truth & called, minlength=patients)
    sick = np.bincount(place, weights=truth, minlength=patients)
    cleared = np.bincount(place, weights=~truth & ~called, minlength=patients)
    everyone = np.bincount(place, minlength=patients).astype(float)
    parts = {
        "accuracy": (hits + cleared, everyone),
        "recall": (hits, sick),
        "specificity": (cleared, everyone - sick),
    }
    intervals = {}
    for name, (part, whole) in parts.items():
        # A resample without a sick patient has no recall: draw from those that can have one.
        counted = whole > 0
        part, whole = part[counted], whole[counted]
        if len(whole) < 2:
            continue
        with warnings.catch_warnings():
            # All right, or all wrong: the bootstrap warns, and its interval is that one value.
            warnings.simplefilter("ignore")
            result = bootstrap(
                (part, whole),
                lambda p, w, axis: p.sum(axis) / w.sum(axis),
                paired=True,
                vectorized=True,
                n_resamples=RESAMPLES,
                batch=200,
                confidence_level=CONFIDENCE,
                method="percentile",
                rng=np.random.default_rng(seed),
            ).confidence_interval
        intervals[name] = Interval(float(result.low), float(result.high))
    return intervals
