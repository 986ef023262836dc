"""All that decides the numbers in a cache."""

from __future__ import annotations

from typing import Literal

from featx.backbones import BackboneSpec
from featx.images import AugmentationSpec
from featx.specs import Spec

StorageDtype = Literal["float16", "float32"]


class ExtractionSpec(Spec):
    """What a cache holds; its fingerprint is stored in every shard.

    Attributes
    ----------
    backbone
        The frozen network and its preprocessing.
    augmentation
        How many copies a training image has, and how they are made.
    storage_dtype
        Of the embeddings on disk.
    """

    backbone: BackboneSpec
    augmentation: AugmentationSpec
    storage_dtype: StorageDtype = "float16"
