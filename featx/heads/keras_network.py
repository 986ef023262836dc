"""The network of the study's head, layer for layer."""

from __future__ import annotations

from typing import Any


def build_head(embedding_shape: tuple[int, ...], seed: int, *, steps: int = 1000) -> Any:
    """Build the study's head.

    Conv 124 3x3 same ReLU, batch normalisation, max pooling 2; the same again; Conv 64, 64 and 32
    (3x3 same ReLU); flatten; three Dense 1024 ReLU; dropout 0.5; Dense 1 sigmoid. On 9x9x512 it has
    3,070,217 parameters, 3,069,721 of them trainable. Embeddings that have no grid skip the
    convolutional part.

    Parameters
    ----------
    embedding_shape
        Shape of one embedding, such as (9, 9, 512), or (features,).
    seed
        Of the initial weights and of dropout; the global random state isn't touched.
    steps
        Batches that it will be trained on. The running means of batch normalisation follow the last
        tenth of them: Keras's momentum of 0.99 needs hundreds, and a head trained on a few dozen
        would be used with means that are still those it began with.

    Returns
    -------
    keras.Sequential
        Not compiled; its output is float32 whatever the precision policy.
    """
    from keras import Input, Sequential, initializers, layers

    momentum = min(0.99, max(0.0, 1.0 - 10.0 / steps))
    seeds = iter(range(seed * 100, seed * 100 + 100))

    def conv(filters: int) -> Any:
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=initializers.GlorotUniform(next(seeds)),
        )

    def dense(units: int, activation: str, dtype: str | None = None) -> Any:
        initializer = initializers.GlorotUniform(next(seeds))
        return layers.Dense(
            units, activation=activation, kernel_initializer=initializer, dtype=dtype
        )

    network = [Input(embedding_shape)]
    if len(embedding_shape) == 3:
        for _ in range(2):
            network += [conv(124), layers.BatchNormalization(momentum=momentum)]
            # An embedding of one cell (a small input size) has nothing left to pool.
            network.append(
                layers.MaxPooling2D(2, padding="valid" if embedding_shape[0] >= 4 else "same")
            )
        network += [conv(64), conv(64), conv(32), layers.Flatten()]
    network += [dense(1024, "relu") for _ in range(3)]
    network += [layers.Dropout(0.5, seed=next(seeds)), dense(1, "sigmoid", dtype="float32")]
    return Sequential(network)
