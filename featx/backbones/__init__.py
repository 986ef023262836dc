"""From a spec to a frozen network and its fingerprint."""

from featx.backbones._backbone import Backbone
from featx.backbones._catalog import BackboneEntry, describe_backbones
from featx.backbones._load import load_backbone
from featx.backbones._parts import split_parts
from featx.backbones._registry import list_backbones
from featx.backbones._spec import BackboneSpec, EmbeddingPart, NormalizationSpec
from featx.backbones._standardization import StandardizationSpec

__all__ = [
    "Backbone",
    "BackboneEntry",
    "BackboneSpec",
    "EmbeddingPart",
    "NormalizationSpec",
    "StandardizationSpec",
    "describe_backbones",
    "list_backbones",
    "load_backbone",
    "split_parts",
]
