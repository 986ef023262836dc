"""Files of figures, PNG and SVG. Only figures that featx drew are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import InputError
from featx_cache.files import is_stream, open_regular, output_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MADE_BY = "featx data"
"""Mark in every figure. featx may replace a file that has it."""

_HEAD_BYTES = 4096
"""Bytes at the start of a figure that say who drew it."""


def require_figures(paths: Iterable[Path], force: bool) -> None:
    """Refuse to replace a figure unasked, or a file that featx didn't draw.

    `paths` are PNG files. SVG files are looked for beside them.
    """
    for file in (file for path in paths for file in _files(path)):
        if is_stream(file) or not file.exists():
            continue
        if not force:
            raise InputError(
                f"{file} exists already", "Give another place, or `force=True` to replace figures."
            )
        with open_regular(file) as opened:
            if MADE_BY.encode() not in opened.read(_HEAD_BYTES):
                raise InputError(
                    f"{file} is there already, and featx didn't draw it",
                    "Give another place, or remove it yourself.",
                )


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and, beside it, as SVG. A pipe or a device gets the PNG alone."""
    for file in _files(path):
        kind, name = ("svg", "Creator") if file.suffix == ".svg" else ("png", "Software")
        with output_path(file) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata={name: MADE_BY})
    return _files(path)[-1]


def _files(path: Path) -> tuple[Path, ...]:
    return (path,) if is_stream(path) else (path.with_suffix(".svg"), path.with_suffix(".png"))
