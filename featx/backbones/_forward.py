"""The way from images to embeddings: channels, preprocessing, standardization, network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featx.backbones._device import placement
from featx.backbones._parts import joined_tensors
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import EmbeddingPart
from featx.backbones._standardization import Standardization

Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Network(Protocol):
    """A network that another runtime than TensorFlow computes.

    Attributes
    ----------
    depends_on_batch
        Whether the other images of a batch change an embedding's last digits.
    """

    depends_on_batch: bool

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn inputs (rows, size, size, channels) into embeddings (rows, *embedding_shape)."""


@dataclass(frozen=True)
class ForwardPass:
    """Steps from grey or RGB values 0..255 to embeddings.

    Attributes
    ----------
    channels, input_size
        Shape of the network's input.
    preprocess
        The network's own preprocessing of a batch of tensors.
    device
        Device of TensorFlow's steps.
    keras_network
        Network in TensorFlow. None if there is none. Its outputs, one or several, aren't pooled,
        and they are in the order of the network.
    network
        Network in another runtime. None is TensorFlow.
    parts
        Parts of an embedding, the main one first. Empty is the network's one output.
    """

    channels: int
    input_size: int
    preprocess: Callable[[Any], Any]
    device: str
    keras_network: Any
    network: Network | None = None
    parts: tuple[EmbeddingPart, ...] = ()

    def compose(self, standardization: Standardization | None) -> Callable[[Any], Any]:
        """Return the whole way as TensorFlow operations."""
        return self._composed(self.keras_network, standardization)

    def trace(self, standardization: Standardization | None) -> Embed:
        """Return the whole way for arrays."""
        if self.network is None:
            return self._traced(self.keras_network, standardization)
        network, prepare = self.network, self._traced(None, standardization)
        return lambda images: network(prepare(images))

    def trace_input(self) -> Embed:
        """Return the way to the network's input, without standardization."""
        return self._traced(None, None)

    def _composed(
        self, network: Any, standardization: Standardization | None
    ) -> Callable[[Any], Any]:
        import tensorflow as tf

        @own_keras_settings()
        def forward(images: Any) -> Any:
            images = self._prepared(images)
            if standardization is not None:
                images = standardization.apply(images)
            if network is None:
                return tf.cast(images, tf.float32)
            outputs = network(images, training=False)
            return joined_tensors(outputs if self.parts else [outputs], self.parts)

        return forward

    def _traced(self, network: Any, standardization: Standardization | None) -> Embed:
        """Trace the steps for grey and for colour images, for batches of any length."""
        import tensorflow as tf

        forward = self._composed(network, standardization)

        def trace(channels: int) -> Any:
            # The batch has any length, so that a short last batch is not traced anew.
            images = tf.TensorSpec((None, self.input_size, self.input_size, channels), tf.float32)
            return tf.function(forward, input_signature=[images]).get_concrete_function()

        with placement(self.device):
            traced = {channels: trace(channels) for channels in (1, 3)}

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            with placement(self.device):
                return np.asarray(traced[images.shape[-1]](tf.constant(images)).numpy())

        return run

    def _prepared(self, images: Any) -> Any:
        import tensorflow as tf

        # Grey images travel in one channel and are tripled only here.
        if images.shape[-1] < self.channels:
            images = tf.repeat(images, self.channels, axis=-1)
        elif images.shape[-1] > self.channels:
            images = tf.image.rgb_to_grayscale(images)
        return self.preprocess(images)
