"""From a spec to a frozen Keras network and its fingerprint."""

from featx.backbones._backbone import Backbone, load_backbone, load_recipe
from featx.backbones._catalogue import Entry, catalogue
from featx.backbones._device import gpu_count
from featx.backbones._precision import PrecisionChoice, resolve_precision
from featx.backbones._registry import architecture, architectures
from featx.backbones._saved import SUFFIX
from featx.backbones._spec import BackboneRecipe, BackboneSpec, Precision, Preprocess
from featx.backbones._standardization import (
    STANDARDIZATION_NAME,
    Standardization,
    StandardizationSpec,
    fit_standardization,
    load_standardization,
)
from featx.backbones._weights import has_imagenet_weights

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
