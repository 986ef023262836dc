"""Disturbances of the stress test: each changes one thing, in three strengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from featx._specs import require_known
from featx.images import AugmentationSpec, preset_augmentation

CONFLICT = "conflict"
"""Name with which conflict images are asked for."""


@dataclass(frozen=True, slots=True)
class DisturbanceSeries:
    """A disturbance in three strengths.

    Attributes
    ----------
    name
        Name of the disturbance.
    unit
        Meaning of the values, and their unit.
    values
        Values of the three strengths, as tables write them. With ±, each image gets a value drawn
        evenly from that range. Only its content and the seed decide it. σ is a standard deviation.
    augmentations
        Augmentation of each strength. Its copy 1 is the disturbed image.

    Examples
    --------
    >>> blur = DISTURBANCES["blur"]
    >>> blur.values, blur.augmentations[-1].blur
    (('σ 0.75', 'σ 1.5', 'σ 3'), (3.0, 3.0))
    """

    name: str
    unit: str
    values: tuple[str, ...]
    augmentations: tuple[AugmentationSpec, ...]


def _series(
    name: str, unit: str, text: str, field: str, values: Iterable[tuple[float, Any]]
) -> DisturbanceSeries:
    """Return a disturbance of one field of the augmentation: pairs of a number and its value."""
    pairs = tuple(values)
    still = {"copies": 1, "horizontal_flip": False} | dict.fromkeys(
        ("rotation", "zoom", "width_shift", "height_shift"), 0.0
    )
    return DisturbanceSeries(
        name,
        unit,
        tuple(text.format(number) for number, _ in pairs),
        tuple(AugmentationSpec.model_validate(still | {field: value}) for _, value in pairs),
    )


def _exactly(*numbers: float) -> list[tuple[float, Any]]:
    return [(number, (number, number)) for number in numbers]


def _up_to(*numbers: float) -> list[tuple[float, Any]]:
    return [(number, number) for number in numbers]


def _shift(factor: float) -> AugmentationSpec:
    """Return the preset shift with ranges that are `factor` times as wide."""
    preset = preset_augmentation("shift")
    (low, high), (least, most), (quiet, loud) = preset.contrast_factor, preset.blur, preset.noise
    return preset.model_copy(
        update={
            "copies": 1,
            "rotation": preset.rotation * factor,
            "crop": (preset.crop[0] ** factor, 1.0),
            "crop_aspect": preset.crop_aspect * factor,
            "gamma": preset.gamma * factor,
            "contrast_factor": (1.0 - (1.0 - low) * factor, 1.0 + (high - 1.0) * factor),
            "brightness_shift": preset.brightness_shift * factor,
            "downscale": (preset.downscale[0] ** factor, 1.0),
            "blur": (least * factor, most * factor),
            "noise": (quiet * factor, loud * factor),
        }
    )


_FACTORS = (0.5, 1.0, 1.5)
_ALL = (
    _series("crop", "share of the area that is kept", "{:.0%}", "crop", _exactly(0.8, 0.6, 0.4)),
    _series("rotation", "degrees", "±{:g}°", "rotation", _up_to(5.0, 10.0, 20.0)),
    _series("gamma", "power of the grey values", "e^±{:g}", "gamma", _up_to(0.2, 0.4, 0.8)),
    _series(
        "contrast",
        "factor of the differences from the mean grey value",
        "1±{:g}",
        "contrast_factor",
        [(number, (1.0 - number, 1.0 + number)) for number in (0.2, 0.4, 0.6)],
    ),
    _series("brightness", "out of 255", "±{:g}", "brightness_shift", _up_to(20.0, 40.0, 80.0)),
    _series("blur", "pixels of the network's input", "σ {:g}", "blur", _exactly(0.75, 1.5, 3.0)),
    _series("noise", "out of 255", "σ {:g}", "noise", _exactly(4.0, 8.0, 16.0)),
    _series(
        "downscale",
        "share of the side that is kept",
        "{:.0%}",
        "downscale",
        _exactly(0.7, 0.5, 0.3),
    ),
    DisturbanceSeries(
        "shift",
        "the preset, all of these together, with ranges so many times as wide",
        tuple(f"x{factor:g}" for factor in _FACTORS),
        tuple(map(_shift, _FACTORS)),
    ),
)

DISTURBANCES: dict[str, DisturbanceSeries] = {series.name: series for series in _ALL}
"""Disturbances by name. One thing at a time, in growing strengths, as in MedMNIST-C (Di Salvo et
al. 2024). The strengths surround the ranges of the preset shift."""


def choose_disturbances(names: Sequence[str]) -> tuple[list[DisturbanceSeries], bool]:
    """Return the disturbances that were asked for, and whether conflict images were.

    No names ask for everything.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    for name in names:
        require_known("disturbance", name, (*DISTURBANCES, CONFLICT))
    chosen = [series for name, series in DISTURBANCES.items() if not names or name in names]
    return chosen, not names or CONFLICT in names
