"""Curves with their 95 % confidence bands, by resampled patients or intervals of proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._clustered import clustered_interval
from featx.evaluation._interval import CONFIDENCE
from featx.evaluation._resampling import RESAMPLES, resampled_weights

# Good classifiers have all their bends near false alarms of 0: points are denser there.
FALSE_ALARMS = np.union1d(np.linspace(0.0, 0.1, 101), np.linspace(0.0, 1.0, 201))
RECALLS = np.union1d(np.linspace(0.9, 1.0, 101), np.linspace(0.0, 1.0, 201))

_Curve = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Band:
    """A curve and the pointwise 95 % confidence band around it.

    Attributes
    ----------
    x, y : ndarray of shape (points,), dtype float64
        The curve itself.
    at, low, high : ndarray of shape (positions,), dtype float64
        The band. Its ends are NaN if no resample has a curve.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    at: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def roc_band(scores: Scores, *, seed: int = 0) -> Band:
    """Return the ROC curve, recall against false alarms, with its band.

    Patients are resampled with all their images. Equal seeds draw equal patients as in
    `featx.evaluation.Metrics`.
    """
    require_both_classes(scores)

    def curve(hits: NDArray[np.float64], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.interp(FALSE_ALARMS, alarms / alarms[-1], hits / hits[-1])
        return np.asarray(found, np.float64)

    low, high = _band(scores, curve, len(FALSE_ALARMS), seed)
    false_alarms, recall, _ = roc_curve(scores.positive, scores.score)
    return Band(false_alarms, recall, FALSE_ALARMS, low, high)


def precision_recall_band(scores: Scores, *, seed: int = 0) -> Band:
    """Return precision against recall, with its band.

    The points are joined by steps. Lines between them would promise too much (Davis and Goadrich,
    ICML 2006).

    Parameters and errors are those of `roc_band`.
    """
    require_both_classes(scores)

    def curve(hits: NDArray[np.float64], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = hits / (hits + alarms)
        first = np.searchsorted(hits / hits[-1], RECALLS - 1e-12)
        return np.asarray(precision[first.clip(1, len(hits) - 1)], np.float64)

    low, high = _band(scores, curve, len(RECALLS), seed)
    precision, recall, _ = precision_recall_curve(
        scores.positive, scores.score, drop_intermediate=True
    )
    return Band(recall[::-1], precision[::-1], RECALLS, low, high)


def threshold_bands(
    scores: Scores, thresholds: ArrayLike, names: Sequence[str] = ("recall", "accuracy")
) -> dict[str, Band]:
    """Return metrics against the threshold, each with the intervals of `Metrics`.

    The names are ``recall``, ``accuracy`` and ``specificity``. A missing class is an error, as of
    `roc_band`.
    """
    require_both_classes(scores)
    truth, patient = scores.positive, scores.patient_number
    at = np.asarray(thresholds, np.float64)
    called = scores.score[:, np.newaxis] >= at
    found = {}
    counted = {"recall": truth, "accuracy": np.ones_like(truth), "specificity": ~truth}
    for name in names:
        rows = counted[name]
        hits, patients = called[rows] == truth[rows, np.newaxis], patient[rows]
        intervals = [clustered_interval(each, patients) for each in hits.T]
        low, high = np.array([(i.low, i.high) if i else (np.nan,) * 2 for i in intervals]).T
        found[name] = Band(at, hits.mean(axis=0), at, low, high)
    return found


def _band(
    scores: Scores, curve: _Curve, positions: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the curves of all resamples, from counts at or above each score."""
    order = np.argsort(-scores.score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores.score[order]) != 0, True])
    sick = scores.positive[order]
    curves = np.full((RESAMPLES, positions), np.nan)
    number = 0
    for weights in resampled_weights(scores.patient_number, seed=seed):
        ranked = weights[:, order]
        hits = np.cumsum(ranked * sick, axis=1)[:, ends]
        alarms = np.cumsum(ranked * ~sick, axis=1)[:, ends]
        for one, other in zip(hits, alarms, strict=True):
            if one[-1] and other[-1]:
                curves[number] = curve(np.r_[0.0, one], np.r_[0.0, other])
            number += 1
    return pointwise_quantiles(curves)


def pointwise_quantiles(
    curves: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the band that holds 95 % of the curves, without those that have gaps."""
    whole = curves[np.isfinite(curves).all(axis=1)]
    if not len(whole):
        nothing = np.full(curves.shape[1], np.nan)
        return nothing, nothing
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(whole, (tail, 1.0 - tail), axis=0)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def require_both_classes(scores: Scores) -> None:
    """Refuse scores of one class, which have no curve."""
    if scores.positive.all() or not scores.positive.any():
        raise InputError(f"all {len(scores)} images are of one class, so there is no curve to draw")
