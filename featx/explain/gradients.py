"""Heat maps of networks: gradient of the logit times activation, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 16


def gradient_maps(network: Any, grid: NDArray[np.floating]) -> NDArray[np.float32]:
    """Explain a Keras head; members of an ensemble are averaged.

    Parameters
    ----------
    network
        A Keras Sequential that ends with Dense 1 sigmoid, or a model that averages several.
    grid : ndarray of shape (images, rows, columns, channels)

    Returns
    -------
    ndarray of shape (images, rows, columns), dtype float32
    """
    import keras

    members = [part for part in network.layers if isinstance(part, keras.Sequential)] or [network]
    maps = np.zeros(grid.shape[:3], np.float32)
    for start in range(0, len(grid), BATCH):
        part = slice(start, start + BATCH)
        for member in members:
            maps[part] += _maps(member, grid[part]) / len(members)
    return maps


def _maps(network: Any, grid: NDArray[np.floating]) -> NDArray[np.float32]:
    import tensorflow as tf

    *layers, last = network.layers
    embeddings = tf.convert_to_tensor(grid.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        inner = embeddings
        for layer in layers:  # outside a fit, layers behave as in prediction
            inner = layer(inner)
        # Before the sigmoid, whose gradient is zero where it is sure.
        logit = tf.cast(inner, tf.float32) @ tf.cast(last.kernel, tf.float32)
    gradient = tf.cast(tape.gradient(logit, embeddings), tf.float32)
    return np.asarray(tf.reduce_sum(gradient * embeddings, axis=-1))
