"""From an image file to a resized array and its augmented copies."""

from featx.images.augment import (
    AffineParameters,
    AugmentationSpec,
    apply_affine,
    draw_parameters,
    make_copy,
)
from featx.images.decode import DecodingSpec, UnreadableImageError, decode

__all__ = [
    "AffineParameters",
    "AugmentationSpec",
    "DecodingSpec",
    "UnreadableImageError",
    "apply_affine",
    "decode",
    "draw_parameters",
    "make_copy",
]
