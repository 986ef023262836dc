"""What a backbone is, as a spec whose fingerprint tells embeddings apart."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from featx.specs import Spec

Precision = Literal["float32", "bfloat16", "float16"]
Preprocess = Literal["imagenet", "rescale"]
WeightsKind = Literal["trained", "random"]

LARGEST_INPUT = 4096


class BackboneSpec(Spec):
    """A frozen network, and all that decides what it makes of an image.

    Attributes
    ----------
    name
        A network of ``keras.applications``, in lower case.
    weights
        Whether the weights know anything. Where trained ones came from isn't part of the spec:
        equal weights make equal embeddings.
    weights_seed
        Seed of random weights; None for trained ones.
    weights_sha256
        SHA-256 over the weights that were really loaded.
    input_size
        Side of the square input in pixels.
    preprocess
        ``imagenet`` is Keras's ``preprocess_input`` for the network, ``rescale`` is 1/255.
    precision
        Of the forward pass.
    """

    name: str
    weights: WeightsKind
    weights_seed: int | None = None
    weights_sha256: str
    input_size: int = Field(ge=1, le=LARGEST_INPUT)
    preprocess: Preprocess = "imagenet"
    precision: Precision = "float32"
