"""Augmented copies of an image: stateless, one composed affine map and one interpolation each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.ndimage import affine_transform

from featx._specs import Spec, require_known
from featx.images._disturb import Disturbance, disturb

FillMode = Literal["nearest", "constant", "reflect", "wrap"]


class AugmentationSpec(Spec):
    """Differences of copies from their image. The defaults are the study's.

    Names, units and order of the first are those of Keras's ``ImageDataGenerator``. Those from
    `crop` on are disturbances that X-rays meet at another hospital: another field of view,
    exposure, resolution, sharpness, noise. They are applied in the order in which they stand here.

    Attributes
    ----------
    copies
        Augmented copies of each training image, besides the untouched image.
    seed
        Seed of the parameters.
    rotation
        Largest rotation in degrees, either way.
    zoom
        Largest zoom as a fraction. Each axis is drawn from ``[1 - zoom, 1 + zoom]``.
    width_shift, height_shift
        Largest shift as a fraction of the image's side, either way.
    horizontal_flip
        Mirror half of the copies. The heart is then on the right.
    shear
        Largest shear angle in degrees, either way.
    brightness
        Grey values are multiplied by a factor drawn from this range, and end at 255.
    vertical_flip
        Turn half of the copies upside down.
    fill_mode
        Pixels outside the image: its ``nearest`` pixel, black (``constant``), its mirror image
        (``reflect``) or the image again (``wrap``).
    crop
        Share of the image's area that a copy keeps, drawn from this range. What is kept fills the
        copy.
    crop_aspect
        Largest change of the aspect ratio of what is kept, either way: the ratio is ``e`` to the
        power of a number from ``[-crop_aspect, crop_aspect]``.
    gamma
        Largest gamma, either way: grey values, as fractions of 255, are raised to the power of
        ``e`` to a number from ``[-gamma, gamma]``.
    contrast_factor
        Differences of grey values from the image's mean are multiplied by a factor drawn from this
        range.
    brightness_shift
        Largest number that is added to the grey values, either way, out of 255.
    downscale, downscale_share
        Factor by which a copy is scaled down, and up again, drawn from this range, in this share of
        the copies.
    blur, blur_share
        Standard deviation of a Gaussian blur in pixels of the network's input, drawn from this
        range, in this share of the copies.
    noise, noise_share
        Standard deviation of Gaussian noise out of 255, drawn from this range, in this share of the
        copies.

    Examples
    --------
    >>> AugmentationSpec(copies=2, rotation=10, horizontal_flip=False).copies
    2
    """

    copies: int = Field(4, ge=0, le=1000)
    seed: int = Field(0, ge=0)
    rotation: float = Field(30.0, ge=0.0, le=180.0)
    zoom: float = Field(0.2, ge=0.0, lt=1.0)
    width_shift: float = Field(0.1, ge=0.0, le=1.0)
    height_shift: float = Field(0.1, ge=0.0, le=1.0)
    horizontal_flip: bool = True
    shear: float = Field(0.0, ge=0.0, lt=90.0)
    brightness: tuple[float, float] = (1.0, 1.0)
    vertical_flip: bool = False
    fill_mode: FillMode = "nearest"
    crop: tuple[float, float] = (1.0, 1.0)
    crop_aspect: float = Field(0.0, ge=0.0, le=1.0)
    gamma: float = Field(0.0, ge=0.0, le=3.0)
    contrast_factor: tuple[float, float] = (1.0, 1.0)
    brightness_shift: float = Field(0.0, ge=0.0, le=255.0)
    downscale: tuple[float, float] = (1.0, 1.0)
    downscale_share: float = Field(1.0, ge=0.0, le=1.0)
    blur: tuple[float, float] = (0.0, 0.0)
    blur_share: float = Field(1.0, ge=0.0, le=1.0)
    noise: tuple[float, float] = (0.0, 0.0)
    noise_share: float = Field(1.0, ge=0.0, le=1.0)

    added: ClassVar[frozenset[str]] = frozenset(
        {
            *("shear", "brightness", "vertical_flip", "fill_mode"),
            *("crop", "crop_aspect", "gamma", "contrast_factor", "brightness_shift"),
            *("downscale", "downscale_share", "blur", "blur_share", "noise", "noise_share"),
        }
    )

    @field_validator("brightness", "contrast_factor", "blur", "noise")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0.0 <= low <= high <= 100.0:
            raise ValueError("give two numbers, the smaller one first, between 0 and 100")
        return value

    @field_validator("crop", "downscale")
    @classmethod
    def _shares(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0.01 <= low <= high <= 1.0:
            raise ValueError("give two numbers, the smaller one first, between 0.01 and 1")
        return value


PRESETS: dict[str, dict[str, object]] = {
    "none": {"copies": 0},
    "study": {},
    "chest": {
        "rotation": 10.0,
        "zoom": 0.1,
        "width_shift": 0.05,
        "height_shift": 0.05,
        "horizontal_flip": False,
        "brightness": (0.9, 1.1),
    },
    "shift": {
        "copies": 2,
        "rotation": 10.0,
        "zoom": 0.0,
        "width_shift": 0.0,
        "height_shift": 0.0,
        "horizontal_flip": False,
        "crop": (0.35, 1.0),
        "crop_aspect": 0.25,
        "gamma": 0.35,
        "contrast_factor": (0.6, 1.4),
        "brightness_shift": 40.0,
        "downscale": (0.4, 1.0),
        "downscale_share": 0.3,
        "blur": (0.3, 2.2),
        "blur_share": 0.7,
        "noise": (1.0, 8.0),
        "noise_share": 0.5,
    },
}
"""``none``: no copies. ``study``: the defaults. ``chest``: changes that another technician, patient
or machine might make to a chest X-ray. The heart stays on its side. ``shift``: what another
hospital might do to it: field of view, exposure, resolution, sharpness, noise."""


def preset_augmentation(name: str, **changes: object) -> AugmentationSpec:
    """Return the augmentation of a preset, with some of its values changed.

    Parameters
    ----------
    name
        ``shift`` (disturbances as at another hospital), ``study`` (large turns, zooms and shifts,
        mirrored), ``chest`` (gentle, not mirrored) or ``none``.
    changes
        Fields of `AugmentationSpec`. None leaves the preset's value.

    Raises
    ------
    InputError
        If the name is unknown.
    pydantic.ValidationError
        If a value is out of range.

    Examples
    --------
    >>> preset_augmentation("chest", copies=2).rotation
    10.0
    """
    require_known("augmentation preset", name, PRESETS)
    given = {field: value for field, value in changes.items() if value is not None}
    return AugmentationSpec.model_validate(PRESETS[name] | given)


@dataclass(frozen=True, slots=True)
class CopyParameters:
    """One copy's parameters, in the words and units of Keras's ``ImageDataGenerator``.

    Attributes
    ----------
    theta
        Rotation in degrees.
    tx, ty
        Shift along x (columns) and y (rows), in pixels.
    zx, zy
        Zoom along x and y.
    flip_horizontal, flip_vertical
        Whether the copy is mirrored, or upside down.
    shear
        Shear angle in degrees.
    brightness
        Factor of grey values.
    height, width
        Share of each side that a crop keeps.
    top, left
        Shift of the crop's centre from the image's, in pixels.
    disturbance
        Changes of the grey values. None changes nothing.
    """

    theta: float
    tx: float
    ty: float
    zx: float
    zy: float
    flip_horizontal: bool
    flip_vertical: bool = False
    shear: float = 0.0
    brightness: float = 1.0
    height: float = 1.0
    width: float = 1.0
    top: float = 0.0
    left: float = 0.0
    disturbance: Disturbance | None = None


def draw_parameters(
    spec: AugmentationSpec, image_sha256: str, copy: int, size: int
) -> CopyParameters:
    """Draw the parameters of a copy from its number, the seed and the image's content alone."""
    key = hashlib.sha256(f"{spec.seed}:{image_sha256}:{copy}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(key, "little"))
    # New parameters are drawn last, so that the old ones stay what they were.
    theta, tx, ty, zx, zy, flip, shear, upside, light = random.uniform(-1.0, 1.0, 9)
    disturbs = _disturbs(spec)
    extra = random.uniform(-1.0, 1.0, 13) if disturbs else np.zeros(13)
    height, width, top, left = _draw_crop(spec, extra[:4], size)
    return CopyParameters(
        theta=float(theta * spec.rotation),
        tx=float(tx * spec.width_shift * size),
        ty=float(ty * spec.height_shift * size),
        zx=float(1.0 + zx * spec.zoom),
        zy=float(1.0 + zy * spec.zoom),
        flip_horizontal=bool(spec.horizontal_flip and flip < 0.0),
        flip_vertical=bool(spec.vertical_flip and upside < 0.0),
        shear=float(shear * spec.shear),
        brightness=_between(spec.brightness, light),
        height=height,
        width=width,
        top=top,
        left=left,
        disturbance=_draw_disturbance(spec, extra[4:], random) if disturbs else None,
    )


_FIRST_DISTURBANCE = list(AugmentationSpec.model_fields).index("crop")
_DISTURBANCES = tuple(AugmentationSpec.model_fields)[_FIRST_DISTURBANCE:]


def _disturbs(spec: AugmentationSpec) -> bool:
    fields = AugmentationSpec.model_fields
    return any(getattr(spec, name) != fields[name].default for name in _DISTURBANCES)


def _between(ends: tuple[float, float], drawn: float) -> float:
    """Take a number from -1 to 1 to a range."""
    low, high = ends
    return float(low + (drawn + 1.0) / 2.0 * (high - low))


def _draw_crop(
    spec: AugmentationSpec, drawn: NDArray[np.float64], size: int
) -> tuple[float, float, float, float]:
    """Return the sides of a crop as shares of the image's, and the shift of its centre."""
    area, aspect, top, left = drawn
    kept, ratio = np.sqrt(_between(spec.crop, area)), np.exp(aspect * spec.crop_aspect / 2.0)
    height, width = min(kept / ratio, 1.0), min(kept * ratio, 1.0)
    return (
        float(height),
        float(width),
        float(top * (1.0 - height) / 2.0 * size),
        float(left * (1.0 - width) / 2.0 * size),
    )


def _draw_disturbance(
    spec: AugmentationSpec, drawn: NDArray[np.float64], random: np.random.Generator
) -> Disturbance:
    gamma, contrast, shift, *pairs = drawn.tolist()

    def sometimes(ends: tuple[float, float], share: float, pair: list[float], none: float) -> float:
        return _between(ends, pair[0]) if (pair[1] + 1.0) / 2.0 < share else none

    return Disturbance(
        gamma=float(np.exp(gamma * spec.gamma)),
        contrast=_between(spec.contrast_factor, contrast),
        brightness_shift=shift * spec.brightness_shift,
        downscale=sometimes(spec.downscale, spec.downscale_share, pairs[:2], 1.0),
        blur=sometimes(spec.blur, spec.blur_share, pairs[2:4], 0.0),
        noise=sometimes(spec.noise, spec.noise_share, pairs[4:], 0.0),
        seed=int(random.integers(2**63)),
    )


def apply_affine(
    pixels: NDArray[np.float32], parameters: CopyParameters, fill_mode: FillMode = "nearest"
) -> NDArray[np.float32]:
    """Rotate, shift, shear, zoom, mirror and crop an image in one interpolation.

    The order (rotate, then shift, shear, zoom, mirror), the centre and the signs are those of
    Keras's ``ImageDataGenerator.apply_transform``. The crop is last. Grey values are left alone.
    `pixels` have the shape (size, size, channels). The interpolation is bilinear.
    """
    height, width = pixels.shape[:2]
    # Arrays count (row, column) where the parameters say (x, y), so a turn has the other sign.
    angle, shear = np.deg2rad(-parameters.theta), np.deg2rad(parameters.shear)
    rotate = np.array(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0, 0, 1.0]]
    )
    shift = np.array([[1.0, 0.0, parameters.ty], [0.0, 1.0, parameters.tx], [0, 0, 1.0]])
    slant = np.array([[np.cos(shear), 0.0, 0.0], [-np.sin(shear), 1.0, 0.0], [0, 0, 1.0]])
    zoom = np.diag([parameters.zy, parameters.zx, 1.0])
    centre = np.array([[1.0, 0.0, height / 2 - 0.5], [0.0, 1.0, width / 2 - 0.5], [0, 0, 1.0]])
    uncentre = np.array([[1.0, 0.0, 0.5 - height / 2], [0.0, 1.0, 0.5 - width / 2], [0, 0, 1.0]])
    matrix = centre @ rotate @ shift @ slant @ zoom @ uncentre
    if parameters.flip_horizontal:
        matrix = matrix @ np.array([[1.0, 0.0, 0.0], [0.0, -1.0, width - 1.0], [0, 0, 1.0]])
    if parameters.flip_vertical:
        matrix = matrix @ np.array([[-1.0, 0.0, height - 1.0], [0.0, 1.0, 0.0], [0, 0, 1.0]])
    if (parameters.height, parameters.width) != (1.0, 1.0):
        crop = np.diag([parameters.height, parameters.width, 1.0])
        crop[:2, 2] = parameters.top, parameters.left
        matrix = matrix @ centre @ crop @ uncentre
    channels = [
        affine_transform(pixels[..., c], matrix[:2, :2], matrix[:2, 2], order=1, mode=fill_mode)
        for c in range(pixels.shape[2])
    ]
    return np.stack(channels, axis=-1)


def make_copy(
    pixels: NDArray[np.float32], spec: AugmentationSpec, image_sha256: str, copy: int
) -> NDArray[np.float32]:
    """Return an augmented copy of an image. Copy 0 is the image itself.

    Parameters
    ----------
    pixels : ndarray of shape (size, size, channels), dtype float32
    spec
        Ranges and seed.
    image_sha256
        SHA-256 of the image file, hexadecimal.
    copy
        Number of the copy.

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    >>> spec = AugmentationSpec(rotation=0, zoom=0, width_shift=0, height_shift=0)
    >>> make_copy(pixels, spec, "0" * 64, 2)[0, :, 0]
    array([3., 2., 1., 0.], dtype=float32)
    """
    if copy == 0:
        return pixels
    parameters = draw_parameters(spec, image_sha256, copy, pixels.shape[0])
    # Many X-rays are grey and stored in colour. They take a third of the time.
    equal = pixels.shape[-1] if (pixels == pixels[..., :1]).all() else 1
    changed = apply_affine(pixels[..., :1] if equal > 1 else pixels, parameters, spec.fill_mode)
    if parameters.brightness != 1.0:
        changed = (changed * np.float32(parameters.brightness)).clip(0.0, 255.0)
    if parameters.disturbance is not None:
        changed = disturb(changed, parameters.disturbance, equal_channels=equal)
    return np.repeat(changed, equal, axis=-1) if equal > 1 else changed
