"""A run: what was fitted, on what, with what result."""

from featx.runs.adapting import PriorReport, calibrate_unlabelled
from featx.runs.calibrating import CalibrationReport, calibrate
from featx.runs.comparison import Comparison, fit_heads
from featx.runs.evaluating import Evaluation, RunComparison, Scored, compare, measure, score_images
from featx.runs.explaining import explain_images
from featx.runs.explanations import Explanation
from featx.runs.exporting import Export, export_onnx
from featx.runs.extracting import embedded, only_split, relabelled
from featx.runs.fitting import FitReport, fit
from featx.runs.predicting import Prediction, find_images, shift_warning
from featx.runs.protocol import ProtocolReport, shift_protocol
from featx.runs.record import RunRecord
from featx.runs.run import Run, load_run
from featx.runs.tally import Tally
from featx.runs.tuned import TuneReport, tune

__all__ = [
    "CalibrationReport",
    "Comparison",
    "Evaluation",
    "Explanation",
    "Export",
    "FitReport",
    "Prediction",
    "PriorReport",
    "ProtocolReport",
    "Run",
    "RunComparison",
    "RunRecord",
    "Scored",
    "Tally",
    "TuneReport",
    "calibrate",
    "calibrate_unlabelled",
    "compare",
    "embedded",
    "explain_images",
    "export_onnx",
    "find_images",
    "fit",
    "fit_heads",
    "load_run",
    "measure",
    "only_split",
    "relabelled",
    "score_images",
    "shift_protocol",
    "shift_warning",
    "tune",
]
