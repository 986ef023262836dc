"""Fitted classifiers of scikit-learn as TensorFlow operations, in double precision as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from featx.errors import InputError
from featx.heads._nearest_neighbors import NearestNeighbors

Tensors = Callable[[Any], Any]
_NEAREST = 1e-300
"""Stands for a distance of zero, whose inverse outweighs all others."""


class Response(NamedTuple):
    """What a classifier answers.

    Attributes
    ----------
    compute
        Features of shape (images, features), float64 -> shape (images,), float64.
    kind
        ``logit``: of the probability; ``margin``: no probability is defined; ``probability``.
    """

    compute: Tensors
    kind: Literal["logit", "margin", "probability"]


def response_of(classifier: Any) -> Response:
    """Return what a fitted classifier answers: its decision function, or its probability.

    Raises
    ------
    InputError
        When there is no such thing for its kind.
    """
    match classifier:
        case LogisticRegression() | LinearDiscriminantAnalysis():
            return Response(_linear(classifier.coef_[0], classifier.intercept_[0]), "logit")
        case SVC(kernel="linear" | "rbf"):
            return Response(_support_vectors(classifier), "margin")
        case NearestNeighbors(metric="euclidean" | "cosine" | "manhattan"):
            return Response(_neighbours(classifier), "probability")
        case HistGradientBoostingClassifier():
            return Response(_trees(classifier), "logit")
    raise InputError(
        f"there is no way to write a {type(classifier).__name__} as a graph",
        "`featx heads` lists the heads that can be exported.",
    )


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
    """Euclidean, of shape (images, points)."""
    import tensorflow as tf

    own = tf.reduce_sum(features * features, axis=1, keepdims=True)
    both = features @ tf.constant(np.ascontiguousarray(points.T))
    return tf.maximum(own - 2.0 * both + tf.constant((points**2).sum(axis=1)), 0.0)


def _neighbours(head: NearestNeighbors) -> Tensors:
    """Mean of the neighbours' labels, weighted by the inverse of their distance."""
    import tensorflow as tf

    points = np.asarray(head._fit_X, np.float64)
    labels = np.asarray(head._y, np.float64)
    neighbours = min(head.n_neighbors, len(points))

    def distances(features: Any) -> Any:
        if head.metric == "euclidean":
            return tf.sqrt(_squared_distances(features, points))
        if head.metric == "manhattan":
            return tf.reduce_sum(tf.abs(features[:, None, :] - tf.constant(points)[None]), axis=2)
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        own = tf.sqrt(tf.reduce_sum(features * features, axis=1, keepdims=True))
        directions = np.ascontiguousarray((points / np.maximum(lengths, _NEAREST)).T)
        cosines = (features / tf.maximum(own, _NEAREST)) @ tf.constant(directions)
        return tf.maximum(1.0 - cosines, 0.0)

    def compute(features: Any) -> Any:
        nearest, where = tf.math.top_k(-distances(features), neighbours)
        weights = 1.0 / tf.maximum(-nearest, _NEAREST)
        found = tf.gather(tf.constant(labels), where)
        return tf.reduce_sum(weights * found, axis=1) / tf.reduce_sum(weights, axis=1)

    return compute


def _trees(head: HistGradientBoostingClassifier) -> Tensors:
    """Walk down all trees at once, as Hummingbird does (Nakandala et al., OSDI 2020).

    A leaf is reached when of the splits above it those that it lies left of say left, and the
    others don't: one product of matrices a tree.
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
    lefts = np.full((len(nodes), leaves), -1.0)  # which no sum is: a leaf that isn't there
    value = np.zeros((len(nodes), leaves))
    for number, tree in enumerate(nodes):
        inner = np.flatnonzero(~tree["is_leaf"].astype(bool))
        feature[number, : len(inner)] = tree["feature_idx"][inner]
        limit[number, : len(inner)] = tree["num_threshold"][inner]
        for place, (leaf, turns) in enumerate(_leaves(tree)):
            value[number, place] = tree["value"][leaf]
            lefts[number, place] = sum(turn > 0 for _, turn in turns)
            for split, turn in turns:
                path[number, np.searchsorted(inner, split), place] = turn
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
        node, turns = waiting.pop()
        if tree["is_leaf"][node]:
            found.append((node, turns))
            continue
        waiting.append((int(tree["left"][node]), [*turns, (node, 1.0)]))
        waiting.append((int(tree["right"][node]), [*turns, (node, -1.0)]))
    return found
