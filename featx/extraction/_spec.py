"""All that decides the numbers in a cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from featx._specs import Spec
from featx.backbones import BackboneSpec
from featx.errors import InputError
from featx.images import AugmentationSpec, DecodingSpec
from featx_cache import Cache

StorageDtype = Literal["float16", "float32"]


class ExtractionSpec(Spec):
    """What a cache holds; its fingerprint is stored in every shard.

    Attributes
    ----------
    backbone
        The frozen network and its preprocessing.
    decoding
        How a file becomes pixels.
    augmentation
        How many copies a training image has, and how they are made.
    storage_dtype
        Of the embeddings on disk.
    """

    backbone: BackboneSpec
    decoding: DecodingSpec = DecodingSpec()
    augmentation: AugmentationSpec
    storage_dtype: StorageDtype = "float16"


def embedding_fields(spec: Mapping[str, Any], *, copies: bool) -> dict[str, Any]:
    """Return the part of a spec that decides the embedding of one image.

    Parameters
    ----------
    spec
        An `ExtractionSpec` as JSON; one of an earlier version may lack fields.
    copies
        Whether embeddings of augmented copies count, too. How many there are never does.
    """
    fields = {name: spec.get(name) for name in ("backbone", "decoding", "storage_dtype")}
    if copies:
        augmentation = spec.get("augmentation") or {}
        fields["augmentation"] = {k: v for k, v in augmentation.items() if k != "copies"}
    return fields


def spec_of(cache: Cache) -> ExtractionSpec:
    """Return what made a cache.

    Raises
    ------
    InputError
        If the cache is from another version of featx.
    """
    try:
        return ExtractionSpec.model_validate(cache.spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the cache {cache.path} is from another version of featx ({where}: {first['msg']})",
            "Extract the images again into a new folder.",
        ) from error
