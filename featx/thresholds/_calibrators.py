"""Maps from scores to probabilities, learned on patients that nobody was fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from featx._scores import Scores
from featx.errors import InputError
from featx.thresholds._recalibration import Method, Recalibration, logits

_MIN_SLOPE = 1e-9


def learn_platt(scores: Scores) -> Recalibration:
    """Learn the map from scores to the share of positives, each patient counted once.

    It is a logistic regression on the scores' log odds with the targets of Platt (1999). These are
    a little less sure than 0 and 1, so that scores without an error don't become certainties.
    `CalibratedClassifierCV` minimizes the same loss, but stops earlier (the slope differs in the
    third digit) and warns of the patients' weights.
    If scores order the patients no better than chance, the map gives all of them the share of
    positives.
    """
    truth, patient = scores.positive, scores.patient_number
    weight = 1.0 / np.bincount(patient)[patient]
    sick, healthy = weight[truth].sum(), weight[~truth].sum()
    target = np.where(truth, (sick + 1.0) / (sick + 2.0), 1.0 / (healthy + 2.0))
    values = logits(scores.score)
    model = LogisticRegression(C=np.inf).fit(
        np.concatenate([values, values])[:, None],
        np.repeat([1, 0], len(values)),
        sample_weight=np.concatenate([weight * target, weight * (1.0 - target)]),
    )
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope < _MIN_SLOPE:
        slope, intercept = _MIN_SLOPE, float(logit((sick + 1.0) / (sick + healthy + 2.0)))
    return Recalibration(method="sigmoid", slope=slope, intercept=intercept)


def fit_recalibration(scores: Scores, method: Method) -> Recalibration:
    """Learn a map from scores to probabilities on labelled images.

    Parameters
    ----------
    scores
        Scores of patients that nobody was fitted on, 0..1.
    method
        ``sigmoid`` (Platt 1999), where each patient counts once, or scikit-learn's ``temperature``
        (Guo et al. 2017).

    Raises
    ------
    InputError
        If a class is missing, or the sick have the lower scores.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> fit_recalibration(scores, "sigmoid").apply([0.1, 0.9]).round(2).tolist()
    [0.26, 0.74]
    """
    if scores.positive.all() or not scores.positive.any():
        raise InputError("a recalibration needs images of both classes")
    found = _learn_temperature(scores) if method == "temperature" else learn_platt(scores)
    if found.slope <= _MIN_SLOPE:
        raise InputError(
            "the sick have no higher scores here than the healthy: these are no probabilities",
            "Check the labels and the order of the classes (`positive`).",
        )
    return found


def _learn_temperature(scores: Scores) -> Recalibration:
    values, y = logits(scores.score)[:, np.newaxis], scores.positive.astype(int)
    head = FrozenEstimator(_Logits().fit(values, y))
    model = CalibratedClassifierCV(head, method="temperature").fit(values, y)
    (calibrated,) = model.calibrated_classifiers_
    slope = float(calibrated.calibrators[0].beta_)
    return Recalibration(method="temperature", slope=max(slope, _MIN_SLOPE), intercept=0.0)


class _Logits(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose decision function is what it is given."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> _Logits:  # noqa: ARG002
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(X, np.float64)[:, 0]

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        return (self.decision_function(X) >= 0.0).astype(np.int64)
