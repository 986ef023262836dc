"""From a spec to a frozen Keras network and its fingerprint."""

from featx.backbones.backbone import Backbone, load_backbone
from featx.backbones.precision import PrecisionChoice, resolve_precision
from featx.backbones.registry import architecture, architectures
from featx.backbones.spec import BackboneSpec, Precision, Preprocess
from featx.backbones.weights import has_imagenet_weights

__all__ = [
    "Backbone",
    "BackboneSpec",
    "Precision",
    "PrecisionChoice",
    "Preprocess",
    "architecture",
    "architectures",
    "has_imagenet_weights",
    "load_backbone",
    "resolve_precision",
]
