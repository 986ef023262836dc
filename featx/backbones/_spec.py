"""Spec of a backbone, whose fingerprint tells embeddings apart, and the recipe to load it."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from featx._specs import Spec
from featx.backbones._standardization import StandardizationSpec

Precision = Literal["float32", "bfloat16", "float16"]
Preprocess = Literal["imagenet", "rescale", "none"]
WeightsKind = Literal["trained", "random"]
Runtime = Literal["tensorflow", "ncnn", "onnxruntime"]
RUNTIME_NAMES: dict[Runtime, str] = {
    "tensorflow": "TensorFlow",
    "ncnn": "ncnn",
    "onnxruntime": "ONNX Runtime",
}
Tokens = Literal["patches", "cls", "both"]
PoolExtra = Literal["none", "pyramid"]

LARGEST_INPUT = 4096
LARGEST_PREPARED = 1e6
"""Largest value of a prepared pixel. Those of usual networks are below 300."""
DEFAULT_INPUT = 300
"""Input size of the study, in pixels. An embedding of VGG19 is then 9x9x512."""


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class EmbeddingPart(Spec):
    """One of several outputs of a network that make an embedding together.

    Attributes
    ----------
    name
        Name of the layer or output.
    shape
        Its shape for one image.

    Examples
    --------
    >>> from featx.backbones import EmbeddingPart
    >>> part = EmbeddingPart(name="block4_pool", shape=(18, 18, 512))
    >>> part.size, str(part)
    (165888, 'block4_pool 18x18x512')
    """

    name: str
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)

    @property
    def size(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} {by(self.shape)}"


def by(shape: tuple[int, ...]) -> str:
    """Write a shape, such as 9x9x512."""
    return "x".join(map(str, shape))


class NormalizationSpec(Spec):
    """Preprocessing of an ONNX network: (values * rescale - mean) / std.

    Attributes
    ----------
    rescale
        Factor of the values 0..255.
    mean, std
        Mean and standard deviation, one number or one for each channel.

    Examples
    --------
    >>> from featx.backbones import NormalizationSpec
    >>> NormalizationSpec(rescale=1 / 255, mean=(0.5,), std=(0.25,)).std
    (0.25,)
    """

    rescale: float = Field(1.0, gt=0.0, allow_inf_nan=False)
    mean: tuple[_Finite, ...] = (0.0,)
    std: tuple[_Positive, ...] = (1.0,)

    @model_validator(mode="after")
    def _one_for_each(self) -> NormalizationSpec:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError(
                f"mean has {len(self.mean)} numbers and std {len(self.std)}, and both need 1 or 3"
            )
        largest = max(
            abs(value * self.rescale - mean) / std
            for value in (0.0, 255.0)
            for mean, std in zip(self.mean, self.std, strict=True)
        )
        if not largest <= LARGEST_PREPARED:
            raise ValueError(f"rescale, mean and std make {largest:.1g} of a pixel")
        return self


class BackboneSpec(Spec):
    """A frozen network, and all that decides what it makes of an image.

    Attributes
    ----------
    name
        A network of `list_backbones`, in lower case, or a saved model's own name.
    architecture_sha256
        SHA-256 of a saved model's layers, or of an ONNX file. None for a network of
        `list_backbones`.
    layer
        Name of the layer whose output is the embedding, or names of several with commas, in the
        order of the network.
    weights
        ``trained`` or ``random``. The source of trained weights isn't part of the spec, since
        equal weights make equal embeddings.
    weights_seed
        Seed of random weights. None for trained weights.
    weights_sha256
        SHA-256 of the loaded weights, up to the deepest layer. That of an ONNX file is of all its
        files.
    input_size
        Side of the square input in pixels.
    preprocess
        ``imagenet`` is Keras's ``preprocess_input`` for the network (featx-mini has none),
        ``rescale`` is 1/255, ``none`` leaves 0..255. An ONNX network's ``imagenet`` is
        torchvision's, and ``config`` is what the file beside it says. `normalization` has the
        numbers of both.
    precision
        Number format of the forward pass.
    standardization
        Standardization of the preprocessed image. None is nothing.
    runtime
        Library of the forward pass. Its last digits are its own.
    parts
        Outputs that an embedding is made of, the main one first, if there are several. The
        embedding is then the vector of them all. Empty is the one output of `layer`.
    pool_extra
        Pooling of all outputs but the main one. ``pyramid`` keeps ten vectors of a grid: its
        average, and those of 3x3 regions.
    tokens
        What is taken of an output of tokens: ``patches`` (the grid), ``cls`` (the vector) or
        ``both``. None if the output is none of tokens.
    normalization
        Preprocessing of an ONNX network by its own numbers. None is that of `preprocess`.

    Examples
    --------
    >>> from featx.backbones import BackboneSpec
    >>> spec = BackboneSpec(
    ...     name="vgg19",
    ...     layer="block5_pool",
    ...     weights="random",
    ...     weights_sha256="0" * 64,
    ...     input_size=300,
    ... )
    >>> spec.preprocess, len(spec.fingerprint)
    ('imagenet', 64)
    """

    added: ClassVar[frozenset[str]] = frozenset(
        {"standardization", "runtime", "parts", "pool_extra", "tokens", "normalization"}
    )

    name: str
    architecture_sha256: str | None = None
    layer: str
    weights: WeightsKind
    weights_seed: int | None = None
    weights_sha256: str
    input_size: int = Field(ge=1, le=LARGEST_INPUT)
    preprocess: Preprocess | Literal["config"] = "imagenet"
    precision: Precision = "float32"
    standardization: StandardizationSpec | None = None
    runtime: Runtime = "tensorflow"
    parts: tuple[EmbeddingPart, ...] = ()
    pool_extra: PoolExtra = "none"
    tokens: Tokens | None = None
    normalization: NormalizationSpec | None = None

    @property
    def part_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the parts, the main one first. Empty if there is one output."""
        return tuple(part.shape for part in self.parts)

    def embedding_in_words(self, shape: tuple[int, ...]) -> str:
        """Say what an embedding is, such as ``9x9x512 from block5_pool``."""
        if not self.parts:
            tokens = "" if self.tokens is None else f" ({self.tokens})"
            return f"{by(shape)} from {self.layer}{tokens}"
        return f"{math.prod(shape):,} from {' + '.join(map(str, self.parts))}"


class BackboneRecipe(Spec):
    """Arguments of `load_backbone` with which another process loads the same backbone.

    Paths are absolute, and runtime, precision and layer are named. Only the GPU is left open,
    because each process may see another one. ``cpu`` stays ``cpu``.
    `standardization` is the path of a file, or empty. `preprocess` is None if a file beside the
    network says it.
    """

    name: str
    weights: str
    input_size: int
    preprocess: Preprocess | None
    runtime: Runtime
    precision: Precision
    seed: int
    layer: str
    pool_extra: PoolExtra = "none"
    device: str = "auto"
    standardization: str = ""
    tokens: Tokens | None = None
