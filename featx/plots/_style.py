"""The look of all figures: colors, fonts, and a legend below the axes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx_cache._text import printable

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
# Okabe and Ito's colors, which people with color blindness can tell apart; no yellow on white.
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
DASHES = ("-", "--", "-.", ":")
WIDTH, HEIGHT = 4.8, 4.2

_STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "legend.fontsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # looks the same on every machine
    "svg.hashsalt": "featx",  # the same figure is the same file
    "path.simplify_threshold": 0.2,
}


class HouseFigure(Figure):
    """Figure in the house style: `add_legend` puts its legend below the axes."""


def new_axes(
    rows: int = 1, ratios: Sequence[float] = (1,), *, height: float = HEIGHT, shown: bool = False
) -> Any:
    """Return the axes of a new figure.

    There are several above each other if `rows` is more than 1. A figure that is `shown` is one of
    pyplot's, so that a notebook shows it. The height is in inches.
    """
    options: Any = {"figsize": (WIDTH, height), "layout": "constrained"}
    if shown:
        from matplotlib import pyplot

        # Not in the context below, whose end would undo that a notebook turns on `interactive`.
        figure: Figure = pyplot.figure(FigureClass=HouseFigure, **options)
    else:
        figure = HouseFigure(**options)
    with mpl.rc_context(_STYLE):
        return figure.subplots(rows, 1, gridspec_kw={"height_ratios": ratios}, sharex=rows > 1)


def add_legend(axes: Axes, entries: int, columns: int | None = None) -> None:
    """Put the legend below a figure of ours, where it hides nothing, or into somebody's axes."""
    if not isinstance(axes.figure, HouseFigure):
        axes.legend(frameon=False)
        return
    columns = columns or (1 if entries > 3 else 2)
    with mpl.rc_context(_STYLE):
        axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def plain_label(text: str) -> str:
    """Keep a name from being read as a formula."""
    return text.replace("$", r"\$")


def shortened(text: str, most: int = 18) -> str:
    """Keep both ends of a long name."""
    text = printable(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def svg(axes: Axes) -> bytes:
    """Return the figure of some axes as an SVG file. Equal figures are equal files."""
    content = io.BytesIO()
    save_figure(axes, content, format="svg", metadata={"Date": None, "Creator": "featx"})
    return content.getvalue()


def save_figure(axes: Axes, file: Path | io.BytesIO, **options: Any) -> None:
    """Write the figure of some axes in the house style."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    with mpl.rc_context(_STYLE):
        figure.savefig(file, **options)
