"""Figures: ROC, the operating point against the threshold, the confusion matrix, a Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from featx.evaluation._metrics import Metrics
from featx.thresholds import sweep
from featx.training._history import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#666666"


def roc_figure(y: ArrayLike, scores: ArrayLike, metrics: Metrics, title: str) -> Figure:
    """Draw the ROC curve with the operating point on it.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1
        1 for the positive class.
    scores : array of shape (images,)
        Probability of the positive class.
    metrics
        Of these scores, at the operating point.
    title
        Of the figure.
    """
    from sklearn.metrics import roc_curve

    figure, axes = _figure()
    false_alarms, hits, _ = roc_curve(y, scores)
    axes.plot(false_alarms, hits, color=BLUE, label=f"ROC, AUC {metrics.roc_auc:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    axes.plot(1 - metrics.specificity, metrics.recall, "o", color=ORANGE, label="operating point")
    axes.set(xlabel="1 − specificity (false alarms)", ylabel="recall (sensitivity)", title=title)
    axes.legend(loc="lower right")
    return figure


def threshold_figure(
    y: ArrayLike, scores: ArrayLike, threshold: float, accuracy_floor: float, title: str
) -> Figure:
    """Draw recall and accuracy against the threshold, with the floor and the operating point.

    Parameters
    ----------
    y, scores, title
        See `roc_figure`.
    threshold, accuracy_floor
        The operating point, and what its accuracy had to reach.
    """
    figure, axes = _figure()
    points = sweep(y, scores)
    axes.step(points.thresholds, points.recall, where="pre", color=BLUE, label="recall")
    axes.step(points.thresholds, points.accuracy, where="pre", color=ORANGE, label="accuracy")
    axes.axhline(
        accuracy_floor, color=GREY, linestyle="--", label=f"accuracy floor {accuracy_floor:g}"
    )
    axes.axvline(threshold, color=GREY, linestyle=":", label=f"threshold {threshold:.3g}")
    axes.set(xlabel="threshold", ylabel="fraction", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    axes.set_title(title)
    axes.legend(loc="lower left")
    return figure


def confusion_figure(confusion: Mapping[str, int], classes: tuple[str, str], title: str) -> Figure:
    """Draw the confusion matrix with its counts.

    Parameters
    ----------
    confusion
        Counts under ``tn``, ``fp``, ``fn``, ``tp``.
    classes
        The negative and the positive one.
    title
        Of the figure.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    figure, axes = _figure()
    matrix = np.array([[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]])
    display = ConfusionMatrixDisplay(matrix, display_labels=list(classes))
    display.plot(ax=axes, cmap="Blues", colorbar=False)
    axes.set(xlabel="called", ylabel="truth", title=title)
    return figure


def front_figure(
    trials: pd.DataFrame, front: pd.DataFrame, accuracy_floor: float, chosen: tuple[float, float]
) -> Figure:
    """Draw recall against accuracy: all trials, the Pareto front, the floor, the chosen point.

    Parameters
    ----------
    trials, front : DataFrame
        With columns recall and accuracy.
    accuracy_floor
        Left of it nothing is chosen.
    chosen
        Recall and accuracy of the operating point.
    """
    figure, axes = _figure()
    axes.scatter(trials["accuracy"], trials["recall"], s=14, color=GREY, alpha=0.5, label="trials")
    ordered = front.sort_values("accuracy")
    axes.step(ordered["accuracy"], ordered["recall"], where="pre", color=BLUE, linewidth=1)
    axes.plot(ordered["accuracy"], ordered["recall"], "o", color=BLUE, ms=5, label="Pareto front")
    axes.axvline(accuracy_floor, color=GREY, ls="--", label=f"accuracy floor {accuracy_floor:g}")
    axes.plot(chosen[1], chosen[0], "D", color=ORANGE, ms=8, label="chosen")
    # Trials that call nearly everybody healthy would press the front into a corner.
    low_accuracy = min(accuracy_floor, float(front["accuracy"].min()))
    low_recall = min(chosen[0], float(front["recall"].min()))
    axes.set_xlim(_margin(low_accuracy, float(front["accuracy"].max())))
    axes.set_ylim(_margin(low_recall, float(front["recall"].max())))
    axes.set(xlabel="accuracy, out of fold", ylabel="recall, out of fold")
    axes.set_title("Recall against accuracy of the trials")
    axes.legend(loc="lower left")
    return figure


def _margin(low: float, high: float) -> tuple[float, float]:
    room = max(0.08 * (high - low), 0.002)
    return low - room, high + room


def _figure() -> tuple[Figure, mpl.axes.Axes]:
    """Make a figure without pyplot, which would keep it and look for a screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    return figure, figure.subplots()
