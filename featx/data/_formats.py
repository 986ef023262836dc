"""File formats by their first bytes: which images Pillow may read, and what other files are.

Pillow's other plug-ins include EPS, which starts Ghostscript on a stranger's file: the formats are
named at every `Image.open`, so that it tries no other.
"""

from __future__ import annotations

PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
IMAGE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi",
        ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp",
    }
)  # fmt: skip
"""Files of these names are images, or damaged ones."""

READ_FORMATS = frozenset({"JPEG", "PNG", "TIFF", "BMP", "WebP", "DICOM"})
UNREAD_IMAGES = frozenset(
    {"GIF", "EPS", "JPEG 2000", "JPEG XL", "HEIC", "AVIF", "PSD", "NIfTI", "NRRD"}
)
TEXT = "text"
START_BYTES = 512
"""Bytes at the start of a file that tell its format."""

_SIGNATURES = (
    (128, b"DICM", "DICOM"),  # first, because its preamble may be that of a TIFF file
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"8BPS", "PSD"),
    (344, b"n+1\0", "NIfTI"),
    (0, b"NRRD", "NRRD"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\3\4", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x89HDF\r\n", "HDF5"),
    (0, b"\x93NUMPY", "NumPy"),
)
# Sizes of the second header of a BMP file: other files begin with "BM", too.
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def format_of(start: bytes) -> str:
    """Name the format of a file.

    Parameters
    ----------
    start
        First `START_BYTES` bytes of the file, or fewer if there are no more.

    Returns
    -------
    str
        One of `READ_FORMATS`, one of `UNREAD_IMAGES`, or PDF, ZIP, text and so on. An unknown
        format is an empty text.

    Examples
    --------
    >>> format_of(b"GIF89a..."), format_of(b"Dear doctor,"), format_of(b"")
    ('GIF', 'text', '')
    """
    for place, signature, name in _SIGNATURES:
        if start.startswith(signature, place):
            return name
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return TEXT if start and _is_text(start) else ""


def _is_text(start: bytes) -> bool:
    try:
        text = start[:-3].decode() if len(start) == START_BYTES else start.decode()
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() or c == "\ufeff" for c in text)
