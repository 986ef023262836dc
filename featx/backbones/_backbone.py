"""A frozen network that turns images into embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones._forward import Embed, ForwardPass
from featx.backbones._spec import (
    RUNTIME_NAMES,
    BackboneRecipe,
    BackboneSpec,
)
from featx.backbones._standardization import Standardization
from featx.errors import InputError, OutOfMemoryError


@dataclass(frozen=True, repr=False)
class Backbone:
    """A frozen network. `load_backbone` makes one.

    Attributes
    ----------
    spec
        Description of the network. Its fingerprint tells embeddings apart.
    embedding_shape
        Shape of one embedding, such as (9, 9, 512). That of several layers is (values,).
    reason
        Reason why its precision was chosen.
    recipe
        Recipe by which another process loads it again.
    device
        Device that it runs on: ``cpu`` or ``gpu:N``.
    channels
        Channels of the network's input: 1 or 3.
    standardization
        Standardization of the preprocessed image. None is nothing.

    Examples
    --------
    >>> import featx
    >>> import numpy as np
    >>> backbone = featx.load_backbone("vgg19")  # doctest: +SKIP
    >>> images = np.zeros((2, 300, 300, 1), np.float32)
    >>> backbone.embed(images).shape  # doctest: +SKIP
    (2, 9, 9, 512)
    """

    spec: BackboneSpec
    embedding_shape: tuple[int, ...]
    reason: str
    recipe: BackboneRecipe
    device: str
    channels: int
    _steps: ForwardPass
    _forward: Embed
    standardization: Standardization | None = None

    def __repr__(self) -> str:
        spec = self.spec
        untrained = " with random weights" if spec.weights == "random" else ""
        return (
            f"Backbone({spec.name}{untrained} at {spec.input_size}x{spec.input_size}, "
            f"embedding {spec.embedding_in_words(self.embedding_shape)}, {spec.precision} by "
            f"{RUNTIME_NAMES[spec.runtime]} on {self.device})"
        )

    @property
    def main_shape(self) -> tuple[int, ...]:
        """Shape of the main part of an embedding: of the deepest layer, if there are several."""
        return self.spec.parts[0].shape if self.spec.parts else self.embedding_shape

    @property
    def weights_location(self) -> str:
        """Location of the weights: ``imagenet``, ``random`` or the absolute path of a file."""
        saved = self.spec.architecture_sha256 is not None
        return self.recipe.name if saved else self.recipe.weights

    @property
    def depends_on_batch(self) -> bool:
        """Whether the other images of a batch change an embedding's last digits."""
        return self._steps.network is None or self._steps.network.depends_on_batch

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network once over a batch.

        Parameters
        ----------
        images : ndarray of shape (rows, input_size, input_size, 1 or 3), dtype float32
            Grey or RGB values 0..255, in a batch of any length. A network of three channels gets
            grey three times. A saved model of one channel gets the luminance of RGB (0.2989 R +
            0.5870 G + 0.1140 B, see ``tf.image.rgb_to_grayscale``).

        Returns
        -------
        ndarray of shape (rows, *embedding_shape), dtype float32

        Raises
        ------
        OutOfMemoryError
            If the batch doesn't fit in the device's memory.
        """
        import tensorflow as tf

        try:
            return self._forward(images)
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemoryError(
                f"a forward pass over {len(images)} images is too much for {self.device}'s memory",
                "Use a smaller `batch_size` or `input_size`.",
            ) from error

    def as_tensors(self, images: Any) -> Any:
        """Do what `embed` does with tensors, as a part of a larger TensorFlow graph.

        Raises
        ------
        InputError
            If TensorFlow has no such network, as of an ONNX file.
        """
        if self._steps.keras_network is None:
            raise InputError(
                f"the backbone {self.spec.name} is no network of Keras, so TensorFlow can't be a "
                "part of it",
                "Use `backbone.embed` with arrays.",
            )
        return self._steps.compose(self.standardization)(images)

    def prepare(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's input of shape (rows, input_size, input_size, channels), float32.

        It takes the same images as `embed`. No standardization is done.
        """
        return self._preparation(images)

    @cached_property
    def _preparation(self) -> Embed:
        return self._steps.trace_input()

    def with_standardization(self, standardization: Standardization, file: Path) -> Backbone:
        """Return the same network with a standardized input. Other processes find it in `file`."""
        return replace(
            self,
            spec=self.spec.model_copy(update={"standardization": standardization.spec}),
            recipe=self.recipe.model_copy(update={"standardization": str(file.resolve())}),
            standardization=standardization,
            _forward=self._steps.trace(standardization),
        )
