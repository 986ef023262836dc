"""Figures of a report: ROC, the operating point against the threshold, the confusion matrix."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from featx.runs import Evaluation, Run

# Okabe and Ito's colours, which people with colour blindness can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def roc_figure(run: Run, evaluation: Evaluation) -> Figure:
    """Draw the ROC curve with the operating point on it."""
    from sklearn.metrics import roc_curve

    figure, axes = _figure()
    truth = evaluation.scores["label"] == run.record.classes[1]
    false_alarms, hits, _ = roc_curve(truth, evaluation.scores["score"])
    metrics = evaluation.metrics
    axes.plot(false_alarms, hits, color=BLUE, label=f"ROC, AUC {metrics.roc_auc:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    axes.plot(1 - metrics.specificity, metrics.recall, "o", color=ORANGE, label="operating point")
    axes.set(xlabel="1 − specificity (false alarms)", ylabel="recall (sensitivity)")
    axes.set_title(f"{run.record.head.name}: ROC on {evaluation.split}")
    axes.legend(loc="lower right")
    return figure


def threshold_figure(run: Run, evaluation: Evaluation) -> Figure:
    """Draw recall and accuracy against the threshold, with the floor and the operating point."""
    from featx.thresholds import sweep

    figure, axes = _figure()
    truth = evaluation.scores["label"] == run.record.classes[1]
    points = sweep(truth, evaluation.scores["score"])
    axes.step(points.thresholds, points.recall, where="pre", color=BLUE, label="recall")
    axes.step(points.thresholds, points.accuracy, where="pre", color=ORANGE, label="accuracy")
    floor, threshold = run.record.accuracy_floor, run.record.threshold
    axes.axhline(floor, color=GREY, linestyle="--", label=f"accuracy floor {floor:g}")
    axes.axvline(threshold, color=GREY, linestyle=":", label=f"threshold {threshold:.3g}")
    axes.set(xlabel="threshold", ylabel="fraction", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    axes.set_title(f"{run.record.head.name}: operating point on {evaluation.split}")
    axes.legend(loc="lower left")
    return figure


def confusion_figure(run: Run, evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix with its counts."""
    import numpy as np
    from sklearn.metrics import ConfusionMatrixDisplay

    figure, axes = _figure()
    c = evaluation.metrics.confusion
    matrix = np.array([[c["tn"], c["fp"]], [c["fn"], c["tp"]]])
    display = ConfusionMatrixDisplay(matrix, display_labels=list(run.record.classes))
    display.plot(ax=axes, cmap="Blues", colorbar=False)
    axes.set(xlabel="called", ylabel="truth")
    axes.set_title(f"{run.record.head.name}: confusion matrix on {evaluation.split}")
    return figure


def as_data_uri(figure: Figure) -> str:
    """Return a figure as a PNG data URI, so that a page needs no other file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _figure() -> tuple[Figure, mpl.axes.Axes]:
    """Make a figure without pyplot, which would keep it and look for a screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    return figure, figure.subplots()
