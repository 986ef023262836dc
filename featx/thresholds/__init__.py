"""From labels and scores to the operating point."""

from featx.thresholds.search import OperatingPoint, check_accuracy_floor, choose_threshold
from featx.thresholds.sweep import Sweep, sweep

__all__ = ["OperatingPoint", "Sweep", "check_accuracy_floor", "choose_threshold", "sweep"]
