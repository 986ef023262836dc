"""The image formats that Pillow may read: named at every `Image.open`, so that it tries no other.

Pillow's other plug-ins include EPS, which starts Ghostscript on a stranger's file.
"""

from __future__ import annotations

PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
