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
from featx.images._display import decode_for_display

__all__ = [
    "PRESETS",
    "AugmentationSpec",
    "CopyParameters",
    "DecodingSpec",
    "FillMode",
    "UnreadableImageError",
    "apply_affine",
    "decode",
    "decode_for_display",
    "draw_parameters",
    "make_copy",
    "preset_augmentation",
]
