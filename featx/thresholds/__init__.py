"""From labels and scores to the operating point."""

from featx.thresholds.band import uncertain_band
from featx.thresholds.calibrators import fit_recalibration, learn_platt
from featx.thresholds.guarantee import (
    Promise,
    candidate_thresholds,
    promise_threshold,
    spread_thresholds,
)
from featx.thresholds.local import LocalPoint, choose_locally
from featx.thresholds.prior import (
    ASSUMPTION,
    Prior,
    choose_threshold_at,
    estimate_prior,
    sweep_at,
)
from featx.thresholds.recalibration import Recalibration
from featx.thresholds.search import OperatingPoint, check_accuracy_floor, choose_threshold
from featx.thresholds.sweep import Sweep, sweep

__all__ = [
    "ASSUMPTION",
    "LocalPoint",
    "OperatingPoint",
    "Prior",
    "Promise",
    "Recalibration",
    "Sweep",
    "candidate_thresholds",
    "check_accuracy_floor",
    "choose_locally",
    "choose_threshold",
    "choose_threshold_at",
    "estimate_prior",
    "fit_recalibration",
    "learn_platt",
    "promise_threshold",
    "spread_thresholds",
    "sweep",
    "sweep_at",
    "uncertain_band",
]
