"""Augmented copies of an image: stateless, one composed affine map and one interpolation each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import affine_transform

from featx.specs import Spec


class AugmentationSpec(Spec):
    """How copies differ from their image. Defaults are the study's.

    Attributes
    ----------
    copies
        Augmented copies of each training image, besides the untouched image.
    seed
        Seed of the affine parameters.
    rotation
        Largest rotation in degrees, either way.
    zoom
        Largest zoom as a fraction; each axis is drawn from ``[1 - zoom, 1 + zoom]``.
    width_shift, height_shift
        Largest shift as a fraction of the image's side, either way.
    horizontal_flip
        Mirror half of the copies.
    """

    copies: int = Field(4, ge=0, le=1000)
    seed: int = Field(0, ge=0)
    rotation: float = Field(30.0, ge=0.0, le=180.0)
    zoom: float = Field(0.2, ge=0.0, lt=1.0)
    width_shift: float = Field(0.1, ge=0.0, le=1.0)
    height_shift: float = Field(0.1, ge=0.0, le=1.0)
    horizontal_flip: bool = True


@dataclass(frozen=True, slots=True)
class AffineParameters:
    """One copy's parameters, in the words and units of Keras's ``ImageDataGenerator``.

    Attributes
    ----------
    theta
        Rotation in degrees.
    tx, ty
        Shift along x (columns) and y (rows), in pixels.
    zx, zy
        Zoom along x and y.
    flip_horizontal
        Whether the copy is mirrored.
    """

    theta: float
    tx: float
    ty: float
    zx: float
    zy: float
    flip_horizontal: bool


def draw_parameters(
    spec: AugmentationSpec, image_sha256: str, copy: int, size: int
) -> AffineParameters:
    """Draw the parameters of copy `copy`, from the seed, the image's content and `copy` alone."""
    key = hashlib.sha256(f"{spec.seed}:{image_sha256}:{copy}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(key, "little"))
    theta, tx, ty, zx, zy, flip = random.uniform(-1.0, 1.0, 6)
    return AffineParameters(
        theta=float(theta * spec.rotation),
        tx=float(tx * spec.width_shift * size),
        ty=float(ty * spec.height_shift * size),
        zx=float(1.0 + zx * spec.zoom),
        zy=float(1.0 + zy * spec.zoom),
        flip_horizontal=bool(spec.horizontal_flip and flip < 0.0),
    )


def apply_affine(pixels: NDArray[np.float32], parameters: AffineParameters) -> NDArray[np.float32]:
    """Rotate, shift, zoom and mirror an image about its centre in one interpolation.

    The order (rotate, then shift, then zoom, then mirror), the centre and the signs are those of
    Keras's ``ImageDataGenerator.apply_transform``.

    Parameters
    ----------
    pixels : ndarray of shape (size, size, channels), dtype float32
    parameters
        What to do.

    Returns
    -------
    ndarray of shape (size, size, channels), dtype float32
        Bilinear; outside the image its nearest pixel.
    """
    height, width = pixels.shape[:2]
    # Arrays count (row, column) where the parameters say (x, y), so a turn has the other sign.
    angle = np.deg2rad(-parameters.theta)
    rotate = np.array(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0, 0, 1.0]]
    )
    shift = np.array([[1.0, 0.0, parameters.ty], [0.0, 1.0, parameters.tx], [0, 0, 1.0]])
    zoom = np.diag([parameters.zy, parameters.zx, 1.0])
    centre = np.array([[1.0, 0.0, height / 2 - 0.5], [0.0, 1.0, width / 2 - 0.5], [0, 0, 1.0]])
    uncentre = np.array([[1.0, 0.0, 0.5 - height / 2], [0.0, 1.0, 0.5 - width / 2], [0, 0, 1.0]])
    matrix = centre @ rotate @ shift @ zoom @ uncentre
    if parameters.flip_horizontal:
        matrix = matrix @ np.array([[1.0, 0.0, 0.0], [0.0, -1.0, width - 1.0], [0, 0, 1.0]])
    channels = [
        affine_transform(pixels[..., c], matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")
        for c in range(pixels.shape[2])
    ]
    return np.stack(channels, axis=-1)


def make_copy(
    pixels: NDArray[np.float32], spec: AugmentationSpec, image_sha256: str, copy: int
) -> NDArray[np.float32]:
    """Return copy `copy` of an image; copy 0 is the image itself.

    Parameters
    ----------
    pixels : ndarray of shape (size, size, channels), dtype float32
    spec
        Ranges and seed.
    image_sha256
        SHA-256 of the image file, hexadecimal.
    copy
        0 for the untouched image.
    """
    if copy == 0:
        return pixels
    return apply_affine(pixels, draw_parameters(spec, image_sha256, copy, pixels.shape[0]))
