"""Counts of images: the confusion matrix, and the balance of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from featx.plots._style import BLUE, ORANGE, add_legend, new_axes, plain_label, shortened
from featx.plots._subjects import Subject, one_subject


def confusion_matrix(
    scores: Subject, ax: Axes | None = None, *, threshold: float | None = None
) -> Axes:
    r"""Draw the confusion matrix: counts, and their share of the row.

    Parameters
    ----------
    scores
        Scores or an evaluation.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    threshold
        Score from which on an image is called positive. None takes that of an evaluation, or 0.5.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> axes = confusion_matrix(scores, Figure().subplots(), threshold=0.3)
    >>> [text.get_text().replace("\n", " ") for text in axes.texts]
    ['1 50.0%', '1 50.0%', '0 0.0%', '2 100.0%']
    """
    axes = ax if ax is not None else new_axes(shown=True)
    subject = one_subject(scores, threshold)
    n = subject.metrics.confusion
    counts = np.array([[n["tn"], n["fp"]], [n["fn"], n["tp"]]])
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axes.text(
            column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", fontsize=13,
            color="white" if share > 0.55 else "black",
        )  # fmt: skip
    names = [plain_label(shortened(label)) for label in subject.scores.classes]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel="called", ylabel="truth", title="Confusion matrix")
    return axes


def class_balance(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of each class in each split, with the numbers of images.

    Parameters
    ----------
    counts
        Numbers of images: a row for each split, and two columns, one for each class.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> counts = pd.DataFrame({"NORMAL": [30, 10], "PNEUMONIA": [70, 30]}, ["train", "test"])
    >>> axes = class_balance(counts, Figure().subplots())
    >>> [text.get_text() for text in axes.texts]
    ['30', '10', '70', '30']
    """
    axes = ax if ax is not None else new_axes(height=balance_height(counts), shown=True)
    shares = counts.div(counts.sum(axis=1), axis=0)
    rows, left = np.arange(len(counts)), np.zeros(len(counts))
    for label, color in zip(counts.columns, (BLUE, ORANGE), strict=True):
        values = shares[label].to_numpy()
        bars = axes.barh(
            rows, values, 0.7, left=left, color=color, label=plain_label(shortened(label))
        )
        texts = [
            f"{count:,}" if value >= 0.08 else ""
            for value, count in zip(values, counts[label], strict=True)
        ]
        axes.bar_label(bars, texts, label_type="center", color="white", fontweight="bold")
        left += values
    axes.set_yticks(rows, [plain_label(str(name)) for name in counts.index])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(0, 1), xlabel="share of the images", title="Class balance by split")
    add_legend(axes, 2)
    return axes


def balance_height(counts: pd.DataFrame) -> float:
    """Return the height in inches of a figure of so many splits."""
    return 1.5 + 0.55 * len(counts)
