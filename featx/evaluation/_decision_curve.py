"""The decision curve: from which probability on acting on a classifier does more good than harm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from featx._html import html_table
from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._confidence_bands import pointwise_quantiles, require_both_classes
from featx.evaluation._prevalence import require_share
from featx.evaluation._resampling import RESAMPLES, Weights, resampled_weights
from featx_cache._text import plural

THRESHOLD_PROBABILITIES = np.round(np.linspace(0.01, 0.99, 99), 2)
"""Threshold probabilities of a decision curve, if none are given."""

_ROUNDING_ERROR = 1e-12

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DecisionCurve:
    """Net benefit of a classifier, of treating all and of treating none.

    Whoever treats from a probability of 0.1 on accepts nine false alarms for one sick person found.
    So a false alarm costs a ninth of what a sick person found is worth. The net benefit is the
    share of the patients who are sick and treated, less the share who are healthy and treated times
    that cost (Vickers and Elkin, Medical Decision Making 2006). The choice with the highest net
    benefit is the best. `decision_curve` makes it.

    Attributes
    ----------
    thresholds : ndarray of shape (points,), dtype float64
        Threshold probabilities, from which on one would treat. Ascending, between 0 and 1.
    net_benefit : ndarray of shape (points,), dtype float64
        Net benefit of treating those whom the classifier gives this probability or a higher one.
    low, high : ndarray of shape (points,), dtype float64
        Pointwise 95 % band of `net_benefit`. NaN if the resamples don't differ.
    treat_all : ndarray of shape (points,), dtype float64
        Net benefit of treating everybody. That of treating none is 0.
    prevalence
        Share of the sick.
    operating_point
        Probability at the classifier's own threshold. None if it isn't known.
    images, patients
        Numbers of images and patients.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1], [0.1, 0.2, 0.6, 0.9])
    >>> curve = decision_curve(scores, thresholds=[0.2, 0.5])
    >>> curve
    DecisionCurve(4 images of 4 patients, prevalence 0.25, net benefit 0.000 to 0.125)
    >>> curve.to_frame()[["threshold", "model", "treat_all", "treat_none"]].round(4)
       threshold  model  treat_all  treat_none
    0        0.2  0.125     0.0625         0.0
    1        0.5  0.000    -0.5000         0.0
    """

    thresholds: Values
    net_benefit: Values
    low: Values
    high: Values
    treat_all: Values
    prevalence: float
    operating_point: float | None
    images: int
    patients: int

    @property
    def useful_range(self) -> tuple[float, float] | None:
        """Longest range of thresholds at which the classifier is better than all and none."""
        better = self.net_benefit > np.maximum(self.treat_all, 0.0) + _ROUNDING_ERROR
        edges = np.flatnonzero(np.diff(np.r_[False, better, False]))
        runs = edges.reshape(-1, 2)
        if not len(runs):
            return None
        first, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
        return float(self.thresholds[first]), float(self.thresholds[end - 1])

    @property
    def in_words(self) -> str:
        """Range in which the classifier is of use, and what its own threshold means."""
        found = self.useful_range
        said = "The model is nowhere better than both treating all and treating none."
        if found is not None:
            said = (
                "The model is better than treating all or none at threshold probabilities from "
                f"{found[0]:.2g} to {found[1]:.2g}."
            )
        if (own := self.operating_point) is not None and 0.0 < own < 1.0:
            said += (
                f" Its own threshold is at a probability of {own:.2g}: there, one sick person "
                f"found is worth {_false_alarms((1.0 - own) / own)}{self._better_at(own)}."
            )
        return said

    def to_frame(self) -> pd.DataFrame:
        """Return one row a threshold: net benefits, and the ends of the 95 % band."""
        return pd.DataFrame(
            {
                "threshold": self.thresholds,
                "model": self.net_benefit,
                "low": self.low,
                "high": self.high,
                "treat_all": self.treat_all,
                "treat_none": 0.0,
            }
        )

    def _better_at(self, threshold: float) -> str:
        """Say what is better than the classifier at a threshold, if that is one of the curve's."""
        for place in np.flatnonzero(self.thresholds == threshold):
            everybody = self.treat_all[place]
            if max(everybody, 0.0) > self.net_benefit[place] + _ROUNDING_ERROR:
                return f", and treating {'all' if everybody > 0.0 else 'none'} is better"
        return ""

    def __repr__(self) -> str:
        low, high = self.net_benefit.min(), self.net_benefit.max()
        return (
            f"DecisionCurve({plural(self.images, 'image')} of {plural(self.patients, 'patient')}, "
            f"prevalence {self.prevalence:.3g}, net benefit {low:.3f} to {high:.3f})"
        )

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), [repr(self), self.in_words])


def decision_curve(
    scores: Scores,
    probabilities: ArrayLike | None = None,
    *,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
    operating_point: float | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> DecisionCurve:
    """Weigh sick people found against false alarms, from each threshold probability on.

    Parameters
    ----------
    scores
        Scores of labelled images.
    probabilities : array of shape (images,), optional
        Calibrated probabilities of the positive class, such as `FittedRun.probability` makes of the
        scores. None takes the scores themselves for such.
    thresholds : array of shape (points,), optional
        Threshold probabilities between 0 and 1. None takes hundredths.
    prevalence
        Share of the people who are sick where the classifier will be used. The images are weighted
        so, and the probabilities corrected from the share in the images by Bayes' theorem. None
        takes the images as they are.
    operating_point
        Probability at the classifier's own threshold. It is corrected as `probabilities` are. If
        `thresholds` is None, it is one of them.
    seed
        Seed of the bootstrap. Equal seeds draw equal patients as in `Metrics`.
    resamples
        Number of resamples of the patients. 0 leaves the band out.

    Raises
    ------
    InputError
        If a class is missing, a probability or threshold is out of range, or the prevalence isn't
        a share.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1], [0.1, 0.2, 0.6, 0.9])
    >>> decision_curve(scores, thresholds=[0.1, 0.5], prevalence=0.5).net_benefit.round(3).tolist()
    [0.444, 0.333]
    """
    require_both_classes(scores)
    values = _probabilities(scores, probabilities)
    truth, own = scores.positive, operating_point
    share = float(truth.mean())
    if prevalence is not None:
        require_share(prevalence)
        moved = logit(prevalence) - logit(share)
        values = expit(logit(values) + moved)
        own = None if own is None else float(expit(logit(own) + moved))
    at = _thresholds(thresholds)
    if thresholds is None and own is not None and 0.0 < own < 1.0:
        at = np.union1d(at, [own])
    costs = at / (1.0 - at)
    treated = values[:, np.newaxis] >= at
    hits, alarms = (truth[:, np.newaxis] & treated), (~truth[:, np.newaxis] & treated)
    # Sums over images, of all resamples at once, are products of matrices.
    hits_of, alarms_of = hits.astype(np.float64), alarms.astype(np.float64)

    def net_benefit(weights: Weights) -> Values:
        everybody, sick = weights.sum(axis=1, keepdims=True), (weights @ truth)[:, np.newaxis]
        found, wrong = weights @ hits_of, weights @ alarms_of
        if prevalence is None:
            return np.asarray((found - wrong * costs) / everybody, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, alarm_rate = found / sick, wrong / (everybody - sick)
        return np.asarray(recall * prevalence - alarm_rate * (1.0 - prevalence) * costs, np.float64)

    patient = scores.patient_number
    low = high = np.full(len(at), np.nan)
    if resamples:
        blocks = resampled_weights(patient, seed=seed, resamples=resamples)
        low, high = pointwise_quantiles(np.concatenate([net_benefit(block) for block in blocks]))
        low, high = (np.where(high > low, end, np.nan) for end in (low, high))
    used = share if prevalence is None else prevalence
    return DecisionCurve(
        thresholds=at,
        net_benefit=net_benefit(np.ones((1, len(scores))))[0],
        low=low,
        high=high,
        treat_all=used - (1.0 - used) * costs,
        prevalence=used,
        operating_point=own,
        images=len(scores),
        patients=int(patient.max()) + 1,
    )


def _probabilities(scores: Scores, given: ArrayLike | None) -> Values:
    values = scores.score if given is None else np.asarray(given, np.float64)
    if values.shape != scores.score.shape:
        raise InputError(
            f"probabilities of shape {values.shape} don't match {plural(len(scores), 'image')}",
            "Give one for each image.",
            parameter="probabilities",
        )
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise InputError(
            f"probabilities from {values.min():g} to {values.max():g} are not between 0 and 1",
            "Give calibrated ones, such as `run.probability` makes of scores.",
            parameter="probabilities",
        )
    return values


def _thresholds(given: ArrayLike | None) -> Values:
    if given is None:
        return THRESHOLD_PROBABILITIES
    values = np.unique(np.asarray(given, np.float64))
    if not (len(values) and values[0] > 0.0 and values[-1] < 1.0):
        raise InputError(
            "`thresholds` must be numbers between 0 and 1",
            "Give some such as 0.1, 0.2.",
            parameter="thresholds",
        )
    return values


def _false_alarms(number: float) -> str:
    text = f"{number:,.0f}" if number >= 10.0 else f"{number:.2g}"
    return f"{text} false alarm{'' if text == '1' else 's'}"
