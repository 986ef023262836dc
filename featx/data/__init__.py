"""From files to a manifest: which images there are, their labels, splits and patients."""

from featx.data._fetch import DownloadError, fetch_data
from featx.data._formats import PILLOW_FORMATS
from featx.data._left_out import in_words
from featx.data._load import ImageSource, load_manifest
from featx.data._manifest import ClassesError, Manifest
from featx.data._options import ReadingOptions
from featx.data._patients import group_of, shared_patients, unknown_patients
from featx.data._positive import (
    healthy_first,
    positive_is_known,
    positive_sentence,
    positive_warning,
)
from featx.data._walk import is_image, walk_images

__all__ = [
    "PILLOW_FORMATS",
    "ClassesError",
    "DownloadError",
    "ImageSource",
    "Manifest",
    "ReadingOptions",
    "fetch_data",
    "group_of",
    "healthy_first",
    "in_words",
    "is_image",
    "load_manifest",
    "positive_is_known",
    "positive_sentence",
    "positive_warning",
    "shared_patients",
    "unknown_patients",
    "walk_images",
]
