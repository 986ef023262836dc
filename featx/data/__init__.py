"""From files to a manifest: which images there are, their labels, splits and patients."""

from featx.data._dicom import Pseudonyms
from featx.data._formats import PILLOW_FORMATS
from featx.data._left_out import in_words
from featx.data._load import load_manifest, scan_folder
from featx.data._manifest import ClassesError, Manifest, require_manifest_name
from featx.data._options import ReadingOptions
from featx.data._patients import group_of, shared_patients, unknown_patients
from featx.data._positive import (
    healthy_first,
    is_healthy_name,
    positive_is_known,
    positive_sentence,
    positive_warning,
)
from featx.data._probe import reason_of
from featx.data._split import fold_manifest, split_manifest
from featx.data._walking import is_image, is_image_name, walk_images

__all__ = [
    "PILLOW_FORMATS",
    "ClassesError",
    "Manifest",
    "Pseudonyms",
    "ReadingOptions",
    "fold_manifest",
    "group_of",
    "healthy_first",
    "in_words",
    "is_healthy_name",
    "is_image",
    "is_image_name",
    "load_manifest",
    "positive_is_known",
    "positive_sentence",
    "positive_warning",
    "reason_of",
    "require_manifest_name",
    "scan_folder",
    "shared_patients",
    "split_manifest",
    "unknown_patients",
    "walk_images",
]
