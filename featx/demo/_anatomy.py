"""The chest of a phantom: its anatomy, its opacities, and the film of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from featx.demo._hospitals import Hospital

Field = NDArray[np.floating]
_Sizes = dict[str, float]
# Differences between patients, drawn evenly between two limits. Lengths are in half image
# widths, x to the right and y down from the image's center; brightness is 0 (black) to 1 (white).
# fmt: off
_ANATOMY: dict[str, tuple[float, float]] = {
    "midline": (-0.03, 0.03), "body_width": (0.84, 0.98), "shoulder": (-1.04, -0.86),
    "apex": (-0.78, -0.64), "apex_out": (0.27, 0.34), "base": (0.50, 0.72),
    "lung_width": (0.60, 0.74), "lung_waist": (2.0, 3.2), "hilum": (0.11, 0.16),
    "dome": (0.10, 0.20), "dome_lift": (0.02, 0.09), "mediastinum": (0.10, 0.17),
    "heart_x": (0.11, 0.17), "heart_y": (-0.31, -0.25), "heart_tilt": (0.55, 0.95),
    "heart_width": (0.25, 0.36), "heart_height": (0.20, 0.27),
    "rib_top": (-0.74, -0.62), "rib_spacing": (0.135, 0.175), "rib_drop": (0.5, 1.1),
    "rib_thickness": (0.36, 0.50), "rib_contrast": (0.05, 0.11), "scapula": (0.02, 0.09),
    "clavicle_y": (-0.56, -0.46), "clavicle_rise": (0.04, 0.16),
    "breast": (0.0, 0.10), "breast_y": (0.15, 0.45), "side_bias": (-0.04, 0.04),
    "tissue": (0.58, 0.70), "texture": (0.015, 0.04),
    "air_depth": (0.36, 0.50), "vessel_contrast": (0.09, 0.19),
}
# fmt: on
# Textures are kept on a square grid over the body coordinates -_REACH.._REACH.
_GRID, _REACH = 160, 1.15


def generator(*key: int | str) -> np.random.Generator:
    # A hash and not SeedSequence((seed, patient)): that takes (1,) and (1, 0) for the same.
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def cause_of(seed: int, patient: int) -> str:
    return "bacteria" if generator(seed, patient, "cause").random() < 0.5 else "virus"


def pose(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Return the body coordinates of every pixel, for a patient turned and moved a little."""
    angle, zoom = rng.normal(0, 0.03), rng.uniform(0.93, 1.05)
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    axis = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    right, down = axis[None, :] - rng.normal(0, 0.025), axis[:, None] - rng.normal(0, 0.025)
    return cos * right + sin * down, cos * down - sin * right


def _soft(distance: Field, width: float) -> Field:
    """Step from 0 to 1 where a signed distance passes 0, over about four widths."""
    step: Field = 0.5 + 0.5 * np.tanh(distance * (0.5 / width))
    return step


@dataclass(frozen=True, slots=True)
class Body:
    """Properties that a patient's views share: measures, and textures in body coordinates."""

    key: tuple[int, int]  # seed and patient
    sizes: _Sizes
    rib_jitter: Field
    texture: Field
    blotches: Field
    vessels: Field

    @classmethod
    def draw(cls, seed: int, patient: int) -> Body:
        rng = generator(seed, patient, "body")
        sizes = {name: float(rng.uniform(*limits)) for name, limits in _ANATOMY.items()}
        jitter = rng.uniform(0.6, 1.2, 32).astype(np.float32)  # one for each of 2 x 16 ribs
        texture = _smooth_noise(rng, {14.0: 1.0, 5.0: 0.6, 1.6: 0.45})
        blotches = _smooth_noise(rng, {6.0: 1.0, 2.5: 0.6})
        return cls((seed, patient), sizes, jitter, texture, blotches, _draw_vessels(rng, sizes))


def _smooth_noise(rng: np.random.Generator, weights: dict[float, float]) -> Field:
    """Return a (grid, grid) sum of noises, each smooth over so many grid steps, of deviation 1."""
    down, right = np.fft.fftfreq(_GRID)[:, None], np.fft.rfftfreq(_GRID)
    exponent = -2 * np.pi**2 * (down**2 + right**2)
    # Gaussian filters in Fourier space: all scales together cost one transform.
    gain: Field = np.sum([w * s * np.exp(exponent * s**2) for s, w in weights.items()], axis=0)
    gain[0, 0] = 0
    white = rng.standard_normal((2, *exponent.shape))
    smooth: Field = np.fft.irfft2(gain * (white[0] + 1j * white[1]), s=(_GRID, _GRID))
    return (smooth / float(smooth.std())).astype(np.float32)


def _draw_vessels(rng: np.random.Generator, sizes: _Sizes) -> Field:
    """Return a (grid, grid) field of branches that fan out from both hila and thin out."""
    branches, steps = 44, 60
    side = np.where(np.arange(branches) % 2, 1.0, -1.0)[:, None]
    start = rng.uniform(-1.25, 1.45, (branches, 1))
    heading = start + np.cumsum(rng.normal(0, 0.07, (branches, steps)), axis=1)
    reach = rng.uniform(0.4, 1.0, (branches, 1)) * 0.012
    out = sizes["hilum"] + 0.02 + np.cumsum(np.cos(heading) * reach, axis=1)
    column = _to_grid(sizes["midline"] + side * out)
    row = _to_grid(rng.normal(-0.05, 0.05, (branches, 1)) + np.cumsum(np.sin(heading) * reach, 1))
    lines = np.zeros((_GRID, _GRID), np.float32)
    np.add.at(lines, (row.astype(int), column.astype(int)), np.linspace(1, 0.15, steps))
    fine: Field = ndimage.gaussian_filter(np.minimum(lines, 1.5), 0.7)
    return np.minimum(fine + ndimage.gaussian_filter(lines, 3.0), np.float32(1.0))


def _to_grid(position: Field) -> Field:
    return ((position + _REACH) * ((_GRID - 1) / (2 * _REACH))).clip(0, _GRID - 1)


def _sample(grid: Field, x: Field, y: Field) -> Field:
    at = np.stack([_to_grid(y), _to_grid(x)])
    sampled: Field = ndimage.map_coordinates(grid, at, np.float32, order=1, prefilter=False)
    return sampled


def draw_body(body: Body, x: Field, y: Field) -> tuple[Field, Field]:
    """Return the brightness of a healthy chest, and how much air the rays meet, from 0 to 1."""
    a = body.sizes
    across = x - a["midline"]
    u, right = np.abs(across), (across > 0).astype(np.float32)
    inside = _lung_distance(a, u, y, right)
    heart = _soft(_heart_distance(a, across, y), 0.016)
    middle = _soft(_mediastinum_distance(a, across, y), 0.014)
    air = _soft(inside, 0.009) * (1 - 0.93 * heart) * (1 - 0.97 * middle)
    # The lung is thinner towards its border, so there is less air and more wall in the way.
    air *= 0.62 + 0.38 * np.tanh(np.maximum(inside, 0) / 0.13)
    tissue = a["tissue"] + 0.07 * y + a["texture"] * _sample(body.texture, x, y)
    heart *= _soft(a["base"] - 0.15 - y, 0.05)
    tissue += a["side_bias"] * np.tanh(3 * across) + 0.04 * (heart + middle)
    breast = np.exp(-(((u - 0.45) / 0.28) ** 2) - ((y - a["breast_y"]) / 0.22) ** 2)
    tissue += a["breast"] * breast + a["vessel_contrast"] * air * _sample(body.vessels, x, y)
    bone = _draw_ribs(body, u, y, right) + _draw_spine(u, y) + _draw_clavicles(a, u, y)
    blade = _soft(u - 0.62 - 0.12 * (y + 0.5), 0.02) * _soft(-0.02 - y, 0.03)
    # A film is nearly saturated behind thick tissue, so bone shows less there.
    tissue += bone * (0.4 + 0.6 * air) + a["scapula"] * blade
    tissue -= a["air_depth"] * air
    return 0.02 + _soft(_skin_distance(a, u, y), 0.012) * tissue, air


def _lung_distance(a: _Sizes, u: Field, y: Field, right: Field) -> Field:
    """Signed distance into the lungs. `u` is the distance from the midline."""
    up = 1 - np.clip((y - a["apex"]) / (a["base"] - a["apex"]), 0, 1)
    outer = a["apex_out"] + (a["lung_width"] - a["apex_out"]) * np.sqrt(1 - up ** a["lung_waist"])
    inner = a["apex_out"] - (a["apex_out"] - a["hilum"]) * np.sqrt(1 - up**6)
    # The liver lifts the diaphragm on the patient's right, the image's left.
    lift = a["dome"] * (1 - ((u - 0.36) / 0.36) ** 2) + a["dome_lift"] * (1 - right)
    ends = np.minimum(a["base"] - lift - y, y - a["apex"])
    distance: Field = np.minimum(np.minimum(u - inner, outer - u), ends)
    return distance


def _heart_distance(a: _Sizes, across: Field, y: Field) -> Field:
    down = y - a["base"] - a["heart_y"]
    size = a["heart_width"], a["heart_height"]
    left = _ellipse(across - a["heart_x"], down, *size, a["heart_tilt"])
    atrium = _ellipse(across + 0.02, down - 0.02, a["mediastinum"] + 0.06, 0.30, 0.15)
    return np.maximum(left, atrium)


def _mediastinum_distance(a: _Sizes, across: Field, y: Field) -> Field:
    band = a["mediastinum"] * (0.85 + 0.15 * np.cos(5 * y)) - np.abs(across)
    knob = _ellipse(across - a["mediastinum"], y + 0.30, 0.07, 0.08, 0.0)
    return np.maximum(band, knob)


def _skin_distance(a: _Sizes, u: Field, y: Field) -> Field:
    arms = a["body_width"] + 0.25 * _soft(-0.30 - y, 0.06) + 0.04 * y
    shoulder = y - a["shoulder"] - 0.45 * np.maximum(u - 0.25, 0) ** 1.5
    distance: Field = np.minimum(arms - u, np.maximum(shoulder, 0.27 - u))
    return distance


def _ellipse(dx: Field, dy: Field, width: float, height: float, tilt: float) -> Field:
    """Roughly the signed distance into an ellipse with its center at 0."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    radius: Field = np.hypot((cos * dx + sin * dy) / width, (cos * dy - sin * dx) / height)
    return (1 - radius) * min(width, height)


def _draw_ribs(body: Body, u: Field, y: Field, right: Field) -> Field:
    a = body.sizes
    wall = a["lung_width"] + 0.05 - 0.30 * (-0.25 - y).clip(0, 1)
    cage = _soft(wall - u, 0.015) * _soft(0.72 - y, 0.05) * _soft(y - a["rib_top"], 0.03)
    back = (y - a["rib_top"] - a["rib_drop"] * (u - 0.22) ** 2) / a["rib_spacing"]
    front = (y - a["rib_top"] + 0.75 * (u - 0.75)) / (1.15 * a["rib_spacing"])
    total = _rib_bands(back, a["rib_thickness"], body.rib_jitter, right) * _soft(u - 0.06, 0.02)
    faint = _rib_bands(front, a["rib_thickness"] + 0.1, body.rib_jitter[::-1], right)
    total += 0.5 * faint * _soft(u - 0.36, 0.05)
    return a["rib_contrast"] * cage * total


def _rib_bands(phase: Field, thickness: float, jitter: Field, right: Field) -> Field:
    """Draw a band at each whole phase, brighter at its cortex, no two of the same strength."""
    number: Field = np.floor(phase)
    off = np.abs(phase - number - 0.5) * 2
    band = _soft(thickness - off, 0.05) * 0.75
    band += 0.35 * np.exp(-(((off - thickness + 0.08) / 0.11) ** 2))
    return band * jitter[(number.clip(0, 15) + 16 * right).astype(np.intp)]


def _draw_spine(u: Field, y: Field) -> Field:
    column: Field = _soft(0.075 - u, 0.012) * (0.07 + 0.03 * np.cos(2 * math.pi / 0.15 * y))
    return column - 0.16 * _soft(0.035 - u, 0.012) * _soft(-0.22 - y, 0.03)  # with a windpipe


def _draw_clavicles(a: _Sizes, u: Field, y: Field) -> Field:
    course = a["clavicle_y"] - a["clavicle_rise"] * np.tanh(3 * (u - 0.2)) - 0.06 * np.sin(6 * u)
    off = np.abs(y - course)
    bone: Field = 0.1 * _soft(0.038 - off, 0.007) + 0.05 * np.exp(-(((off - 0.032) / 0.01) ** 2))
    return bone * _soft(u - 0.08, 0.012) * _soft(0.85 - u, 0.03)


def draw_opacities(body: Body, x: Field, y: Field, hospital: Hospital) -> tuple[Field, Field]:
    """Return the share of the air that gave way, and the extent of the lesions, from 0 to 1."""
    rng, blotchy = generator(*body.key, "lesions"), cause_of(*body.key) == "virus"
    rough = _sample(body.blotches, x, y)
    clear, extent = np.ones_like(x), np.zeros_like(x)
    for cx, cy in _lesion_centers(rng, body, blotchy, hospital.opacities):
        width, height = rng.uniform(0.17, 0.34, 2) * (1.35 if blotchy else 1.0)
        tilt, density = rng.uniform(0, math.pi), rng.uniform(*hospital.density)
        depth = _ellipse(x - cx, y - cy, float(width), float(height), tilt)
        patches = _soft(rough + 0.3, 0.35) if blotchy else 0.9 + 0.1 * rough
        profile = np.clip(_soft(depth + 0.03 * rough, 0.035) * patches, 0, 1)
        profile *= x * cx > 0  # the other lung has lesions of its own
        clear *= 1 - density * profile
        extent = np.maximum(extent, profile)
    return 1 - clear, extent


def _lesion_centers(
    rng: np.random.Generator, body: Body, blotchy: bool, number: tuple[int, int]
) -> Field:
    """Choose some points deep in the lungs, as an array of shape (points, 2) of x, y."""
    axis = np.linspace(-0.9, 0.9, 64, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    fit = draw_body(body, x, y)[1] > 0.7
    if blotchy:  # which shows only where the blotch field is high
        fit &= _sample(body.blotches, x, y) > 0
    chosen = rng.choice(np.flatnonzero(fit), rng.integers(number[0], number[1] + 1))
    return np.stack([x.ravel()[chosen], y.ravel()[chosen]], axis=1)


def expose(brightness: Field, rng: np.random.Generator, hospital: Hospital) -> NDArray[np.uint8]:
    """Turn brightness into pixels, with the exposure and noise of one film."""
    ramp = np.linspace(-1, 1, len(brightness), dtype=np.float32)
    gain, offset, gamma = rng.uniform(0.85, 1.15), rng.uniform(-0.06, 0.06), rng.uniform(0.8, 1.25)
    lit = brightness + rng.normal(0, 0.02) * ramp[:, None] + rng.normal(0, 0.02) * ramp
    film: Field = (0.5 + offset + gain * (lit - 0.5)).clip(0, 1) ** gamma
    film = hospital.display(film)
    grain = rng.standard_normal(brightness.shape, np.float32)
    grain = ndimage.gaussian_filter(grain, rng.uniform(0.3, 0.8), truncate=2.5)
    film += rng.uniform(0.010, 0.028) / float(grain.std()) * grain
    return (film.clip(0, 1) * 255 + 0.5).astype(np.uint8)
