"""Image files that Pillow opens: one image each, and what its numbers mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from featx.data._formats import (
    PILLOW_FORMATS,
    READ_FORMATS,
    START_BYTES,
    TEXT,
    UNREAD_IMAGES,
    format_of,
)

_WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_BITS, _PHOTOMETRIC, _SUBFILE, _SAMPLE_FORMAT = 258, 262, 254, 339
_LOWEST, _HIGHEST = 340, 341
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_NO_PAGE = 0b101
"""Bits of NewSubfileType: a smaller copy of another page, or its transparency."""
_MAX_PAGES = 64
_PHOTOMETRIC_NAMES = {
    0: "MinIsWhite", 1: "MinIsBlack", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr",
    8: "CIELab",
}  # fmt: skip
_SAMPLE_NAMES = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "float"}


@dataclass(frozen=True, slots=True)
class Samples:
    """Meaning of the numbers in an image, if they are signed or have more than 8 bits.

    Attributes
    ----------
    low, high
        Values that are shown as 0 and as 255.
    stored
        Type of the numbers in the file, or None if Pillow gives them the same.
    negative
        Whether the lowest value is white.
    """

    low: float
    high: float
    stored: type[np.generic] | None = None
    negative: bool = False


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image file, without decoding it.

    If a file has several JPEG images (MPO), the first is taken. An animated PNG gives the image
    that other programs show. Smaller copies and masks in a TIFF file don't count as pages. A
    ValueError names another kind of file, or one of several pages.
    """
    try:
        image = Image.open(file, formats=PILLOW_FORMATS)
    except (UnidentifiedImageError, KeyError) as error:  # KeyError: an unknown compression
        raise ValueError(_refusal(file)) from error
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        pages = _pages(image)
    else:
        pages = getattr(image, "n_frames", 1) if image.format == "WEBP" else 1
    if pages > 1:
        several = f"more than {_MAX_PAGES}" if pages > _MAX_PAGES else str(pages)
        raise ValueError(f"a {image.format} file of {several} pages, not one image")
    return image


def samples_of(image: Image.Image) -> Samples | None:
    """Say what the numbers in an image mean, or None if Pillow converts them itself (8 bits).

    The range comes from the bits of a sample, or from SMinSampleValue and SMaxSampleValue in a TIFF
    file (TIFF 6.0, page 83), and never from the content. A ValueError says that a file has none.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return Samples(0.0, 65535.0) if image.mode in _WIDE_MODES else None
    kind = _first(image.tag_v2.get(_SAMPLE_FORMAT, _UNSIGNED))
    if image.mode not in _WIDE_MODES and kind != _SIGNED:
        return None
    bits = int(_first(image.tag_v2.get(_BITS, 1)))
    low, high = 0.0, 2.0**bits - 1.0
    if kind == _SIGNED:
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0
    if kind == _FLOAT:
        low = high = math.nan
    low = float(_first(image.tag_v2.get(_LOWEST, low)))
    high = float(_first(image.tag_v2.get(_HIGHEST, high)))
    if math.isnan(low) or math.isnan(high):
        raise ValueError(
            f"a TIFF image of {bits}-bit floats (mode {image.mode}) that doesn't say which values "
            "are black and white: save it as 16-bit grey, or with SMinSampleValue and "
            "SMaxSampleValue"
        )
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"a TIFF image whose values go from {low:g} to {high:g}, as it says")
    stored: type[np.generic] | None = None
    if (image.mode, kind) == ("I", _UNSIGNED):
        stored = np.uint32
    elif (image.mode, kind) == ("L", _SIGNED):
        stored = np.int8
    return Samples(low, high, stored, image.tag_v2.get(_PHOTOMETRIC) == 0)


def _pages(image: TiffImagePlugin.TiffImageFile) -> int:
    """Count the pages of a TIFF file, not further than needed."""
    if not image.tag_v2.next:
        return 1
    pages = 1
    try:
        for number in range(1, _MAX_PAGES + 1):
            image.seek(number)
            pages += not int(image.tag_v2.get(_SUBFILE, 0)) & _NO_PAGE
        return _MAX_PAGES + 1
    except EOFError:
        return pages
    finally:
        image.seek(0)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _refusal(file: IO[bytes]) -> str:
    """Say what a file is that Pillow can't open."""
    file.seek(0)
    start = file.read(START_BYTES)
    name = format_of(start)
    if not start:
        return "the file is empty"
    if name == "TIFF":
        return _tiff_refusal(file, start)
    if name in READ_FORMATS:
        return f"a damaged {name} image"
    if name in UNREAD_IMAGES:
        return f"{name}, an image format that featx doesn't read"
    if name == TEXT:
        return "text, not an image"
    return f"a {name} file, not an image" if name else "not an image that featx reads"


def _tiff_refusal(file: IO[bytes], start: bytes) -> str:
    """Name the kind of pixels that Pillow doesn't know."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(start[: 16 if 43 in start[2:4] else 8])
        file.seek(tags.next)
        tags.load(file)
        bits = tags.get(_BITS, 1)
        widths = bits if isinstance(bits, tuple) else (bits,)
        kind = int(_first(tags.get(_SAMPLE_FORMAT, _UNSIGNED)))
        photometric = int(tags[_PHOTOMETRIC])
        said = (
            "+".join(str(int(width)) for width in widths[:8]) + " bits",
            _SAMPLE_NAMES.get(kind, f"SampleFormat {kind}"),
            _PHOTOMETRIC_NAMES.get(photometric, f"PhotometricInterpretation {photometric}"),
            "big-endian" if start[:1] == b"M" else "little-endian",
        )
    except Exception:  # noqa: BLE001 - it has many ways to be damaged
        return "a damaged TIFF image"
    return (
        f"a TIFF image of a kind that can't be read ({', '.join(said)}): "
        "save it as 8- or 16-bit grey"
    )
