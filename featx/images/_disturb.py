"""Disturbances of an image's grey values: exposure, resolution, sharpness, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What is done to the grey values of one copy, in this order.

    Attributes
    ----------
    gamma
        Power of the grey values, as fractions of 255.
    contrast
        Factor of their differences from their mean.
    brightness_shift
        Number that is added to them. They then end at 0 and 255.
    downscale
        Factor by which the copy is scaled down, and up again.
    blur
        Standard deviation of a Gaussian blur, in pixels.
    noise
        Standard deviation of Gaussian noise.
    seed
        Seed of the noise.
    """

    gamma: float = 1.0
    contrast: float = 1.0
    brightness_shift: float = 0.0
    downscale: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0


def disturb(
    pixels: NDArray[np.float32], disturbance: Disturbance, *, equal_channels: int = 1
) -> NDArray[np.float32]:
    """Disturb an image of shape (size, size, channels) and grey values from 0 to 255.

    All channels get the same noise, so that grey stays grey. One channel may stand for some equal
    ones: it becomes what each of them would, bit for bit.
    """
    changed: NDArray[np.float32] = pixels
    if disturbance.gamma != 1.0:
        power = np.float32(disturbance.gamma)
        changed = np.float32(255.0) * np.power(changed.clip(0.0, 255.0) / np.float32(255.0), power)
    if disturbance.contrast != 1.0:
        # The last bit of a mean depends on the number of values.
        values = changed if equal_channels == 1 else np.repeat(changed, equal_channels, axis=-1)
        mean = values.mean(dtype=np.float64).astype(np.float32)
        changed = mean + (changed - mean) * np.float32(disturbance.contrast)
    if disturbance.brightness_shift:
        changed = changed + np.float32(disturbance.brightness_shift)
    changed = changed.clip(0.0, 255.0)
    if disturbance.downscale < 1.0:
        changed = _scaled_down_and_up(changed, disturbance.downscale)
    if disturbance.blur:
        changed = gaussian_filter(changed, disturbance.blur, axes=(0, 1), mode="nearest")
    if disturbance.noise:
        random = np.random.default_rng(disturbance.seed)
        noise = random.standard_normal((*pixels.shape[:2], 1), np.float32)
        changed = (changed + noise * np.float32(disturbance.noise)).clip(0.0, 255.0)
    return changed


def _scaled_down_and_up(pixels: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    height, width = pixels.shape[:2]
    small = max(1, round(width * factor)), max(1, round(height * factor))
    bilinear = Image.Resampling.BILINEAR
    channels = [
        np.asarray(
            Image.fromarray(channel).resize(small, bilinear).resize((width, height), bilinear)
        )
        for channel in np.moveaxis(pixels, -1, 0).copy()
    ]
    return np.stack(channels, axis=-1)
