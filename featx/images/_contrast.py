"""Histogram equalization, global or local: it makes images of different machines more alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Contrast = Literal["none", "equalize", "clahe"]

CLIP_LIMIT = 0.01
"""Share of a tile's pixels that one grey value may stand for, scikit-image's default."""


def apply_contrast(pixels: NDArray[np.float32], contrast: Contrast) -> NDArray[np.float32]:
    """Equalize the histogram of an image of shape (size, size, 1 or 3), values 0..255.

    ``equalize`` spreads grey values over the whole range. ``clahe`` does so in 8x8 tiles, with
    limited contrast (Zuiderveld 1994). Both are scikit-image's. Colours keep their hue.
    """
    if contrast == "none":
        return pixels
    if pixels.shape[-1] == 1:
        return _equalize(pixels[..., 0], contrast)[..., np.newaxis]
    colour = Image.fromarray(np.rint(pixels).astype(np.uint8), "RGB").convert("YCbCr")
    channels = np.array(colour)
    channels[..., 0] = np.rint(_equalize(channels[..., 0].astype(np.float32), contrast))
    return np.asarray(Image.fromarray(channels, "YCbCr").convert("RGB"), np.float32)


def _equalize(grey: NDArray[np.float32], contrast: Contrast) -> NDArray[np.float32]:
    from skimage.exposure import equalize_adapthist, equalize_hist

    scaled = grey.astype(np.float64) / 255.0
    if scaled.min() == scaled.max():  # nothing to spread
        return grey
    if contrast == "clahe":
        equalized = equalize_adapthist(scaled, clip_limit=CLIP_LIMIT)
    else:
        equalized = equalize_hist(scaled)
    return np.asarray(equalized * 255.0, np.float32)
