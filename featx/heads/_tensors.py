"""A fitted head as TensorFlow operations, so that it can be part of a larger graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from featx.errors import InputError
from featx.heads._calibration import CalibratedHead
from featx.heads._components import Reduction
from featx.heads._keras_head import KerasHead
from featx.heads._pooling import SpatialPooling, regions
from featx.heads._tensor_classifiers import Response, Tensors, response_of

_TINY = 1e-6  # of `SpatialPooling`
_LOG_TINY = 1e-12  # of scikit-learn's temperature scaling


def as_tensors(head: Any) -> Tensors:
    """Write a fitted head as TensorFlow operations.

    Parameters
    ----------
    head
        See `featx.heads.load_head`.

    Returns
    -------
    function
        Embeddings of shape (images, *embedding_shape), float32 -> scores of shape (images,),
        float64: what ``predict_proba`` gives the positive class.

    Raises
    ------
    InputError
        When a part of it can't be written so.
    """
    steps: list[Tensors] = []
    if isinstance(head, Pipeline):
        steps = [_step(step) for _, step in head.steps[:-1]]
        head = head.steps[-1][1]
    last = _probability(head)

    def compute(embeddings: Any) -> Any:
        for step in steps:
            embeddings = step(embeddings)
        return last(embeddings)

    return compute


def _step(step: Any) -> Tensors:
    """Write one that comes before the classifier."""
    import tensorflow as tf

    match step:
        case SpatialPooling():
            return lambda embeddings: tf.cast(_pool(step, embeddings), tf.float64)
        case Reduction():
            rows = np.asarray(step.pca_.components_, np.float64)
            mean = np.asarray(step.pca_.mean_, np.float64)
            return lambda features: (features - tf.constant(mean)) @ tf.constant(rows.T.copy())
    if type(step).__name__ == "StandardScaler":
        mean, scale = (np.asarray(part, np.float64) for part in (step.mean_, step.scale_))
        return lambda features: (features - tf.constant(mean)) / tf.constant(scale)
    raise InputError(f"there is no way to write a {type(step).__name__} as a graph")


def _pool(pooling: SpatialPooling, embeddings: Any) -> Any:
    """Do what `SpatialPooling.transform` does."""
    import tensorflow as tf

    if len(embeddings.shape) == 2:
        return embeddings
    _, height, width, channels = embeddings.shape
    if pooling.how == "flatten":
        vectors = tf.reshape(embeddings, (-1, 1, height * width * channels))
    else:
        parts = []
        if pooling.how != "max":
            parts.append(tf.reduce_mean(embeddings, axis=(1, 2)))
        if pooling.how in ("max", "average+max"):
            parts.append(tf.reduce_max(embeddings, axis=(1, 2)))
        if pooling.how == "pyramid":
            parts += [
                tf.reduce_mean(embeddings[:, rows, columns], axis=(1, 2))
                for rows in regions(height)
                for columns in regions(width)
            ]
        vectors = tf.stack(parts, axis=1)
    if pooling.standardize:
        vectors -= tf.reduce_mean(vectors, axis=2, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(vectors * vectors, axis=2, keepdims=True))
        vectors /= deviation + _TINY
    return tf.reshape(vectors, (-1, vectors.shape[1] * vectors.shape[2]))


def _probability(classifier: Any) -> Tensors:
    """Write a classifier, calibrated or not, up to its probability."""
    import tensorflow as tf

    if isinstance(classifier, CalibratedHead):
        (calibrated,) = classifier.calibrated_.calibrated_classifiers_
        response = _response(calibrated.estimator)
        calibrate = _calibration(calibrated, response)
        return lambda features: calibrate(response.compute(features))
    response = _response(classifier)
    if response.kind == "margin":
        raise InputError("a support vector machine without calibration has no probabilities")
    if response.kind == "probability":
        return response.compute
    return lambda features: tf.sigmoid(response.compute(features))


def _response(classifier: Any) -> Response:
    import tensorflow as tf

    if not isinstance(classifier, KerasHead):
        return response_of(classifier)
    network = classifier.model_

    def compute(embeddings: Any) -> Any:
        scores = network(embeddings, training=False)
        return tf.cast(tf.squeeze(scores, 1), tf.float64)

    return Response(compute, "probability")


def _calibration(calibrated: Any, response: Response) -> Tensors:
    """Write what `CalibratedClassifierCV` does with a classifier's answers."""
    import tensorflow as tf

    (calibrator,) = calibrated.calibrators
    if calibrated.method == "sigmoid":
        a, b = float(calibrator.a_), float(calibrator.b_)
        return lambda values: tf.sigmoid(-(a * values + b))
    if calibrated.method == "isotonic":
        return _steps(calibrator.X_thresholds_, calibrator.y_thresholds_)
    beta = float(calibrator.beta_)
    if response.kind == "probability":
        return lambda values: tf.sigmoid(
            beta * (tf.math.log(values + _LOG_TINY) - tf.math.log(1.0 - values + _LOG_TINY))
        )
    # Scikit-learn takes a decision for half of the difference of two logits.
    return lambda values: tf.sigmoid(2.0 * beta * values)


def _steps(x: Any, y: Any) -> Tensors:
    """Interpolate between points, and stay at the first and the last beyond them."""
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
