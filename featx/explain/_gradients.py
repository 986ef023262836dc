"""Heat maps of networks: gradient of the logit times activation, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 16


def gradient_maps(
    network: Any, grid: NDArray[np.floating], mean: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Explain a Keras head. Members of an ensemble are averaged.

    The study's network is explained by Grad-CAM (Selvaraju et al., ICCV 2017) at its first
    convolution: activations times the mean gradient of their channel. Its last one, where Grad-CAM
    is mostly used, has 2x2 cells left of 9x9 and locates nothing (docs/explain.md has numbers).
    Other networks may be about places from the start, so that a mean gradient wouldn't do: there it
    is gradient times embedding in each cell (HiResCAM; Draelos and Carin 2020). Both without the
    rectifier at the end: what speaks against the class is shown, too.

    `grid` has the shape (images, rows, columns, channels), `mean` is the average embedding of the
    training images, whose activations are subtracted. Maps are (images, rows, columns).
    """
    import keras

    members = [part for part in network.layers if isinstance(part, keras.Sequential)] or [network]
    maps = np.zeros(grid.shape[:3], np.float32)
    for start in range(0, len(grid), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        for member in members:
            maps[part] += _maps(member, grid[part], mean) / len(members)
    return maps


def _maps(
    network: Any, grid: NDArray[np.floating], mean: NDArray[np.floating] | None
) -> NDArray[np.float32]:
    import tensorflow as tf

    *layers, last = network.layers
    stem = _stem(layers)

    def run(part: list[Any], inner: Any) -> Any:
        for layer in part:  # outside a fit, layers behave as in prediction
            inner = layer(inner)
        return inner

    activations = run(layers[:stem], tf.convert_to_tensor(grid.astype(np.float32)))
    with tf.GradientTape() as tape:
        tape.watch(activations)
        features = tf.cast(run(layers[stem:], activations), tf.float32)
        # Before the sigmoid, whose gradient is zero where it is sure.
        logit = features @ tf.cast(last.kernel, tf.float32)
    gradient = tf.cast(tape.gradient(logit, activations), tf.float32)
    if stem:
        gradient = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    apart = tf.cast(activations, tf.float32)
    if mean is not None:
        usual = run(layers[:stem], tf.convert_to_tensor(mean[np.newaxis].astype(np.float32)))
        apart -= tf.cast(usual, tf.float32)
    return np.asarray(tf.reduce_sum(gradient * apart, axis=-1))


def _stem(layers: list[Any]) -> int:
    """Count the layers before the first pooling of a network that begins as the study's does."""
    import keras

    kept = (keras.layers.BatchNormalization, keras.layers.Activation, keras.layers.ReLU)
    pools = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
    first = layers[0] if layers else None
    if not isinstance(first, keras.layers.Conv2D):
        return 0
    if first.padding != "same" or any(step != 1 for step in first.strides):
        return 0
    stem = 1
    while stem < len(layers) and isinstance(layers[stem], kept):
        stem += 1
    return stem if stem < len(layers) and isinstance(layers[stem], pools) else 0
