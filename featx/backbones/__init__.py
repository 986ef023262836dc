"""From a spec to a frozen Keras network and its fingerprint."""

from featx.backbones.backbone import Backbone, load_backbone, load_recipe
from featx.backbones.catalogue import Entry, catalogue
from featx.backbones.device import gpu_count
from featx.backbones.precision import PrecisionChoice, resolve_precision
from featx.backbones.registry import architecture, architectures
from featx.backbones.saved import SUFFIX
from featx.backbones.spec import BackboneRecipe, BackboneSpec, Precision, Preprocess
from featx.backbones.standardization import (
    STANDARDIZATION_NAME,
    Standardization,
    StandardizationSpec,
    fit_standardization,
    load_standardization,
)
from featx.backbones.weights import has_imagenet_weights

__all__ = [
    "STANDARDIZATION_NAME",
    "SUFFIX",
    "Backbone",
    "BackboneRecipe",
    "BackboneSpec",
    "Entry",
    "Precision",
    "PrecisionChoice",
    "Preprocess",
    "Standardization",
    "StandardizationSpec",
    "architecture",
    "architectures",
    "catalogue",
    "fit_standardization",
    "gpu_count",
    "has_imagenet_weights",
    "load_backbone",
    "load_recipe",
    "load_standardization",
    "resolve_precision",
]
