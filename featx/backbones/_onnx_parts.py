"""Outputs of an ONNX network as the parts of an embedding: grids, vectors, and tokens as both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from featx.backbones._onnx_checks import OnnxFile
from featx.backbones._spec import Tokens
from featx.errors import InputError
from featx_cache._text import printable

MAX_OWN_TOKENS = 33
"""Most tokens of no patch: one of the class, and registers (Darcet et al., ICLR 2024, has 4)."""


@dataclass(frozen=True, slots=True)
class OnnxPart:
    """One part of an embedding: its shape, and how to take it out of an output of one image."""

    name: str
    output: str
    shape: tuple[int, ...]
    take: Callable[[NDArray[Any]], NDArray[Any]] = field(compare=False)


@dataclass(frozen=True, slots=True)
class OnnxLayout:
    """Order of axes that the input has, and patches in each direction as far as they are known."""

    channels_first: bool
    patches: int | None


def divide_outputs(
    file: OnnxFile,
    shapes: dict[str, tuple[int, ...]],
    tokens: Tokens | None,
    layout: OnnxLayout,
) -> tuple[list[OnnxPart], Tokens | None]:
    """Divide outputs into the parts of an embedding, and say what tokens were taken.

    The main part, the first grid, is the last one, as `join_outputs` takes them.

    Raises
    ------
    InputError
        If an output is of no image, or its tokens are no square, or `tokens` has none to take.
    """
    parts: list[OnnxPart] = []
    used: Tokens | None = None
    for name, shape in shapes.items():
        if len(shape) not in (2, 3, 4) or shape[0] != 1 or 0 in shape:
            raise InputError(
                f"{printable(name)!r} of {file.path} has the shape {shape} for one image, which is "
                "no grid, no tokens and no vector",
                "Choose another `layer`.",
                parameter="layer",
            )
        if len(shape) == 3:
            used = tokens or "patches"
            parts += _of_tokens(file, name, shape[1:], used, layout)
        elif len(shape) == 4 and _is_channels_first(shape[1:], layout):
            grid = (shape[2], shape[3], shape[1])
            parts.append(OnnxPart(name, name, grid, lambda output: output.transpose(1, 2, 0)))
        else:
            parts.append(OnnxPart(name, name, shape[1:], lambda output: output))
    if tokens is not None and used is None:
        raise InputError(
            f"`tokens` {tokens} needs an output of tokens, and {', '.join(map(printable, shapes))} "
            f"of {file.path} has none",
            "Leave `tokens` out.",
            parameter="tokens",
        )
    main = next((part for part in parts if len(part.shape) == 3), parts[0])
    return [*(part for part in parts if part is not main), main], used


def _is_channels_first(shape: tuple[int, ...], layout: OnnxLayout) -> bool:
    """Tell (channels, rows, columns) from (rows, columns, channels): an image is square."""
    first, last = shape[1] == shape[2], shape[0] == shape[1]
    return layout.channels_first if first == last else first


def _of_tokens(
    file: OnnxFile, name: str, shape: tuple[int, ...], tokens: Tokens, layout: OnnxLayout
) -> list[OnnxPart]:
    """Divide tokens into the grid of the patches and the vector of the class, which is first."""
    count, channels = shape
    side, own = _count_patches(count, layout.patches)
    if side is None:
        expected = "" if layout.patches is None else f" (patches are {layout.patches}²)"
        raise InputError(
            f"{printable(name)!r} of {file.path} has {count} tokens, which are no square with one "
            f"more or a few registers{expected}",
            "Choose another `layer`, or give the `input_size` that it was trained with.",
            parameter="layer",
        )
    if tokens != "patches" and own == 0:
        raise InputError(
            f"{printable(name)!r} of {file.path} has {count} tokens, a grid of {side}x{side} and "
            "none of the class",
            "Give `tokens` patches.",
            parameter="tokens",
        )
    grid = OnnxPart(
        f"{name}.patches" if tokens == "both" else name,
        name,
        (side, side, channels),
        lambda output: output[own:].reshape(side, side, channels),
    )
    vector = OnnxPart(
        f"{name}.cls" if tokens == "both" else name,
        name,
        (channels,),
        lambda output: output[0],
    )
    return {"patches": [grid], "cls": [vector], "both": [grid, vector]}[tokens]


def _count_patches(count: int, known: int | None) -> tuple[int | None, int]:
    """Return the side of the square of patches, and the number of tokens before it."""
    if known and 0 <= count - known**2 <= MAX_OWN_TOKENS:
        return known, count - known**2
    for own in (0, 1):
        side = math.isqrt(count - own)
        if side and side**2 == count - own:
            return side, own
    return None, 0
