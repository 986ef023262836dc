"""From a spec to an unfitted estimator."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

from featx.backbones._parts import Shape
from featx.heads._calibration import CalibratedHead
from featx.heads._estimators import LimitedKNeighbors, LimitedPCA, ShrunkLDA
from featx.heads._head import Head
from featx.heads._keras_head import KerasHead
from featx.heads._pooling import SpatialPooling
from featx.heads._settings import (
    BaselineSettings,
    CustomSettings,
    HgbSettings,
    KnnSettings,
    LdaSettings,
    LogregSettings,
    SvmSettings,
)
from featx.heads._spec import HeadSpec


def build(
    spec: HeadSpec, *, accuracy_floor: float = 0.9, parts: Sequence[Sequence[int]] = ()
) -> Head:
    """Build an unfitted head.

    The defaults of the heads of scikit-learn (pyramid pooling, per-image standardization, strength
    of regularization) are those that lost least across the seams of the public chest X-ray set;
    see ``docs/results.md``.

    Parameters
    ----------
    spec
        Head and its settings.
    accuracy_floor
        Accuracy floor that the Keras head's stopping rule falls back on.
    parts
        Shapes of an embedding's parts, the main one first, if it is of several layers:
        ``backbone.spec.part_shapes``.

    Returns
    -------
    Head
        Classifier of scikit-learn over embeddings of shape (images, rows, columns, channels) or
        feature vectors that were pooled before. A calibrated head's ``fit`` takes the patients,
        too: ``classifier__groups`` in a pipeline, ``groups`` for the Keras head, which also takes
        ``images`` and ``copies``.

    Raises
    ------
    InputError
        If the spec is of a classifier of the user's own and was read from a run.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.arange(20) % 2
    >>> X = np.random.default_rng(0).normal(size=(20, 9, 9, 4)) + y[:, None, None, None]
    >>> head = build(HeadSpec.choose("logreg", settings={"C": 0.1})).fit(X, y)
    >>> head.predict_proba(X).shape
    (20, 2)
    """
    parts = tuple(tuple(part) for part in parts)
    if spec.keras is not None:
        head = KerasHead(
            **spec.keras.model_dump(),
            accuracy_floor=accuracy_floor,
            random_state=spec.seed,
            parts=parts,
        )
        return head if spec.calibration is None else _calibrated(head, spec)
    settings = spec.baseline
    assert settings is not None
    pooling = SpatialPooling(settings.representation, standardize=settings.standardize, parts=parts)
    steps: list[tuple[str, Any]] = [("pooling", pooling), ("scaling", StandardScaler())]
    if settings.components is not None:
        steps.append(("reduction", LimitedPCA(settings.components, spec.seed)))
    custom = isinstance(settings, CustomSettings)
    classifier = spec.classifier() if custom else _classifier(settings, spec.seed)
    if spec.calibration is not None:
        classifier = _calibrated(classifier, spec)
    pipeline: Head = Pipeline([*steps, ("classifier", classifier)])
    return pipeline


def fit_arguments(spec: HeadSpec, **rows: Any) -> dict[str, Any]:
    """Choose what a head's ``fit`` takes besides embeddings and labels.

    Parameters
    ----------
    spec
        Head that is fitted.
    **rows
        ``groups``, ``images`` and ``copies``: arrays of shape (rows,).
    """
    if spec.keras is not None:
        return rows
    return {"classifier__groups": rows["groups"]} if spec.calibration is not None else {}


def weight_argument(head: Head, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Give the weights of rows to the ``fit`` of a head that takes some.

    A Keras head has no need of them: its epochs draw one copy of an image. Discriminant analysis
    and nearest neighbors take none, and see all rows alike.
    """
    if not isinstance(head, Pipeline) or (weights == 1.0).all():
        return {}
    classifier = head.steps[-1][1]
    weighed = classifier.estimator if isinstance(classifier, CalibratedHead) else classifier
    known = has_fit_parameter(weighed, "sample_weight")
    return {"classifier__sample_weight": weights} if known else {}


def pooling_of(head: Head) -> SpatialPooling | None:
    """Return the pooling that a head begins with. It may be done once for all folds."""
    return head.named_steps["pooling"] if isinstance(head, Pipeline) else None


def parts_of_head(head: Head) -> tuple[Shape, ...]:
    """Return the shapes of the parts that a head's embeddings have. Empty if they have none."""
    inner: Any = head
    if isinstance(head, CalibratedHead):
        inner = head.calibrated_.calibrated_classifiers_[0].estimator
    parts = inner.parts if isinstance(inner, KerasHead) else getattr(pooling_of(inner), "parts", ())
    return tuple(tuple(part) for part in parts)


def with_parts(head: Head, parts: tuple[Shape, ...]) -> Head:
    """Let a head that was fitted on pooled vectors take the embeddings that they are of.

    It is a new head with the same steps: heads that were fitted on the same vectors share some.
    """
    if not parts or not isinstance(head, Pipeline):
        return head
    (name, pooling), *others = head.steps
    whole: Head = Pipeline([(name, copy.copy(pooling).set_params(parts=parts)), *others])
    return whole


def _calibrated(estimator: Any, spec: HeadSpec) -> CalibratedHead:
    """Turn scores into probabilities on held-out patients, never on fitted ones."""
    assert spec.calibration is not None
    # libsvm runs on one thread and releases Python's lock. The others have threads of their own.
    threads = joblib.cpu_count() if spec.name == "svm" else 1
    return CalibratedHead(estimator, spec.calibration, threads=threads, random_state=spec.seed)


def _classifier(settings: BaselineSettings, seed: int) -> Any:
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
            return LimitedKNeighbors(settings.n_neighbors, settings.metric)
        case LdaSettings():
            return ShrunkLDA(settings.shrinkage)
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
