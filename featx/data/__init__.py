"""From files to a manifest: which images there are, their labels, splits and patients."""

from featx.data.folders import images_below, is_image_name, reason_of, scan_folder
from featx.data.manifest import Manifest
from featx.data.patients import group_of

__all__ = ["Manifest", "group_of", "images_below", "is_image_name", "reason_of", "scan_folder"]
