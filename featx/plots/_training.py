"""Figures of how a head was made: its learning curves, and the trials of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featx.plots._style import BLUE, GREY, ORANGE, add_legend, new_axes
from featx.thresholds import Criterion

LEARNING_METRICS = ("loss", "accuracy", "recall")
MAX_LOSS_RATIO = 5.0
"""Largest loss over the smallest, above which the axis is logarithmic."""


def learning_curve(history: pd.DataFrame, ax: Axes | None = None, *, metric: str = "loss") -> Axes:
    """Draw a metric against the epoch: thin lines for the folds, a bold one for the final fit.

    Parameters
    ----------
    history
        One row for each epoch: training (``fold 1``, ``final``), member, epoch, the metric, and
        the metric with ``val_`` before its name if patients were held out.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    metric
        ``loss``, ``accuracy`` or ``recall``.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> history = pd.DataFrame(
    ...     {"training": "final", "member": 1, "epoch": [1, 2, 3], "loss": [0.9, 0.5, 0.4]}
    ... )
    >>> learning_curve(history, Figure().subplots()).get_title()
    'Loss by epoch'
    """
    axes = ax if ax is not None else new_axes(shown=True)
    labelled: set[str] = set()
    for (training, _), epochs in history.groupby(["training", "member"], sort=False):
        final = training == "final"
        style: dict[str, Any] = {"lw": 2.2 if final else 0.9, "alpha": 1.0 if final else 0.45}
        for column, color, dashes, images in (
            (metric, BLUE, "-", "training images"),
            (f"val_{metric}", ORANGE, "--", "held-out patients"),
        ):
            if column not in epochs or epochs[column].isna().all():
                continue
            label = f"{images}, {'final fit' if final else 'folds'}"
            axes.plot(
                epochs["epoch"], epochs[column], color=color, ls=dashes,
                marker="." if len(epochs) < 3 else "",
                label="" if label in labelled else label, **style,
            )  # fmt: skip
            labelled.add(label)
    smallest = max(history[metric].min(), 1e-12)
    if metric == "loss" and history[metric].max() > MAX_LOSS_RATIO * smallest:
        axes.set_yscale("log")  # the first epoch's would press all others onto the axis
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=metric, title=f"{metric.capitalize()} by epoch")
    axes.grid(alpha=0.25)
    add_legend(axes, 4, columns=2)
    return axes


def save_learning_curves(history: pd.DataFrame, path: Path, title: str) -> None:
    """Write loss, accuracy and recall against the epoch side by side, as PNG or SVG."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    figure.suptitle(title)
    for axes, metric in zip(figure.subplots(1, 3), LEARNING_METRICS, strict=True):
        learning_curve(history, axes, metric=metric)
    figure.savefig(path, dpi=120)


def pareto_front(
    trials: pd.DataFrame,
    front: pd.DataFrame,
    ax: Axes | None = None,
    *,
    criterion: Criterion,
    chosen: tuple[float, float],
) -> Axes:
    """Draw recall against accuracy: all trials, the Pareto front, the floors, the chosen point.

    `chosen` is recall and accuracy of the operating point.
    """
    axes = ax if ax is not None else new_axes(shown=True)
    axes.scatter(trials["accuracy"], trials["recall"], s=14, color=GREY, alpha=0.5, label="trials")
    ordered = front.sort_values("accuracy")
    axes.step(ordered["accuracy"], ordered["recall"], where="pre", color=BLUE, linewidth=1)
    axes.plot(ordered["accuracy"], ordered["recall"], "o", color=BLUE, ms=5, label="Pareto front")
    for name, floor in criterion.floors.items():
        draw = {"accuracy": axes.axvline, "recall": axes.axhline}.get(name)
        if draw is not None:  # specificity is no axis of the figure
            draw(floor, color=GREY, ls="--", label=f"{name} floor {floor:g}")
    axes.plot(chosen[1], chosen[0], "D", color=ORANGE, ms=8, label="chosen")
    # Trials that call nearly everybody healthy would press the front into a corner.
    floors, least = criterion.floors, front[["accuracy", "recall"]].min()
    low_accuracy = min(floors.get("accuracy", 1.0), float(least["accuracy"]))
    low_recall = min(chosen[0], floors.get("recall", 1.0), float(least["recall"]))
    axes.set_xlim(_with_margin(low_accuracy, float(front["accuracy"].max())))
    axes.set_ylim(_with_margin(low_recall, float(front["recall"].max())))
    axes.set(xlabel="accuracy, out of fold", ylabel="recall, out of fold")
    axes.set_title("Recall against accuracy of the trials")
    add_legend(axes, 4, columns=2)
    return axes


def _with_margin(low: float, high: float) -> tuple[float, float]:
    room = max(0.08 * (high - low), 0.002)
    return low - room, high + room
