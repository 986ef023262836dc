"""From an image file to a resized array and its augmented copies."""

from featx.images._augment import (
    PRESETS,
    AugmentationSpec,
    CopyParameters,
    FillMode,
    apply_affine,
    draw_parameters,
    make_copy,
    preset_augmentation,
)
from featx.images._decode import DecodingSpec, UnreadableImageError, decode
from featx.images._picture import picture

__all__ = [
    "PRESETS",
    "AugmentationSpec",
    "CopyParameters",
    "DecodingSpec",
    "FillMode",
    "UnreadableImageError",
    "apply_affine",
    "decode",
    "draw_parameters",
    "make_copy",
    "picture",
    "preset_augmentation",
]
