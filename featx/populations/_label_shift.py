"""A run for a population with another share of sick people, from images without labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Progress
from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Interval, Population, Shift, plural
from featx.evaluation._clustered import clustered_interval, weighted_sum_interval
from featx.evaluation._metrics import metrics_frame, metrics_html
from featx.evaluation._prevalence import predictive_intervals
from featx.evaluation._resampling import bootstrap_intervals
from featx.populations._unlabelled_images import UnlabelledImages, score_unlabelled
from featx.populations._write_calibrated import require_other, write_calibrated
from featx.runs._fitted import FittedRun
from featx.runs._folder import require_free
from featx.runs._record import RunRecord
from featx.scoring._labelled_data import ScoringOptions
from featx.scoring._left_out import LeftOut
from featx.scoring._shift import shift_from_training
from featx.thresholds import (
    LABEL_SHIFT_ASSUMPTION,
    Prior,
    Recalibration,
    choose_threshold_at_prevalence,
    estimate_prior,
    fit_recalibration,
    uncertain_range,
)
from featx.thresholds._criterion import criterion_or
from featx_cache import Cache
from featx_cache._text import printable


@dataclass(frozen=True, slots=True)
class ExpectedPoint:
    """What an operating point is expected to do in a population with another share of the sick.

    Attributes
    ----------
    threshold
        Threshold on the scores of its run.
    values, intervals
        ``accuracy``, ``recall``, ``specificity``, ``precision`` and ``npv``, from the training
        population's out-of-fold scores weighted to that share, with 95 % intervals by its patients.
    """

    threshold: float
    values: dict[str, float]
    intervals: dict[str, Interval]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric, with the ends of its interval."""
        ends = {name: {"low": each.low, "high": each.high} for name, each in self.intervals.items()}
        return metrics_frame({**self.values, "intervals": ends})


@dataclass(frozen=True, slots=True)
class LabelShiftReport:
    """Result of `calibrate_unlabelled`.

    Attributes
    ----------
    run, record
        Directory of the new run, and content of its ``run.json``.
    images
        Number of images.
    prior, training_prior
        Share of sick images here, estimated, and in the training images.
    old, new
        Operating points, as they are expected to do here.
    shift
        Difference of the images from the training images.
    left_out
        Images that weren't used, because the run was fitted on them or on their patients.

    Examples
    --------
    >>> report = calibrate_unlabelled(run, "our_hospital", "runs/ours")  # doctest: +SKIP
    >>> report.prior.share  # doctest: +SKIP
    """

    run: Path
    record: RunRecord
    images: int
    prior: Prior
    training_prior: float
    old: ExpectedPoint
    new: ExpectedPoint
    shift: Shift | None
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def old_threshold(self) -> float:
        """Threshold of the run that was calibrated, on its own scores."""
        return self.old.threshold

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the expected metrics."""
        notes = [
            f"{plural(self.images, 'image')} without labels: {self.prior.share:.1%} are sick by "
            f"estimate (95 % interval {self.prior.low:.1%} – {self.prior.high:.1%}), of the "
            f"training images {self.training_prior:.1%} were.",
            "These numbers are no measurement here: they are those of the training population's "
            f"out-of-fold scores at that share, and hold under {LABEL_SHIFT_ASSUMPTION}.",
        ]
        if self.shift is not None:
            notes.append(self.shift.sentence)
            if self.shift.suspected:
                notes.append(
                    "Another share of sick people may not be all that differs: a few dozen "
                    "labelled images say more."
                )
        return tuple(notes)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: both expected values with the ends of their 95 % intervals."""
        old, new = self.old.to_frame(), self.new.to_frame()
        return old.merge(new, on="metric", suffixes=("_old", "_new"))

    def __repr__(self) -> str:
        return printable(
            f"LabelShiftReport({self.run.name}: {self.prior.share:.1%} sick by estimate, threshold "
            f"{self.old.threshold:.6g} -> {self.new.threshold:.6g})"
        )

    def _repr_html_(self) -> str:
        return metrics_html(self.to_frame(), self.notes, title=repr(self))


def refuse_with_unlabelled(**labelled: object) -> None:
    """Refuse what needs labels, or keeps embeddings, if labels aren't known.

    Raises
    ------
    InputError
        If any of it was given.
    """
    if labelled.get("recalibrate") is not None or labelled.get("guarantee") is not None:
        raise InputError(
            "`recalibrate` and `guarantee` need labels",
            "Leave them out, or leave out `unlabelled=True`.",
        )
    if labelled.get("cache") is not None:
        raise InputError(
            "`cache` keeps the embeddings of labelled images, and with `unlabelled=True` none are "
            "made",
            "Leave it out.",
            parameter="cache",
        )


def calibrate_unlabelled(  # noqa: PLR0913
    run: FittedRun,
    images: UnlabelledImages | Cache | str | Path,
    target: str | Path,
    *,
    accuracy_floor: float | None = None,
    recall_floor: float | None = None,
    specificity_floor: float | None = None,
    cost: tuple[float, float] | None = None,
    youden: bool = False,
    options: ScoringOptions | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> LabelShiftReport:
    """Correct a run for the share of sick people among images without labels.

    Scores become probabilities on the run's own out-of-fold scores (Platt 1999), the share of the
    sick is estimated by expectation maximisation (Saerens et al. 2002), the probabilities are
    corrected for it, and the threshold is the best one by the criterion, with the accuracy and the
    cost *at that share*. All of it rests on `featx.thresholds.LABEL_SHIFT_ASSUMPTION`.

    Parameters
    ----------
    run
        Run whose head is used. It stays as it is.
    images
        Image file, folder of images, or cache, whose labels aren't looked at. Or their scores by
        the run (`featx.populations.score_unlabelled`).
    target, accuracy_floor, recall_floor, specificity_floor, cost, youden, force, progress
        See `featx.populations.calibrate`.
    options
        Place of the backbone's weights, and whether known patients are kept.

    Raises
    ------
    InputError
        If the new run exists, a floor is out of range, or there are no images.
    NoFeasibleThresholdError
        If no threshold reaches the floors.

    Examples
    --------
    >>> calibrate_unlabelled(run, "our_hospital", "runs/ours")  # doctest: +SKIP
    LabelShiftReport(ours: 12.5% sick by estimate, threshold 0.42 -> 0.61)
    """
    target = Path(target)
    criterion = criterion_or(
        run.record.criterion,
        {
            "accuracy_floor": accuracy_floor,
            "recall_floor": recall_floor,
            "specificity_floor": specificity_floor,
            "cost": cost,
            "youden": youden,
        },
    )
    require_other(run, target)
    require_free(target, force)
    if not isinstance(images, UnlabelledImages):
        images = score_unlabelled(run, images, options, progress=progress)
    table = images.table
    record, seed = run.record, run.record.seed
    before = run.chosen_scores
    training_prior = float(before.positive.mean())
    try:
        platt = fit_recalibration(before, "sigmoid")
    except InputError as error:
        raise InputError(
            f"the out-of-fold scores of the run {run.path} don't tell sick from healthy, so the "
            "share of sick people can't be estimated with them",
            "Fit a better head.",
        ) from error
    scores = table["score"].to_numpy(np.float64)
    prior = estimate_prior(platt.apply(scores), training_prior, table["group"], seed=seed)
    share = min(max(prior.share, 1 / (2 * len(table))), 1 - 1 / (2 * len(table)))
    odds = np.log(share / (1 - share)) - np.log(training_prior / (1 - training_prior))
    fitted = Recalibration(method="prior", slope=1.0, intercept=float(odds)).after(platt)
    mapped = replace(before, score=fitted.apply(before.score))
    threshold = choose_threshold_at_prevalence(mapped, share, criterion=criterion)
    old = _expected(before, record.threshold, share, seed)
    new = _expected(mapped, threshold, share, seed)
    distances, patients = table["distance"].to_numpy(np.float64), table["group"].to_numpy(object)
    shift = shift_from_training(run, Population(scores, patients, None, distances))
    calibrated = {
        "method": "unlabelled images: label shift (Saerens et al. 2002)",
        "assumption": LABEL_SHIFT_ASSUMPTION,
        "from": str(run.path),
        "images": len(table),
        "patients": int(table["group"].nunique()),
        "share": {"estimated": prior.share, "low": prior.low, "high": prior.high},
        "training_share": training_prior,
        "old": {"threshold": record.threshold, **old.values},
        "new": {"threshold": threshold, "cross_validated": False, **new.values},
        "shift": shift.sentence if shift is not None else None,
    }
    band = uncertain_range(mapped, threshold, criterion=criterion, prevalence=share, seed=seed)
    changed = write_calibrated(
        run,
        target,
        {
            "threshold": threshold,
            "accuracy_floor": criterion.accuracy_floor or 0.0,
            "criterion": criterion,
            "band": band,
            "recalibration": fitted.after(record.recalibration),
            "calibrated": calibrated,
            "promise": None,
        },
        table.assign(score=fitted.apply(scores))[["path", "group", "score"]],
        force=force,
    )
    return LabelShiftReport(
        target,
        changed,
        len(table),
        prior,
        training_prior,
        old,
        new,
        shift,
        images.left_out,
    )


def _expected(scores: Scores, threshold: float, share: float, seed: int) -> ExpectedPoint:
    """Return what a threshold is expected to do at a share of sick people."""
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
    patient = scores.patient_number
    drawn = bootstrap_intervals(
        {
            "precision": lambda weights: rates(weights)["precision"],
            "npv": lambda weights: rates(weights)["npv"],
        },
        patient,
        seed=seed,
    )
    recall = clustered_interval(called[truth], patient[truth])
    specificity = clustered_interval(~called[~truth], patient[~truth])
    if recall is None or specificity is None:
        return ExpectedPoint(threshold, values, {})
    shares = (values["recall"], values["specificity"]), (share, 1.0 - share)
    ppv, npv = predictive_intervals(recall, specificity, share)
    intervals = {
        "accuracy": weighted_sum_interval(shares[0], (recall, specificity), shares[1]),
        "recall": recall,
        "specificity": specificity,
        "precision": ppv,
        "npv": npv,
        # If all resamples are alike, they say nothing.
        **{name: found for name, found in drawn.items() if found.low < found.high},
    }
    return ExpectedPoint(threshold, values, intervals)
