"""A run: what was fitted, on what, with what result."""

from featx.runs.fitting import FitReport, fit
from featx.runs.record import RunRecord
from featx.runs.run import Evaluation, Prediction, Run, find_images, load_run

__all__ = [
    "Evaluation",
    "FitReport",
    "Prediction",
    "Run",
    "RunRecord",
    "find_images",
    "fit",
    "load_run",
]
