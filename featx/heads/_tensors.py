"""A fitted head as TensorFlow operations in double precision, to be part of a larger graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from featx.backbones._parts import is_pooled, part_slices
from featx.backbones._pyramid import PYRAMID_VECTORS, pyramid
from featx.errors import InputError
from featx.heads._calibration import CalibratedHead
from featx.heads._estimators import LimitedKNeighbors, LimitedPCA
from featx.heads._head import Head
from featx.heads._keras_head import KerasHead
from featx.heads._pooling import STANDARDIZE_EPSILON, SpatialPooling

Tensors = Callable[[Any], Any]
_LOG_EPSILON = 1e-12  # that of scikit-learn's temperature scaling
_DISTANCE_EPSILON = 1e-300
"""Replaces a distance of zero. Its inverse outweighs all others."""


class Response(NamedTuple):
    """Answer of a classifier.

    Attributes
    ----------
    compute
        Features of shape (images, features), float64 -> shape (images,), float64.
    kind
        ``logit`` of the probability, ``margin`` (no probability is defined), or ``probability``.
    """

    compute: Tensors
    kind: Literal["logit", "margin", "probability"]


def as_tensors(head: Head) -> Tensors:
    """Write a fitted head as TensorFlow operations.

    Parameters
    ----------
    head
        Fitted head. See `featx.heads.load_head`.

    Returns
    -------
    function
        Embeddings of shape (images, *embedding_shape), float32 -> scores of shape (images,),
        float64: what ``predict_proba`` gives the positive class.

    Raises
    ------
    InputError
        If a part of the head can't be written so.
    """
    steps: list[Tensors] = []
    if isinstance(head, Pipeline):
        steps = [_transformer(step) for _, step in head.steps[:-1]]
        head = head.steps[-1][1]
    last = _probability(head)

    def compute(embeddings: Any) -> Any:
        for step in steps:
            embeddings = step(embeddings)
        return last(embeddings)

    return compute


def _transformer(step: Any) -> Tensors:
    """Write a step that comes before the classifier."""
    import tensorflow as tf

    match step:
        case SpatialPooling():
            return lambda embeddings: tf.cast(_pool(step, embeddings), tf.float64)
        case LimitedPCA():
            rows = np.asarray(step.pca_.components_, np.float64)
            mean = np.asarray(step.pca_.mean_, np.float64)
            return lambda features: (features - tf.constant(mean)) @ tf.constant(rows.T.copy())
        case StandardScaler():
            mean, scale = (np.asarray(part, np.float64) for part in (step.mean_, step.scale_))
            return lambda features: (features - tf.constant(mean)) / tf.constant(scale)
    raise InputError(f"there is no way to write a {type(step).__name__} as a graph")


def _pool(pooling: SpatialPooling, embeddings: Any) -> Any:
    """Do what `SpatialPooling.transform` does."""
    import tensorflow as tf

    if not pooling.parts:
        return _pool_part(pooling, embeddings)
    shapes = pooling.part_shapes
    found = [
        _pool_part(pooling, tf.reshape(embeddings[:, where], (-1, *shape)))
        for where, shape in zip(part_slices(shapes), shapes, strict=True)
    ]
    return tf.concat(found, axis=1)


def _pool_part(pooling: SpatialPooling, part: Any) -> Any:
    import tensorflow as tf

    if len(part.shape) == 2:
        return part
    if pooling.how == "flatten":
        vectors = tf.reshape(part, (-1, 1, int(np.prod(part.shape[1:]))))
    elif is_pooled(part.shape[1:]):
        vectors = part[:, : PYRAMID_VECTORS if pooling.how == "pyramid" else 1]
    elif pooling.how == "pyramid":
        vectors = tf.stack(pyramid(part, _average), axis=1)
    else:
        parts = [] if pooling.how == "max" else [_average(part)]
        if pooling.how in ("max", "average+max"):
            parts.append(tf.reduce_max(part, axis=(1, 2)))
        vectors = tf.stack(parts, axis=1)
    if pooling.standardize:
        vectors -= tf.reduce_mean(vectors, axis=2, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(vectors * vectors, axis=2, keepdims=True))
        vectors /= deviation + STANDARDIZE_EPSILON
    return tf.reshape(vectors, (-1, vectors.shape[1] * vectors.shape[2]))


def _average(grid: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(grid, axis=(1, 2))


def _probability(classifier: Any) -> Tensors:
    """Write a classifier, calibrated or not, up to its probability."""
    import tensorflow as tf

    if isinstance(classifier, CalibratedHead):
        (calibrated,) = classifier.calibrated_.calibrated_classifiers_
        response = response_of(calibrated.estimator)
        calibrate = _calibration(calibrated, response)
        return lambda features: calibrate(response.compute(features))
    response = response_of(classifier)
    if response.kind == "margin":
        raise InputError("a support vector machine without calibration has no probabilities")
    if response.kind == "probability":
        return response.compute
    return lambda features: tf.sigmoid(response.compute(features))


def _calibration(calibrated: Any, response: Response) -> Tensors:
    """Write what `CalibratedClassifierCV` does with a classifier's answers."""
    import tensorflow as tf

    (calibrator,) = calibrated.calibrators
    if calibrated.method == "sigmoid":
        a, b = float(calibrator.a_), float(calibrator.b_)
        return lambda values: tf.sigmoid(-(a * values + b))
    if calibrated.method == "isotonic":
        return _interpolation(calibrator.X_thresholds_, calibrator.y_thresholds_)
    beta = float(calibrator.beta_)
    if response.kind == "probability":
        return lambda values: tf.sigmoid(
            beta * (tf.math.log(values + _LOG_EPSILON) - tf.math.log(1.0 - values + _LOG_EPSILON))
        )
    # Scikit-learn takes a decision for half of the difference of two logits.
    return lambda values: tf.sigmoid(2.0 * beta * values)


def _interpolation(x: Any, y: Any) -> Tensors:
    """Interpolate between points. Beyond the first and the last the value stays."""
    import tensorflow as tf

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) == 1:
        return lambda values: tf.zeros_like(values) + y[0]
    width = np.diff(x)
    slope = np.diff(y) / width

    def compute(values: Any) -> Any:
        gone = tf.clip_by_value(values[:, None] - tf.constant(x[:-1]), 0.0, tf.constant(width))
        return y[0] + tf.reduce_sum(gone * tf.constant(slope), axis=1)

    return compute


def response_of(classifier: Any) -> Response:
    """Return what a fitted classifier answers: its decision function, or its probability."""
    match classifier:
        case KerasHead():
            return Response(_network(classifier.model_), "probability")
        case LogisticRegression() | LinearDiscriminantAnalysis():
            return Response(_linear(classifier.coef_[0], classifier.intercept_[0]), "logit")
        case SVC(kernel="linear" | "rbf"):
            return Response(_support_vectors(classifier), "margin")
        case LimitedKNeighbors(metric="euclidean" | "cosine" | "manhattan"):
            return Response(_neighbors(classifier), "probability")
        case HistGradientBoostingClassifier():
            return Response(_trees(classifier), "logit")
    raise InputError(
        f"there is no way to write a {type(classifier).__name__} as a graph",
        "The heads of featx itself can be exported.",
    )


def _network(network: Any) -> Tensors:
    import tensorflow as tf

    kinds = {layer.compute_dtype for layer in network.layers} - {"float32"}
    if kinds:
        raise InputError(
            f"the head computes in {', '.join(sorted(kinds))}, and a graph in float32",
            "Fit it with the setting precision=float32.",
        )

    return lambda embeddings: tf.cast(tf.squeeze(network(embeddings, training=False), 1), "float64")


def _linear(weights: NDArray[np.floating], intercept: float) -> Tensors:
    import tensorflow as tf

    column = np.asarray(weights, np.float64)[:, None]
    return lambda features: tf.squeeze(features @ tf.constant(column), 1) + float(intercept)


def _support_vectors(svm: SVC) -> Tensors:
    import tensorflow as tf

    vectors = np.asarray(svm.support_vectors_, np.float64)
    dual = np.asarray(svm.dual_coef_, np.float64)[0]
    if svm.kernel == "linear":
        return _linear(dual @ vectors, svm.intercept_[0])
    # libsvm keeps the number that "scale" and "auto" stand for here.
    gamma = float(svm._gamma)
    weigh = _linear(dual, svm.intercept_[0])
    return lambda features: weigh(tf.exp(-gamma * _squared_distances(features, vectors)))


def _squared_distances(features: Any, points: NDArray[np.float64]) -> Any:
    """Compute squared Euclidean distances, of shape (images, points)."""
    import tensorflow as tf

    own = tf.reduce_sum(features * features, axis=1, keepdims=True)
    both = features @ tf.constant(np.ascontiguousarray(points.T))
    return tf.maximum(own - 2.0 * both + tf.constant((points**2).sum(axis=1)), 0.0)


def _neighbors(head: LimitedKNeighbors) -> Tensors:
    """Average the neighbors' labels, weighted by the inverse of their distance."""
    import tensorflow as tf

    points = np.asarray(head._fit_X, np.float64)
    labels = np.asarray(head._y, np.float64)
    neighbors = min(head.n_neighbors, len(points))

    def distances(features: Any) -> Any:
        if head.metric == "euclidean":
            return tf.sqrt(_squared_distances(features, points))
        if head.metric == "manhattan":
            return tf.reduce_sum(tf.abs(features[:, None, :] - tf.constant(points)[None]), axis=2)
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        own = tf.sqrt(tf.reduce_sum(features * features, axis=1, keepdims=True))
        directions = np.ascontiguousarray((points / np.maximum(lengths, _DISTANCE_EPSILON)).T)
        cosines = (features / tf.maximum(own, _DISTANCE_EPSILON)) @ tf.constant(directions)
        return tf.maximum(1.0 - cosines, 0.0)

    def compute(features: Any) -> Any:
        nearest, where = tf.math.top_k(-distances(features), neighbors)
        weights = 1.0 / tf.maximum(-nearest, _DISTANCE_EPSILON)
        found = tf.gather(tf.constant(labels), where)
        return tf.reduce_sum(weights * found, axis=1) / tf.reduce_sum(weights, axis=1)

    return compute


def _trees(head: HistGradientBoostingClassifier) -> Tensors:
    """Walk down all trees at once, as Hummingbird does (Nakandala et al., OSDI 2020).

    An image reaches a leaf if it goes left at the splits that the leaf lies left of, and right at
    the others. One product of matrices a tree counts this.
    """
    import tensorflow as tf

    nodes = [tree.nodes for (tree,) in head._predictors]
    if any(tree["is_categorical"].any() for tree in nodes):
        raise InputError("there is no way to write trees on categories as a graph")
    splits = max(1, *((~tree["is_leaf"].astype(bool)).sum() for tree in nodes))
    leaves = max(tree["is_leaf"].sum() for tree in nodes)
    feature = np.zeros((len(nodes), splits), np.int64)
    limit = np.zeros((len(nodes), splits))
    path = np.zeros((len(nodes), splits, leaves))
    lefts = np.full((len(nodes), leaves), -1.0)  # no sum is -1: the leaf doesn't exist
    value = np.zeros((len(nodes), leaves))
    for number, tree in enumerate(nodes):
        inner = np.flatnonzero(~tree["is_leaf"].astype(bool))
        feature[number, : len(inner)] = tree["feature_idx"][inner]
        limit[number, : len(inner)] = tree["num_threshold"][inner]
        for column, (leaf, sides) in enumerate(_leaves(tree)):
            value[number, column] = tree["value"][leaf]
            lefts[number, column] = sum(side > 0 for _, side in sides)
            for split, side in sides:
                path[number, np.searchsorted(inner, split), column] = side
    start = float(np.ravel(head._baseline_prediction)[0])

    def compute(features: Any) -> Any:
        asked = tf.gather(features, tf.constant(feature.ravel()), axis=1)
        left = tf.cast(asked <= tf.constant(limit.ravel()), tf.float64)
        by_tree = tf.transpose(tf.reshape(left, (-1, len(nodes), splits)), (1, 0, 2))
        reached = tf.abs(by_tree @ tf.constant(path) - tf.constant(lefts)[:, None, :]) < 0.5
        values = tf.cast(reached, tf.float64) * tf.constant(value)[:, None, :]
        return tf.reduce_sum(values, axis=(0, 2)) + start

    return compute


def _leaves(tree: Any) -> list[tuple[int, list[tuple[int, float]]]]:
    """List the leaves of a tree, each with the splits above it: 1 for left, -1 for right."""
    found = []
    waiting: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
    while waiting:
        node, sides = waiting.pop()
        if tree["is_leaf"][node]:
            found.append((node, sides))
            continue
        waiting.append((int(tree["left"][node]), [*sides, (node, 1.0)]))
        waiting.append((int(tree["right"][node]), [*sides, (node, -1.0)]))
    return found
