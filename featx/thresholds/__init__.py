"""From labels and scores to the operating point."""

from featx.thresholds.search import OperatingPoint, choose_threshold
from featx.thresholds.sweep import Sweep, sweep

__all__ = ["OperatingPoint", "Sweep", "choose_threshold", "sweep"]
