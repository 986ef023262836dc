"""The options of augmented copies: a preset, and single values of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from featx_cli import completion

Number = float | None
Range = str | None


def _number(text: str) -> Any:
    return Annotated[Number, typer.Option(help=text, show_default=False)]


def _range(text: str) -> Any:
    return Annotated[Range, typer.Option(metavar="LOW,HIGH", help=text, show_default=False)]


PresetOption = Annotated[
    str | None,
    typer.Option(
        "--augment",
        metavar="PRESET",
        help="Augmentation: shift (disturbances as at another hospital), study (large turns and "
        "zooms, mirrored), chest (gentle, no mirroring) or none. The options below change single "
        "values of it. Default: that of a cache that is there, or shift.",
        show_default=False,
        autocompletion=completion.one_of(*completion.PRESETS),
    ),
]
_VALUES: dict[str, Any] = {
    "rotation": _number("Largest rotation, degrees."),
    "zoom": _number("Largest zoom, a fraction."),
    "width_shift": _number("Largest sideways shift, of the width."),
    "height_shift": _number("Largest vertical shift, of the height."),
    "shear": _number("Largest shear angle, degrees."),
    "brightness": _range("Range of a factor that multiplies grey values."),
    "horizontal_flip": Annotated[
        bool | None, typer.Option(help="Mirror half of the copies.", show_default=False)
    ],
    "vertical_flip": Annotated[
        bool | None, typer.Option(help="Turn half of the copies upside down.", show_default=False)
    ],
    "fill_mode": Annotated[
        Literal["nearest", "constant", "reflect", "wrap"] | None,
        typer.Option(help="Filling outside a moved image. Default: nearest, its nearest pixel."),
    ],
    "crop": _range("Range of the share of the image's area that a copy keeps."),
    "crop_aspect": _number(
        "Largest change of its aspect ratio, as a power of e: 0.25 is 0.78 to 1.28."
    ),
    "gamma": _number("Largest gamma, as a power of e: 0.35 is 0.70 to 1.42."),
    "contrast_factor": _range("Range of a factor that multiplies differences from the mean."),
    "brightness_shift": _number(
        "Largest number that is added to grey values (0 to 255), or taken away."
    ),
    "downscale": _range("Range of the factor by which copies are scaled down, and up again."),
    "downscale_share": _number("Share of the copies that are scaled down."),
    "blur": _range("Range of the standard deviation of a Gaussian blur, pixels."),
    "blur_share": _number("Share of the copies that are blurred."),
    "noise": _range(
        "Range of the standard deviation of Gaussian noise, in grey values (0 to 255)."
    ),
    "noise_share": _number("Share of the copies that get noise."),
}
_RANGES = ("brightness", "crop", "contrast_factor", "downscale", "blur", "noise")


def with_augmentation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of augmented copies.

    They take the place of its keywords `augment`, the name of a preset or None, and `changes`,
    fields of `featx.images.AugmentationSpec` that were typed.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        typed = {name: given.pop(name) for name in _VALUES}
        for name in _RANGES:
            if typed[name] is not None:
                typed[name] = typed[name].split(",")
        command(**given, changes=typed)

    parameters: list[inspect.Parameter] = []
    signature = inspect.signature(command, locals={"ReadingOptions": object}, eval_str=True)
    for parameter in signature.parameters.values():
        if parameter.name == "augment":
            options = {"augment": PresetOption} | _VALUES
            parameters += (
                inspect.Parameter(name, parameter.kind, default=None, annotation=annotation)
                for name, annotation in options.items()
            )
        elif parameter.name != "changes":
            parameters.append(parameter)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run
