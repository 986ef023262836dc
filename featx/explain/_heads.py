"""The classifier inside a fitted head, under its calibration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from featx.heads import CalibratedHead, KerasHead

MIN_SHARE = 1e-3
"""Distance that shares of votes keep from 0 and 1, whose logits are infinite."""


class Link(NamedTuple):
    """Map from a decision function to the logit of a score: slope * decision + intercept."""

    slope: float = 1.0
    intercept: float = 0.0


def network_of(head: Any) -> Any | None:
    """Return the network of a Keras head, calibrated or not. None for other heads."""
    inner = _under(head)
    return inner.model_ if isinstance(inner, KerasHead) else None


def classifier_of(head: Any) -> Any:
    """Return the classifier at the end of a head, without its calibration."""
    inner = _under(head)
    return _under(inner.named_steps["classifier"]) if isinstance(inner, Pipeline) else inner


def link_of(head: Any) -> Link:
    """Say how a decision function becomes the logit of the head's score.

    Platt's map and temperature are linear in the logit. An isotonic calibration isn't: the map is
    then of what it was given.
    """
    calibrated = head.named_steps["classifier"] if isinstance(head, Pipeline) else head
    if not isinstance(calibrated, CalibratedHead) or not _has_decision(_under(calibrated)):
        return Link()
    calibrator = _only(calibrated).calibrators[0]
    if calibrated.method == "sigmoid":
        return Link(-float(calibrator.a_), -float(calibrator.b_))
    # Scikit-learn takes the decision for the difference of two logits, (-decision, decision).
    return Link(2 * float(calibrator.beta_)) if calibrated.method == "temperature" else Link()


def unit_of(head: Any) -> str:
    """Return the unit of a map: ``logit``, or ``margin`` if nothing turns margins into logits."""
    is_margin = isinstance(classifier_of(head), SVC) and link_of(head) == Link()
    return "margin" if is_margin else "logit"


def logits_of(head: Pipeline, features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return logits of pooled features, which don't saturate as scores do."""
    for _, step in head.steps[1:-1]:
        features = step.transform(features)
    classifier, link = classifier_of(head), link_of(head)
    if hasattr(classifier, "decision_function"):
        decision = np.asarray(classifier.decision_function(features), np.float64)
        return link.slope * decision + link.intercept
    share = np.clip(classifier.predict_proba(features)[:, 1], MIN_SHARE, 1 - MIN_SHARE)
    return np.asarray(np.log(share) - np.log1p(-share))


def _under(estimator: Any) -> Any:
    return _only(estimator).estimator if isinstance(estimator, CalibratedHead) else estimator


def _only(calibrated: CalibratedHead) -> Any:
    return calibrated.calibrated_.calibrated_classifiers_[0]


def _has_decision(classifier: Any) -> bool:
    return hasattr(classifier, "decision_function")
