"""A run moves to another population: calibrated there, corrected for it, or tried across seams."""

from featx.populations._calibrate import CalibrationReport, calibrate
from featx.populations._label_shift import PriorReport, calibrate_unlabelled
from featx.populations._shift_protocol import ProtocolReport, shift_protocol

__all__ = [
    "CalibrationReport",
    "PriorReport",
    "ProtocolReport",
    "calibrate",
    "calibrate_unlabelled",
    "shift_protocol",
]
