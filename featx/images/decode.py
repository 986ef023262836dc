"""From an image file to a resized array, grey images kept in one channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from featx.data import reason_of
from featx.errors import FeatxError

_WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})


class UnreadableImageError(FeatxError):
    """An image file that can't be decoded; `reason` says why, without the path."""

    exit_code = 2

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"can't read the image {path}: {reason}")


def decode(path: Path, size: int) -> NDArray[np.float32]:
    """Read an image and resize it to a square, as Keras's ``load_img`` does with bilinear filter.

    The EXIF orientation is applied, transparency dropped, a palette resolved; 16-bit images are
    scaled to 0..255 by their format's range, not by their content. The aspect ratio isn't kept,
    as in the study.

    Parameters
    ----------
    path
        A JPEG or PNG file.
    size
        Side of the square, in pixels.

    Returns
    -------
    ndarray of shape (size, size, 1) or (size, size, 3), dtype float32
        Values 0..255; one channel for grey images, RGB else.

    Raises
    ------
    UnreadableImageError
        When the file is missing, empty, truncated, not an image, or too large to be one.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in _WIDE_MODES:
                return _resize_wide(image, size)
            grey = image.mode in ("1", "L", "LA")
            image = image.convert("L" if grey else "RGB")
            image = image.resize((size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(path, reason_of(error)) from error
    return pixels.reshape(size, size, -1)


def _resize_wide(image: Image.Image, size: int) -> NDArray[np.float32]:
    """Resize an image of more than 8 bits in floating point, then scale it to 0..255."""
    values = np.asarray(image).astype(np.float32)
    full = 255.0 if image.mode == "F" else 65535.0
    wide = Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR)
    scaled = np.asarray(wide, np.float32) * np.float32(255.0 / full)
    return scaled.clip(0.0, 255.0).reshape(size, size, 1)
