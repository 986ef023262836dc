"""From labels and scores to the operating point."""

from featx.thresholds.band import uncertain_band
from featx.thresholds.guarantee import Promise, candidate_thresholds, promise_threshold
from featx.thresholds.platt import learn_platt
from featx.thresholds.recalibration import Recalibration
from featx.thresholds.search import OperatingPoint, check_accuracy_floor, choose_threshold
from featx.thresholds.sweep import Sweep, sweep

__all__ = [
    "OperatingPoint",
    "Promise",
    "Recalibration",
    "Sweep",
    "candidate_thresholds",
    "check_accuracy_floor",
    "choose_threshold",
    "learn_platt",
    "promise_threshold",
    "sweep",
    "uncertain_band",
]
