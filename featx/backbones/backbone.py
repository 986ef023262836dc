"""A frozen network that turns images into embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones.precision import PrecisionChoice, resolve_precision
from featx.backbones.registry import architecture
from featx.backbones.spec import LARGEST_INPUT, BackboneSpec, Preprocess
from featx.backbones.weights import build_network, weights_sha256
from featx.errors import InputError


@dataclass(frozen=True)
class Backbone:
    """A frozen Keras network; make one with `load_backbone`.

    Attributes
    ----------
    spec
        What it is; its fingerprint tells embeddings apart.
    embedding_shape
        Shape of one embedding, such as (9, 9, 512).
    reason
        Why its precision was chosen.
    weights_location
        ``imagenet``, ``random`` or the absolute path of a file: how to find the weights again.
    """

    spec: BackboneSpec
    embedding_shape: tuple[int, ...]
    reason: str
    weights_location: str
    _forward: Any

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network once over a batch.

        Parameters
        ----------
        images : ndarray of shape (rows, input_size, input_size, 1 or 3), dtype float32
            Grey or RGB values 0..255. The batch may have any length without retracing.

        Returns
        -------
        ndarray of shape (rows, *embedding_shape), dtype float32
        """
        return np.asarray(self._forward(images).numpy())


def load_backbone(
    name: str = "vgg19",
    *,
    weights: str = "imagenet",
    input_size: int = 300,
    preprocess: Preprocess = "imagenet",
    precision: PrecisionChoice = "auto",
    seed: int = 0,
) -> Backbone:
    """Build a frozen backbone of ``keras.applications``.

    Parameters
    ----------
    name
        Such as ``vgg19``, ``vgg16``, ``resnet50``, ``efficientnetb0``.
    weights
        ``imagenet`` (Keras's download, or a file in the folder named by ``FEATX_WEIGHTS_DIR``),
        ``random`` (seeded, untrained), or the path of a weights file.
    input_size
        Side of the square input in pixels.
    preprocess
        ``imagenet`` is the network's own ``preprocess_input``; ``rescale`` divides by 255, as the
        study did.
    precision
        See `featx.backbones.precision.resolve_precision`.
    seed
        Of random weights.

    Raises
    ------
    InputError, WeightsError
        For an unknown name, an input size that the network can't take, a missing or unfit weights
        file, or a download that fails.
    """
    import keras
    import tensorflow as tf

    if input_size > LARGEST_INPUT:
        raise InputError(f"--input-size {input_size} is more than {LARGEST_INPUT} pixels")
    network = architecture(name)
    chosen, reason = resolve_precision(precision)
    before = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy(
            "float32" if chosen == "float32" else f"mixed_{chosen}"
        )
        model = build_network(network, weights, input_size, seed)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    model.trainable = False

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def forward(images: Any) -> Any:
        # Grey images travel in one channel and are tripled only here.
        rgb = tf.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        ready = rgb / 255.0 if preprocess == "rescale" else network.preprocess_input(rgb)
        return tf.cast(model(ready, training=False), tf.float32)

    size = (None, input_size, input_size)
    traced = {
        c: forward.get_concrete_function(tf.TensorSpec((*size, c), tf.float32)) for c in (1, 3)
    }

    def run(images: NDArray[np.float32]) -> Any:
        return traced[images.shape[-1]](tf.constant(images))

    spec = BackboneSpec(
        name=network.name,
        weights="random" if weights == "random" else "trained",
        weights_seed=seed if weights == "random" else None,
        weights_sha256=weights_sha256(model),
        input_size=input_size,
        preprocess=preprocess,
        precision=chosen,
    )
    location = weights if weights in ("imagenet", "random") else str(Path(weights).resolve())
    return Backbone(spec, tuple(model.output_shape[1:]), reason, location, run)
