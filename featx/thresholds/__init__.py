"""From labels and scores to the operating point."""

from featx.thresholds._calibrators import fit_recalibration
from featx.thresholds._calibrators import learn_platt as learn_platt
from featx.thresholds._choose import OperatingPoint, choose_threshold, write_study
from featx.thresholds._criterion import Criterion
from featx.thresholds._cross_validated import CrossValidatedPoint, choose_cross_validated
from featx.thresholds._label_shift import LABEL_SHIFT_ASSUMPTION as LABEL_SHIFT_ASSUMPTION
from featx.thresholds._label_shift import (
    Prior,
    choose_threshold_at_prevalence,
    estimate_prior,
    sweep_at_prevalence,
)
from featx.thresholds._promise import (
    Promise,
    candidate_thresholds,
    promise_threshold,
    spread_thresholds,
)
from featx.thresholds._recalibration import Recalibration
from featx.thresholds._sweep import Sweep, sweep
from featx.thresholds._uncertain_range import uncertain_range

__all__ = [
    "Criterion",
    "CrossValidatedPoint",
    "OperatingPoint",
    "Prior",
    "Promise",
    "Recalibration",
    "Sweep",
    "candidate_thresholds",
    "choose_cross_validated",
    "choose_threshold",
    "choose_threshold_at_prevalence",
    "estimate_prior",
    "fit_recalibration",
    "promise_threshold",
    "spread_thresholds",
    "sweep",
    "sweep_at_prevalence",
    "uncertain_range",
    "write_study",
]
