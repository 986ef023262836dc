"""Heat maps of networks: gradient of the logit times activation, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones._parts import Shape, main_part
from featx.heads._network_builder import tower_of

BATCH_SIZE = 16

Run = Callable[[Any], tuple[Any, Any]]


def gradient_maps(
    network: Any,
    embeddings: NDArray[np.floating],
    mean: NDArray[np.floating] | None = None,
    parts: tuple[Shape, ...] = (),
) -> NDArray[np.float32]:
    """Explain a Keras head. Members of an ensemble are averaged.

    The study's network is explained by Grad-CAM (Selvaraju et al., ICCV 2017) at its first
    convolution: activations times the mean gradient of their channel. Its last one, where Grad-CAM
    is mostly used, has 2x2 cells left of 9x9 and locates nothing (docs/explain.md has numbers).
    Other networks may be about places from the start, so that a mean gradient wouldn't do: there it
    is gradient times embedding in each cell (HiResCAM; Draelos and Carin 2020). Both without the
    rectifier at the end: what speaks against the class is shown, too.

    `embeddings` have the shape (images, rows, columns, channels), or are vectors of these `parts`,
    of which the main one is explained. `mean` is the average of that grid in the training images,
    whose activations are subtracted. Maps are (images, rows, columns).
    """
    import keras

    members = [part for part in network.layers if isinstance(part, keras.Model)] or [network]
    maps = np.zeros(main_part(embeddings, parts).shape[:3], np.float32)
    usual = None
    if mean is not None:
        usual = np.zeros((1, *embeddings.shape[1:]), np.float32)
        usual.reshape(-1)[: mean.size] = mean.ravel()  # the main part comes first
    for start in range(0, len(maps), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        for member in members:
            maps[part] += _maps(member, embeddings[part], usual) / len(members)
    return maps


def _maps(
    network: Any, embeddings: NDArray[np.floating], usual: NDArray[np.floating] | None
) -> NDArray[np.float32]:
    import keras
    import tensorflow as tf

    run, averaged = (_line if isinstance(network, keras.Sequential) else _tower)(network)
    images = tf.convert_to_tensor(embeddings.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(images)
        activations, features = run(images)
        # Before the sigmoid, whose gradient is zero where it is sure.
        logit = tf.cast(features, tf.float32) @ tf.cast(network.layers[-1].kernel, tf.float32)
    gradient = tf.cast(tape.gradient(logit, activations), tf.float32)
    if averaged:
        gradient = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    apart = tf.cast(activations, tf.float32)
    if usual is not None:
        apart -= tf.cast(run(tf.convert_to_tensor(usual))[0], tf.float32)
    return np.asarray(tf.reduce_sum(gradient * apart, axis=-1))


def _line(network: Any) -> tuple[Run, bool]:
    """Return how a Sequential makes the explained activations and the last layer's inputs."""
    layers = network.layers[:-1]
    stem = _stem(layers)

    def through(part: list[Any], inner: Any) -> Any:
        for layer in part:  # outside a fit, layers behave as in prediction
            inner = layer(inner)
        return inner

    def run(images: Any) -> tuple[Any, Any]:
        activations = through(layers[:stem], images)
        return activations, through(layers[stem:], activations)

    return run, stem > 0


def _tower(network: Any) -> tuple[Run, bool]:
    """Do what `_line` does for a network of several parts: the main one's layers are explained."""
    import keras

    main, *layers = tower_of(network)
    stem = _stem(layers)
    explained = [main, *layers][stem].output
    both = keras.Model(network.inputs[0], [explained, network.layers[-1].input])
    return lambda images: tuple(both(images, training=False)), stem > 0


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
