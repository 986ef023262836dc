"""Figure of runs at several sites: what becomes of accuracy and recall there."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx.plots._stress import METRICS
from featx.plots._style import _STYLE, DASHES, GREY, HouseFigure, plain_label

PANEL = (2.6, 2.9)
"""Width and height of a panel, in inches."""

_SHOWN = ("accuracy", "recall")


def site_chart(table: pd.DataFrame, *, accuracy_floor: float | None = None) -> Figure:
    """Draw accuracy and recall at some sites, a panel for each run. Bars are 95 % intervals.

    Parameters
    ----------
    table
        One row a run and site, in order: run, site, accuracy, recall, and the ends of their
        intervals, accuracy_low, accuracy_high and so on.
    accuracy_floor
        Accuracy that is marked. None marks nothing.
    """
    runs = list(dict.fromkeys(table["run"]))
    size = (PANEL[0] * len(runs) + 0.4, PANEL[1] + 0.6)
    figure = HouseFigure(figsize=size, layout="constrained")
    with mpl.rc_context(_STYLE):
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for axes, run in zip(panels, runs, strict=True):
            _draw_run(axes, table[table["run"] == run])
            axes.set_title(plain_label(run))
            if accuracy_floor is not None:
                label = f"accuracy floor {accuracy_floor:g}"
                axes.axhline(accuracy_floor, color=GREY, ls=DASHES[2], lw=1.2, label=label)
        panels[0].set_ylim(top=1.01)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9
        )
    return figure


def _draw_run(axes: Axes, rows: pd.DataFrame) -> None:
    place = np.arange(len(rows))
    for number, metric in enumerate(_SHOWN):
        label, color = METRICS[metric]
        value = rows[metric].to_numpy()
        low, high = (rows[f"{metric}_{end}"].to_numpy() for end in ("low", "high"))
        options: Any = {"color": color, "marker": "os"[number], "ms": 5, "lw": 1.3}
        spread = [(value - low).clip(min=0), (high - value).clip(min=0)]
        axes.errorbar(
            place + 0.12 * (2 * number - 1), value, yerr=spread, ls="none", label=label, **options
        )
    names = [plain_label(str(site)).replace(", ", ",\n") for site in rows["site"]]
    axes.set_xticks(place, names)
    axes.tick_params(axis="x", labelsize=9)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.grid(axis="y", alpha=0.25)
