"""A run moves to another population: calibrated there, corrected for it, or tried beforehand."""

from featx.populations._calibrate import CalibrationReport, calibrate
from featx.populations._conflict_images import ConflictResult
from featx.populations._disturbances import DISTURBANCES, DisturbanceSeries
from featx.populations._estimate_performance import PerformanceEstimate, estimate_performance
from featx.populations._label_shift import LabelShiftReport, calibrate_unlabelled
from featx.populations._shift_protocol import ProtocolReport, shift_protocol
from featx.populations._stress_protocol import stress_protocol
from featx.populations._stress_report import StressReport, StressResult
from featx.populations._suggest_labels import suggest_labels
from featx.populations._unlabelled_images import UnlabelledImages, score_unlabelled

__all__ = [
    "DISTURBANCES",
    "CalibrationReport",
    "ConflictResult",
    "DisturbanceSeries",
    "LabelShiftReport",
    "PerformanceEstimate",
    "ProtocolReport",
    "StressReport",
    "StressResult",
    "UnlabelledImages",
    "calibrate",
    "calibrate_unlabelled",
    "estimate_performance",
    "score_unlabelled",
    "shift_protocol",
    "stress_protocol",
    "suggest_labels",
]
