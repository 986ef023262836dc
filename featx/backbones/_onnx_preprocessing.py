"""Preprocessing of an ONNX network: what the configuration beside it says, or a choice by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from featx.backbones._spec import LARGEST_INPUT, NormalizationSpec, Preprocess
from featx.errors import InputError
from featx_cache.files import open_regular

PROCESSOR_NAME = "preprocessor_config.json"
TIMM_NAME = "config.json"
MAX_CONFIG_BYTES = 2**20
IMAGENET = NormalizationSpec(rescale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Torchvision's normalization for networks trained on ImageNet, which timm takes for most, too."""

T = TypeVar("T", bound=BaseModel)
_Side = Annotated[int, Field(ge=1, le=LARGEST_INPUT)]


class _Sides(BaseModel):
    """Sides of an image as Hugging Face writes them. ``longest_edge`` and others aren't used."""

    model_config = ConfigDict(strict=True)
    height: _Side | None = None
    width: _Side | None = None
    shortest_edge: _Side | None = None

    @property
    def side(self) -> int | None:
        """Side of the square, if it is one."""
        return self.shortest_edge if self.height != self.width or not self.height else self.height


class _Processor(BaseModel):
    """An image processor of Hugging Face's Transformers, as far as featx does what it says.

    A processor that doesn't say so rescales and normalizes.
    """

    model_config = ConfigDict(strict=True)
    size: _Side | _Sides | None = None
    do_center_crop: bool = False
    crop_size: _Side | _Sides | None = None
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: float | tuple[float, ...] | None = None
    image_std: float | tuple[float, ...] | None = None
    do_flip_channel_order: bool = False


class _Timm(BaseModel):
    """The part of timm's configuration that says what a network takes."""

    model_config = ConfigDict(strict=True)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, _Side, _Side]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says of a network's input. `input_size` is None if it doesn't say it."""

    normalization: NormalizationSpec
    input_size: int | None


def read_configuration(folder: Path) -> Configuration | None:
    """Read the configuration of the network in a folder. None if there is no such file.

    Raises
    ------
    InputError
        If it is damaged, lacks a number, or asks for what featx doesn't do.
    """
    processor, timm = folder / PROCESSOR_NAME, folder / TIMM_NAME
    if processor.is_file():
        return _of_processor(processor)
    if timm.is_file():
        values = _json(timm).get("pretrained_cfg")
        if isinstance(values, dict):
            said = _validated(_Timm, values, timm)
            normalization = _normalization(1 / 255, said.mean, said.std, timm)
            return Configuration(normalization, said.input_size[1])
    return None


def named_normalization(preprocess: Preprocess, channels: int) -> NormalizationSpec | None:
    """Return the numbers of a preprocessing that was chosen by name. None has no numbers."""
    if preprocess != "imagenet":
        return None
    if channels == 1:
        raise InputError(
            "`preprocess` imagenet is for networks of three channels, and this one takes one",
            "Give `preprocess` rescale or none, as it was trained.",
            parameter="preprocess",
        )
    return IMAGENET


def normalizing(normalization: NormalizationSpec) -> Callable[[Any], Any]:
    """Return the steps of a normalization for a batch of tensors."""
    rescale = np.float32(normalization.rescale)
    mean, std = (np.array(each, np.float32) for each in (normalization.mean, normalization.std))
    return lambda images: (images * rescale - mean) / std


def _of_processor(path: Path) -> Configuration:
    said = _validated(_Processor, _json(path), path)
    if said.do_flip_channel_order:
        raise InputError(
            f"{path} asks for `do_flip_channel_order`, which featx doesn't do",
            "Export the network so that it takes RGB.",
        )
    rescale = said.rescale_factor if said.do_rescale else 1.0
    mean: Any = 0.0
    std: Any = 1.0
    if said.do_normalize:
        for name in ("image_mean", "image_std"):
            if getattr(said, name) is None:
                raise InputError(
                    f"{path} normalizes and has no `{name}`",
                    "Add it, or give the .onnx file itself and `preprocess`.",
                )
        mean, std = said.image_mean, said.image_std
    taken = said.crop_size if said.do_center_crop and said.crop_size is not None else said.size
    side = taken.side if isinstance(taken, _Sides) else taken
    return Configuration(_normalization(rescale, mean, std, path), side)


def _normalization(rescale: float, mean: Any, std: Any, path: Path) -> NormalizationSpec:
    values = {
        "rescale": rescale,
        "mean": (mean,) if isinstance(mean, float) else mean,
        "std": (std,) if isinstance(std, float) else std,
    }
    try:
        return NormalizationSpec.model_validate(values)
    except ValidationError as error:
        raise _fault(error, path) from error


def _json(path: Path) -> dict[str, Any]:
    """Read a file of values by name. Those that are null are as good as absent."""
    try:
        with open_regular(path) as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ValueError("it is larger than a configuration")
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it has no names")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no readable configuration ({type(error).__name__})",
            "Get it anew, or give the .onnx file itself and `preprocess`.",
        ) from error
    return {name: value for name, value in values.items() if value is not None}


def _validated(kind: type[T], values: dict[str, Any], path: Path) -> T:
    try:
        return kind.model_validate_json(json.dumps(values))
    except (ValidationError, RecursionError) as error:
        raise _fault(error, path) from error


def _fault(error: ValidationError | RecursionError, path: Path) -> InputError:
    reason = "it is too deep"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = f"`{first['loc'][0]}`: " if first["loc"] else ""
        reason = f"{name}{first['msg'].lower().removeprefix('value error, ')}"
    return InputError(
        f"{path} doesn't say how images are prepared ({reason})",
        "Correct it, or give the .onnx file itself and `preprocess`.",
    )
