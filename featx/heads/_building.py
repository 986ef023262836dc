"""From a spec to an unfitted estimator."""

from __future__ import annotations

from typing import Any

import joblib
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from featx.heads._calibration import CalibratedHead
from featx.heads._components import Reduction
from featx.heads._discriminant import Discriminant
from featx.heads._keras_head import KerasHead
from featx.heads._nearest_neighbors import NearestNeighbors
from featx.heads._pooling import SpatialPooling
from featx.heads._settings import (
    HgbSettings,
    KnnSettings,
    LdaSettings,
    LogregSettings,
    SvmSettings,
)
from featx.heads._spec import HeadSpec


def build(spec: HeadSpec, *, accuracy_floor: float = 0.9) -> Any:
    """Build an unfitted head.

    The defaults of the heads of scikit-learn (pyramid pooling, per-image standardization, strength
    of regularization) are those that lost least across the seams of the public chest X-ray set;
    see ``docs/results.md``.

    Parameters
    ----------
    spec
        Which, with which settings.
    accuracy_floor
        What the Keras head's stopping rule falls back on.

    Returns
    -------
    scikit-learn classifier
        With ``fit``, ``predict_proba``, ``predict`` and ``classes_``, over embeddings of shape
        (images, rows, columns, channels) or feature vectors that were pooled before.
        `fit_arguments` names what else ``fit`` takes.
    """
    if spec.keras is not None:
        head = KerasHead(
            **spec.keras.model_dump(), accuracy_floor=accuracy_floor, random_state=spec.seed
        )
        return head if spec.calibration is None else _calibrated(head, spec)
    settings = spec.baseline
    assert settings is not None
    steps: list[tuple[str, Any]] = [
        ("pooling", SpatialPooling(settings.representation, standardize=settings.standardize)),
        ("scaling", StandardScaler()),
    ]
    if settings.components is not None:
        steps.append(("reduction", Reduction(settings.components, spec.seed)))
    classifier = _classifier(settings, spec.seed)
    if spec.calibration is not None:
        classifier = _calibrated(classifier, spec)
    return Pipeline([*steps, ("classifier", classifier)])


def fit_arguments(spec: HeadSpec, **rows: Any) -> dict[str, Any]:
    """Choose what a head's ``fit`` takes besides embeddings and labels.

    Parameters
    ----------
    spec
        Which head.
    **rows
        ``groups``, ``images`` and ``copies``: arrays of shape (rows,).
    """
    if spec.keras is not None:
        return rows
    return {"classifier__groups": rows["groups"]} if spec.calibration is not None else {}


def pooling_of(head: Any) -> SpatialPooling | None:
    """Return the pooling that a head begins with, which may be done once for all folds."""
    return head.named_steps["pooling"] if isinstance(head, Pipeline) else None


def _calibrated(estimator: Any, spec: HeadSpec) -> CalibratedHead:
    """Turn scores into probabilities on held-out patients, never on fitted ones."""
    assert spec.calibration is not None
    # libsvm runs on one thread and lets go of Python's lock; the others have threads of their own.
    threads = joblib.cpu_count() if spec.name == "svm" else 1
    return CalibratedHead(estimator, spec.calibration, threads=threads, random_state=spec.seed)


def _classifier(settings: Any, seed: int) -> Any:
    match settings:
        case LogregSettings():
            share = {"l2": 0.0, "l1": 1.0, "elasticnet": settings.l1_ratio}[settings.penalty]
            return LogisticRegression(
                C=settings.C,
                l1_ratio=share,
                solver="saga" if share else "lbfgs",
                class_weight=settings.class_weight,
                max_iter=1000,
                tol=1e-3,
                random_state=seed,
            )
        case SvmSettings():
            return SVC(
                C=settings.cost,
                kernel=settings.kernel,
                gamma=settings.gamma,
                class_weight=settings.class_weight,
            )
        case KnnSettings():
            return NearestNeighbors(settings.n_neighbors, settings.metric)
        case LdaSettings():
            return Discriminant(settings.shrinkage)
        case HgbSettings():
            return HistGradientBoostingClassifier(
                learning_rate=settings.learning_rate,
                max_iter=settings.max_iter,
                max_bins=settings.max_bins,
                max_leaf_nodes=settings.max_leaf_nodes,
                l2_regularization=settings.l2_regularization,
                class_weight=settings.class_weight,
                early_stopping=False,
                random_state=seed,
            )
    raise TypeError(f"no classifier has settings {type(settings).__name__}")
