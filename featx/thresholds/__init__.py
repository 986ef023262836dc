"""From labels and scores to the operating point."""

from featx.thresholds._calibrators import fit_recalibration, learn_platt
from featx.thresholds._choose import (
    OperatingPoint,
    check_accuracy_floor,
    choose_threshold,
    write_study,
)
from featx.thresholds._cross_validated import CrossValidatedPoint, choose_cross_validated
from featx.thresholds._label_shift import (
    ASSUMPTION,
    Prior,
    choose_threshold_at,
    estimate_prior,
    sweep_at,
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
    "ASSUMPTION",
    "CrossValidatedPoint",
    "OperatingPoint",
    "Prior",
    "Promise",
    "Recalibration",
    "Sweep",
    "candidate_thresholds",
    "check_accuracy_floor",
    "choose_cross_validated",
    "choose_threshold",
    "choose_threshold_at",
    "estimate_prior",
    "fit_recalibration",
    "learn_platt",
    "promise_threshold",
    "spread_thresholds",
    "sweep",
    "sweep_at",
    "uncertain_range",
    "write_study",
]
