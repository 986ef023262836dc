"""Figure of the stress test: what each disturbance costs, by its strength."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx.plots._style import _STYLE, BLUE, DASHES, GREY, ORANGE, HouseFigure, plain_label

METRICS = {
    "roc_auc": ("ROC AUC", BLUE),
    "recall": ("recall", ORANGE),
    "accuracy": ("accuracy", "#009E73"),
}
COLUMNS = 5
PANEL = (2.3, 2.2)
"""Width and height of a panel, in inches."""

BAND_OPACITY = 0.15


def stress_curves(
    table: pd.DataFrame, *, accuracy_floor: float | None = None, shown: bool = True
) -> Figure:
    """Draw ROC AUC, recall and accuracy over the strengths, a panel for each disturbance.

    Bands and bars are 95 % intervals by patients. Results without a strength, such as those of
    stored copies, are points in the last panel.

    Parameters
    ----------
    table
        Table of a stress test: `featx.populations.StressReport.to_frame`.
    accuracy_floor
        Accuracy that is marked. None marks nothing.
    shown
        Whether the figure is one of pyplot's, so that a notebook shows it.

    Returns
    -------
    Figure

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"name": "untouched", "strength": 0, "value": "", "images": 200}
    >>> row |= {"roc_auc": 0.99, "recall": 0.97, "accuracy": 0.95}
    >>> blurred = row | {"name": "blur", "strength": 1, "value": "3", "roc_auc": 0.9}
    >>> figure = stress_curves(pd.DataFrame([row, blurred]), shown=False)
    >>> [axes.get_title() for axes in figure.axes]
    ['blur']
    """
    points = table[table["strength"] == 0]
    untouched = points[points["name"] == "untouched"]
    others = points[points["name"] != "untouched"]
    names = list(dict.fromkeys(table["name"][table["strength"] > 0]))
    panels = len(names) + bool(len(others))
    columns = min(COLUMNS, max(panels, 1))
    rows = -(-panels // columns)
    options: Any = {
        "figsize": (PANEL[0] * max(columns, 2) + 0.4, PANEL[1] * rows + 0.6),
        "layout": "constrained",
    }
    if shown:
        from matplotlib import pyplot

        figure: Figure = pyplot.figure(FigureClass=HouseFigure, **options)
    else:
        figure = HouseFigure(**options)
    with mpl.rc_context(_STYLE):
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, name in zip(grid, names, strict=False):
            of_name = table[(table["name"] == name) & (table["strength"] > 0)]
            _curves(axes, pd.concat([untouched, of_name]), name)
        if len(others):
            _points(grid[len(names)], others)
        for axes in grid[panels:]:
            axes.remove()
        for axes in grid[:panels]:
            axes.grid(alpha=0.25)
            if accuracy_floor is not None:
                label = f"accuracy floor {accuracy_floor:g}"
                axes.axhline(accuracy_floor, color=GREY, ls=DASHES[2], lw=1, label=label)
        grid[0].set_ylim(top=1.01)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9
        )
    return figure


def save_stress_curves(
    table: pd.DataFrame, path: Path, kind: str, accuracy_floor: float | None
) -> None:
    """Write the figure as a file of a kind, such as ``png``."""
    figure = stress_curves(table, accuracy_floor=accuracy_floor, shown=False)
    with mpl.rc_context(_STYLE):
        figure.savefig(path, format=kind, dpi=150)


def _curves(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """Draw the metrics of one disturbance, from none to strong."""
    place = np.arange(len(rows))
    for (metric, (label, color)), dashes in zip(METRICS.items(), DASHES, strict=False):
        axes.plot(place, rows[metric], color=color, ls=dashes, marker="o", ms=3.5, label=label)
        low, high = _ends(rows, metric)
        axes.fill_between(place, low, high, color=color, alpha=BAND_OPACITY, lw=0)
    _name_places(axes, [value or "none" for value in rows["value"]])
    axes.margins(x=0.1)
    axes.set_title(plain_label(name))


def _points(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the metrics of results without a strength beside each other."""
    place = np.arange(len(rows))
    for number, (metric, (label, color)) in enumerate(METRICS.items()):
        low, high = _ends(rows, metric)
        spread = [(rows[metric] - low).clip(lower=0.0), (high - rows[metric]).clip(lower=0.0)]
        axes.errorbar(
            place + 0.2 * (number - 1), rows[metric], yerr=spread, fmt="o", ms=4, lw=1.2,
            color=color, label=label,
        )  # fmt: skip
    _name_places(axes, [name.replace(" ", "\n") for name in rows["name"]])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_title("other images")


def _ends(rows: pd.DataFrame, metric: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Return the ends of a metric's intervals, which are the metric itself where there is none."""
    low, high = (rows.get(f"{metric}_{end}", rows[metric]) for end in ("low", "high"))
    return low.fillna(rows[metric]), high.fillna(rows[metric])


def _name_places(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(np.arange(len(names)), [plain_label(name) for name in names])
    axes.tick_params(axis="x", labelsize=8)
