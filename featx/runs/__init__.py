"""A run: what was fitted, on what, with what result."""

from featx.runs.comparison import Comparison, fit_heads
from featx.runs.fitting import FitReport, fit
from featx.runs.predicting import Prediction, find_images, shift_warning
from featx.runs.record import RunRecord
from featx.runs.run import Evaluation, Run, load_run
from featx.runs.tuned import TuneReport, tune

__all__ = [
    "Comparison",
    "Evaluation",
    "FitReport",
    "Prediction",
    "Run",
    "RunRecord",
    "TuneReport",
    "find_images",
    "fit",
    "fit_heads",
    "load_run",
    "shift_warning",
    "tune",
]
