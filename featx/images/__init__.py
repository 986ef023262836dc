"""From an image file to a resized array and its augmented copies."""

from featx.images._augment import AugmentationSpec, make_copy, preset_augmentation
from featx.images._decode import DecodingSpec, UnreadableImageError, decode
from featx.images._display import decode_for_display

__all__ = [
    "AugmentationSpec",
    "DecodingSpec",
    "UnreadableImageError",
    "decode",
    "decode_for_display",
    "make_copy",
    "preset_augmentation",
]
