"""History of a training: a table of epochs, and its curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

CURVES = ("loss", "accuracy", "recall")
# Okabe and Ito's colors, which people with color blindness can tell apart.
BLUE, ORANGE = "#0072B2", "#D55E00"


@dataclass(slots=True)
class History:
    """Epochs of all trainings of a run.

    Attributes
    ----------
    table : DataFrame
        One line an epoch: training (``fold 1``, ``final``), member, epoch, loss, accuracy, recall,
        the same with ``val_`` if patients were held out, seconds.
    outcomes
        Epoch that the stopping rule kept in each training, and why.
    """

    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    outcomes: list[str] = field(default_factory=list)

    def add(self, training: str, head: Any) -> None:
        """Append the epochs of a fitted head, if it has some."""
        epochs = getattr(head, "history_", [])
        if not epochs:
            return
        members = max(1, int(head.ensemble))
        table = pd.DataFrame(epochs)
        # A stopping rule may end members early: each begins at epoch 1 again.
        table.insert(0, "epoch", table.pop("epoch").astype(int))
        table.insert(0, "member", (table["epoch"] == 1).cumsum())
        table.insert(0, "training", training)
        self.table = pd.concat([self.table, table], ignore_index=True)
        for member, outcome in enumerate(head.outcomes_, start=1):
            if outcome:
                which = f", member {member}" if members > 1 else ""
                self.outcomes.append(f"{training}{which}: {outcome}")


def draw_curves(table: pd.DataFrame, path: Path, title: str) -> None:
    """Draw loss, accuracy and recall against the epoch. The final fit is bold, folds are thin.

    Parameters
    ----------
    table
        Table of a `History`.
    path
        PNG or SVG file to write.
    title
        Title of the figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    figure.suptitle(title)
    held_out = "val_loss" in table
    for axes, name in zip(figure.subplots(1, 3), CURVES, strict=True):
        for (training, _), epochs in table.groupby(["training", "member"]):
            style = (
                {"linewidth": 2.2, "alpha": 1.0}
                if training == "final"
                else {"linewidth": 1.0, "alpha": 0.45}
            )
            axes.plot(epochs["epoch"], epochs[name], color=BLUE, **style)
            if held_out:
                axes.plot(epochs["epoch"], epochs[f"val_{name}"], color=ORANGE, ls="--", **style)
        axes.set(xlabel="epoch", title=name)
        if name == "loss":  # the first epoch's loss would press all others onto the axis
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    marks = [Line2D([], [], color=BLUE, label="training images")]
    if held_out:
        marks.append(Line2D([], [], color=ORANGE, ls="--", label="held-out patients"))
    marks += [
        Line2D([], [], color="#666666", linewidth=2.2, label="final fit"),
        Line2D([], [], color="#666666", linewidth=1.0, alpha=0.45, label="folds"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    figure.savefig(path, dpi=120)
