"""A run for a population with another share of sick people, from images without labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Interval, Population, Shift, compare_populations
from featx.evaluation._clustered import added, clustered_interval
from featx.evaluation._prevalence import predictive_intervals
from featx.evaluation._resampling import bootstrap_intervals
from featx.populations._calibrate import require_other, write_calibrated
from featx.runs._folder import require_free
from featx.runs._record import RunRecord
from featx.thresholds import (
    ASSUMPTION,
    Prior,
    Recalibration,
    check_accuracy_floor,
    choose_threshold_at,
    estimate_prior,
    fit_recalibration,
    uncertain_range,
)

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun


@dataclass(frozen=True, slots=True)
class ExpectedPoint:
    """What an operating point is expected to do where another share is sick.

    Attributes
    ----------
    threshold
        On the scores of its run.
    values, intervals
        ``accuracy``, ``recall``, ``specificity``, ``precision`` and ``npv``, from the training
        population's out-of-fold scores weighted to that share; intervals are by its patients.
    """

    threshold: float
    values: dict[str, float]
    intervals: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class PriorReport:
    """What `calibrate_unlabelled` did.

    Attributes
    ----------
    run, record
        The new run, and what was written to its ``run.json``.
    prior, training_prior
        Share of sick images here, estimated, and in the training images.
    old, new
        The operating points, as they are expected to do here.
    shift
        How the images differ from the training images.
    """

    run: Path
    record: RunRecord
    prior: Prior
    training_prior: float
    old: ExpectedPoint
    new: ExpectedPoint
    shift: Shift


def calibrate_unlabelled(
    run: FittedRun,
    images: pd.DataFrame,
    target: str | Path,
    *,
    accuracy_floor: float,
    force: bool = False,
) -> PriorReport:
    """Correct a run for the share of sick people among images without labels.

    Scores become probabilities on the run's own out-of-fold scores (Platt 1999), the share of the
    sick is estimated by expectation maximisation (Saerens et al. 2002), the probabilities are
    corrected for it, and the threshold is the one of highest recall whose accuracy *at that share*
    keeps the floor. All of it rests on `featx.thresholds.ASSUMPTION`.

    Parameters
    ----------
    run
        Whose head is used.
    images : DataFrame
        One line an image: path, group, score (by the run), distance (from the training images; NaN
        where it isn't known).
    target, accuracy_floor, force
        See `featx.populations.calibrate`.

    Raises
    ------
    InputError
        When the new run exists, the floor is out of range, or there are no images.
    NoFeasibleThresholdError
        When no threshold reaches the floor.
    """
    target = Path(target)
    check_accuracy_floor(accuracy_floor)
    require_free(target, force)
    require_other(run, target)
    record, seed = run.record, run.record.seed
    before = Scores.from_table(run.out_of_fold, record.classes, "out of fold")
    training_prior = float(before.positive.mean())
    try:
        platt = fit_recalibration(before, "sigmoid")
    except InputError as error:
        raise InputError(
            f"the out-of-fold scores of the run {run.path} don't tell sick from healthy, so the "
            "share of sick people can't be estimated with them",
            "Fit a better head.",
        ) from error
    scores = images["score"].to_numpy(np.float64)
    prior = estimate_prior(platt.apply(scores), training_prior, images["group"], seed=seed)
    share = min(max(prior.share, 1 / (2 * len(images))), 1 - 1 / (2 * len(images)))
    odds = np.log(share / (1 - share)) - np.log(training_prior / (1 - training_prior))
    fitted = Recalibration(method="prior", slope=1.0, intercept=float(odds)).after(platt)
    mapped = replace(before, score=fitted.apply(before.score))
    threshold = choose_threshold_at(mapped, share, accuracy_floor=accuracy_floor)
    old = _expected(before, record.threshold, share, seed)
    new = _expected(mapped, threshold, share, seed)
    shift = _shift(run, images)
    calibrated = {
        "method": "unlabelled images: label shift (Saerens et al. 2002)",
        "assumption": ASSUMPTION,
        "from": str(run.path),
        "images": len(images),
        "patients": int(images["group"].nunique()),
        "share": {"estimated": prior.share, "low": prior.low, "high": prior.high},
        "training_share": training_prior,
        "old": {"threshold": record.threshold, **old[0]},
        "new": {"threshold": threshold, "cross_validated": False, **new[0]},
        "shift": shift.sentence,
    }
    band = uncertain_range(
        mapped, threshold, accuracy_floor=accuracy_floor, prevalence=share, seed=seed
    )
    changed = write_calibrated(
        run,
        target,
        {
            "threshold": threshold,
            "accuracy_floor": accuracy_floor,
            "band": band,
            "recalibration": fitted.after(record.recalibration),
            "calibrated": calibrated,
            "promise": None,
        },
        images.assign(score=fitted.apply(scores))[["path", "group", "score"]],
        force=force,
    )
    return PriorReport(
        target,
        changed,
        prior,
        training_prior,
        ExpectedPoint(record.threshold, *old),
        ExpectedPoint(threshold, *new),
        shift,
    )


def _expected(
    scores: Scores, threshold: float, share: float, seed: int
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return metrics at a share of sick people, and their intervals."""
    truth, called = scores.positive, scores.called(threshold)
    cells = np.stack([truth & called, truth & ~called, ~truth & called, ~truth & ~called], axis=1)

    def rates(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        tp, fn, fp, tn = (weights @ cells.astype(np.float64)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, specificity = tp / (tp + fn), tn / (tn + fp)
            hits, misses = share * recall, share * (1 - recall)
            cleared, alarms = (1 - share) * specificity, (1 - share) * (1 - specificity)
            return {
                "accuracy": hits + cleared,
                "recall": recall,
                "specificity": specificity,
                "precision": hits / (hits + alarms),
                "npv": cleared / (cleared + misses),
            }

    values = {name: float(v[0]) for name, v in rates(np.ones((1, len(truth)))).items()}
    place = scores.patient_number
    drawn = bootstrap_intervals(
        {
            "precision": lambda weights: rates(weights)["precision"],
            "npv": lambda weights: rates(weights)["npv"],
        },
        place,
        seed=seed,
    )
    recall = clustered_interval(called[truth], place[truth])
    specificity = clustered_interval(~called[~truth], place[~truth])
    if recall is None or specificity is None:
        return values, {}
    shares = (values["recall"], values["specificity"]), (share, 1.0 - share)
    ppv, npv = predictive_intervals(recall, specificity, share)
    intervals = {
        "accuracy": added(shares[0], (recall, specificity), shares[1]),
        "recall": recall,
        "specificity": specificity,
        "precision": ppv,
        "npv": npv,
        # Resamples that are all alike say nothing.
        **{name: found for name, found in drawn.items() if found.low < found.high},
    }
    return values, intervals


def _shift(run: FittedRun, images: pd.DataFrame) -> Shift:
    """Compare unlabelled images with the training images."""
    known = Scores.from_table(run.out_of_fold, run.record.classes, "out of fold")
    distances = limit = here = None
    if run.has_reference:
        distances, limit = run.reference.distances, run.reference.limit
        here = images["distance"].to_numpy(np.float64)
    return compare_populations(
        Population.labelled(known, distances),
        Population(
            images["score"].to_numpy(np.float64), images["group"].to_numpy(object), None, here
        ),
        limit=limit,
        classes=run.record.classes,
        seed=run.record.seed,
    )
