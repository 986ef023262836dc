"""The spec of an extraction: all that decides the numbers in a cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from featx._specs import Spec
from featx.backbones import BackboneSpec, EmbeddingPart
from featx.backbones._parts import require_parts
from featx.errors import InputError
from featx.images import AugmentationSpec, DecodingSpec
from featx_cache import Cache

StorageDtype = Literal["float16", "float32"]


class ExtractionSpec(Spec):
    """All that makes the embeddings of a cache. Its fingerprint is stored in every shard.

    Attributes
    ----------
    backbone
        Frozen network and its preprocessing.
    decoding
        Settings with which a file becomes pixels.
    augmentation
        Number and kind of the augmented copies.
    storage_dtype
        Number format of the embeddings on disk.

    Examples
    --------
    >>> from featx.extraction import ExtractionSpec
    >>> from featx_cache import example_cache
    >>> spec = ExtractionSpec.model_validate(example_cache().spec)
    >>> spec.backbone.name, spec.augmentation.copies
    ('vgg19', 1)
    """

    backbone: BackboneSpec
    decoding: DecodingSpec = DecodingSpec()
    augmentation: AugmentationSpec
    storage_dtype: StorageDtype = "float16"


def embedding_fields(spec: Mapping[str, Any], *, copies: bool) -> dict[str, Any]:
    """Return the part of an `ExtractionSpec` as JSON that decides the embedding of one image.

    `copies` says whether the settings of augmented copies count, too. Their number never counts.
    Earlier versions wrote fewer fields.
    """
    fields = {name: spec.get(name) for name in ("backbone", "decoding", "storage_dtype")}
    if copies:
        augmentation = spec.get("augmentation") or {}
        fields["augmentation"] = {k: v for k, v in augmentation.items() if k != "copies"}
    return fields


def spec_of(cache: Cache) -> ExtractionSpec:
    """Return what made a cache."""
    try:
        return ExtractionSpec.model_validate(cache.spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the cache {cache.path} is from another version of featx ({where}: {first['msg']})",
            "Extract the images again into a new folder.",
        ) from error


def parts_of(cache: Cache) -> tuple[EmbeddingPart, ...]:
    """Return the parts of a cache's embeddings, the main one first. Empty if they have none.

    Raises
    ------
    InputError
        If the parts don't fit the embeddings.
    """
    if not (cache.spec.get("backbone") or {}).get("parts"):
        return ()
    backbone = spec_of(cache).backbone
    require_parts(cache.shape, backbone.part_shapes)
    return backbone.parts
