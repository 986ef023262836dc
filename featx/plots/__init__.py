"""Figures of scores, counts, trainings and heat maps, each drawn on matplotlib's Axes."""

from featx.plots._counts import class_balance, confusion_matrix
from featx.plots._curves import precision_recall_curve, roc_curve, threshold_curve
from featx.plots._decision_curve import decision_curve
from featx.plots._distributions import calibration_curve, score_histogram
from featx.plots._heat_map import heat_map_overlay
from featx.plots._stress import stress_curves
from featx.plots._training import learning_curve

__all__ = [
    "calibration_curve",
    "class_balance",
    "confusion_matrix",
    "decision_curve",
    "heat_map_overlay",
    "learning_curve",
    "precision_recall_curve",
    "roc_curve",
    "score_histogram",
    "stress_curves",
    "threshold_curve",
]
