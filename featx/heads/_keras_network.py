"""The networks of the Keras head, layer for layer."""

from __future__ import annotations

import itertools
from typing import Any

from featx.backbones._parts import Shape
from featx.heads._network_builder import NetworkBuilder
from featx.heads._own_layers import build_layers
from featx.heads._settings import KerasSettings


def build_network(
    embedding_shape: Shape,
    settings: KerasSettings,
    seed: int,
    *,
    steps: int = 1000,
    parts: tuple[Shape, ...] = (),
) -> Any:
    """Build the network that the settings describe.

    The study's network: Conv 124 3x3 same ReLU, batch normalization, max pooling 2; the same again;
    Conv 64, 64 and 32 (3x3 same ReLU); flatten; three Dense 1024 ReLU; dropout 0.5; Dense 1
    sigmoid. On 9x9x512 it has 3,070,217 parameters, of which 3,069,721 are trainable. The small
    network: global average pooling, Dense 64 ReLU, dropout 0.5, Dense 1 sigmoid. Embeddings that
    have no grid skip the convolutions and the pooling. Of an embedding of several parts, the main
    one goes through these layers; the others join it as vectors (see `NetworkBuilder`).

    Parameters
    ----------
    embedding_shape
        Shape of one embedding, such as (9, 9, 512), or (features,).
    settings
        Architecture, widths, dropout and so on, or layers of the user's own.
    seed
        Seed of the initial weights and of dropout. The global random state isn't touched.
    steps
        Number of batches that the network will be trained on. The running means of batch
        normalization follow the last tenth of them. Keras's momentum of 0.99 needs hundreds: after
        a few dozen batches the means would still be near their initial values.
    parts
        Shapes of the embedding's parts, the main one first. Empty if it has none.

    Returns
    -------
    keras.Sequential, or keras.Model if there are parts
        Network that isn't compiled. Its output is float32 under every precision policy.
    """
    from keras import Input, Sequential, layers

    seeds = itertools.count(seed * 100)
    if settings.layers is not None:
        return build_layers(settings.layers, embedding_shape, seeds, parts)
    main = parts[0] if parts else embedding_shape
    network = []
    if len(main) == 3:
        if settings.architecture == "study":
            network += _convolutions(main[0], settings, steps, seeds)
        else:
            network.append(layers.GlobalAveragePooling2D())
    network += [_dense(units, "relu", next(seeds)) for units in settings.widths]
    if settings.dropout:
        network.append(layers.Dropout(settings.dropout, seed=next(seeds)))
    network.append(_dense(1, "sigmoid", next(seeds), dtype="float32"))
    if not parts:
        return Sequential([Input(embedding_shape), *network])
    builder = NetworkBuilder(embedding_shape, parts)
    for layer in network:
        builder.add(layer)
    return builder.network()


def _convolutions(side: int, settings: KerasSettings, steps: int, seeds: Any) -> list[Any]:
    """Make two stages of convolution and pooling, then three convolutions, flattened."""
    from keras import layers

    momentum = min(0.99, max(0.0, 1.0 - 10.0 / steps))
    pooling = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[settings.pooling]
    network = []
    for _ in range(2):
        network.append(_conv(124, next(seeds)))
        if settings.batch_normalization:
            network.append(layers.BatchNormalization(momentum=momentum))
        # An embedding of one cell (a small input size) has nothing left to pool.
        network.append(pooling(2, padding="valid" if side >= 4 else "same"))
    return [*network, *(_conv(filters, next(seeds)) for filters in (64, 64, 32)), layers.Flatten()]


def _conv(filters: int, seed: int) -> Any:
    from keras import initializers, layers

    start = initializers.GlorotUniform(seed)
    return layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=start)


def _dense(units: int, activation: str, seed: int, dtype: str | None = None) -> Any:
    from keras import initializers, layers

    start = initializers.GlorotUniform(seed)
    return layers.Dense(units, activation=activation, kernel_initializer=start, dtype=dtype)
