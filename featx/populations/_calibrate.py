"""A run for another population: a new operating point from a few local images, the same head."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Metrics, Shift, counted, evaluate_scores
from featx.evaluation._interval import proportion_interval
from featx.runs._folder import require_free, run_folder
from featx.runs._record import (
    CALIBRATION_NAME,
    RECORD_NAME,
    TRAINING_NAME,
    RunRecord,
    versions,
    write_record,
)
from featx.scoring._evaluate import Scored, find_shift
from featx.thresholds import (
    Promise,
    check_accuracy_floor,
    choose_cross_validated,
    fit_recalibration,
    promise_threshold,
    spread_thresholds,
    uncertain_range,
)
from featx_cache._spreadsheets import to_csv

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun

MOST_IMAGES = 1_000_000
SHOWN = ("accuracy", "recall", "specificity", "precision", "npv")

LocalMethod = Literal["sigmoid", "temperature"]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What `calibrate` did.

    Attributes
    ----------
    run
        The new run.
    record
        What was written to its ``run.json``.
    old, new
        The old operating point on the local images, and the new one, cross-validated there: each
        image is called by a threshold that its patient had no part in.
    old_threshold
        Of the run that was calibrated, on its own scores.
    promise
        Where one was asked for.
    shift
        How the local images differ from the training images; None where the run's scores of those
        are gone.
    advice
        Whether the images are too few to show that the floor is kept, and how many would do; empty
        when they aren't.
    """

    run: Path
    record: RunRecord
    old: Metrics
    new: Metrics
    old_threshold: float
    promise: Promise | None
    shift: Shift | None
    advice: str


def calibrate(
    run: FittedRun,
    scored: Scored,
    target: str | Path,
    *,
    accuracy_floor: float,
    recalibrate: LocalMethod | None = None,
    guarantee: float | None = None,
    force: bool = False,
) -> CalibrationReport:
    """Choose a run's operating point anew on labelled images of another population.

    The head stays as it is. The threshold is the one of highest recall with accuracy at or above
    the floor on these images; what it is worth is cross-validated over their patients.

    Parameters
    ----------
    run
        Whose head is used.
    scored
        Local images, scored by it; see `featx.scoring.score_images`.
    target
        Directory of the new run; it appears whole or not at all.
    accuracy_floor
        Between 0 and 1.
    recalibrate
        Make the scores probabilities for these images, too: ``sigmoid`` (Platt 1999) or
        ``temperature`` (Guo et al. 2017). None leaves them.
    guarantee
        Confidence with which accuracy on new local patients keeps the floor; see
        `featx.thresholds.promise_threshold`. The threshold is then the promise's. None promises
        nothing.
    force
        Replace a run that is there already.

    Raises
    ------
    InputError
        When the new run exists, the floor is out of range, or a class has too few patients.
    NoFeasibleThresholdError
        When no threshold reaches the floor on these images, or nothing can be promised.
    """
    target = Path(target)
    check_accuracy_floor(accuracy_floor)
    require_free(target, force)
    require_other(run, target)
    table, record, seed = scored.table, run.record, run.record.seed
    scores = Scores.from_table(table, record.classes, scored.split)
    local = choose_cross_validated(scores, accuracy_floor=accuracy_floor, seed=seed)
    recalibration, mapped = record.recalibration, scores
    if recalibrate is not None:
        fitted = fit_recalibration(scores, recalibrate)
        recalibration = fitted.after(record.recalibration)
        mapped = replace(scores, score=fitted.apply(scores.score))
        (threshold,) = fitted.apply([local.threshold])
    else:
        fitted, threshold = None, local.threshold
    promise = None
    if guarantee is not None:
        known = Scores.from_table(run.out_of_fold, record.classes, "out of fold")
        if fitted is not None:
            known = replace(known, score=fitted.apply(known.score))
        promise = promise_threshold(
            mapped,
            spread_thresholds(known),
            accuracy_floor=accuracy_floor,
            confidence=guarantee,
            sequence=False,
            seed=seed,
            advice="Label images of more patients; or lower `accuracy_floor` or `guarantee`.",
        )
        threshold = promise.threshold
    old = evaluate_scores(scores, record.threshold, seed=seed)
    # Images of a promise are called by the one threshold that these very labels tested.
    called = mapped.called(threshold) if promise is not None else local.called
    new = evaluate_scores(replace(scores, score=called.astype(np.float64)), 0.5, seed=seed)
    shift = find_shift(run, scored)
    advice = _advice(new, accuracy_floor) if promise is None else ""
    band = uncertain_range(mapped, float(threshold), accuracy_floor=accuracy_floor, seed=seed)
    calibrated = {
        "method": "labelled images" if promise is None else "labelled images, with a promise",
        "from": str(run.path),
        "images": len(table),
        "patients": int(table["group"].nunique()),
        "folds": local.folds,
        "old": {"threshold": record.threshold, **summary(old)},
        "new": {"threshold": float(threshold), "cross_validated": promise is None, **summary(new)},
        "shift": shift.sentence if shift is not None else None,
        "advice": advice,
    }
    changed = write_calibrated(
        run,
        target,
        {
            "threshold": float(threshold),
            "accuracy_floor": accuracy_floor,
            "band": band,
            "recalibration": recalibration,
            "calibrated": calibrated,
            "promise": promise.as_dict() if promise is not None else None,
        },
        table.assign(score=mapped.score)[["path", "label", "group", "score"]],
        table["sha256"].tolist(),
        force=force,
    )
    return CalibrationReport(target, changed, old, new, record.threshold, promise, shift, advice)


def require_other(run: FittedRun, target: Path) -> None:
    """Refuse to replace a run by one that is made of it.

    Raises
    ------
    InputError
        When both are the same folder.
    """
    if target.resolve() == run.path.resolve():
        raise InputError(
            f"{target} is the run that is calibrated, which is kept as it is",
            "Give `run` a new folder.",
        )


def summary(metrics: Metrics) -> dict[str, Any]:
    """Return what a threshold achieved, with intervals, as plain types."""
    plain = metrics.as_dict()
    return {
        **{name: plain[name] for name in SHOWN},
        "intervals": {n: i for n, i in plain["intervals"].items() if n in SHOWN},
        "confusion": plain["confusion"],
    }


def write_calibrated(
    run: FittedRun,
    target: Path,
    changes: dict[str, Any],
    table: pd.DataFrame,
    hashes: Sequence[str] = (),
    *,
    force: bool = False,
) -> RunRecord:
    """Write a run that differs from another in its operating point only.

    Parameters
    ----------
    run, target
        From which, and to where.
    changes
        Fields of its record.
    table
        The local images, for ``calibration.csv``.
    hashes
        SHA-256 of labelled images: evaluation leaves them out, since they chose the threshold.
    force
        Replace a run that is there already.
    """
    changed = run.record.model_copy(
        update={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            **changes,
        }
    )
    known = run.out_of_fold
    recalibration = changed.recalibration
    if run.record.recalibration != recalibration:
        # Back to the head's own scores, and on by the new map.
        known = run.head_out_of_fold
        if recalibration is not None:
            known = known.assign(score=recalibration.apply(known["score"]))
    scores = Scores.from_table(known, changed.classes, "out of fold")
    metrics = evaluate_scores(scores, changed.threshold, seed=changed.seed)
    changed = changed.model_copy(update={"metrics": {"out_of_fold": metrics.as_dict()}})
    for name in run.record.files:
        run.file(name)  # which refuses what is damaged or missing
    with run_folder(target, force=force) as folder:
        for path in run.path.iterdir():
            if path.is_file() and path.name not in (RECORD_NAME, CALIBRATION_NAME):
                run.read(path.name, partial(shutil.copy2, dst=folder / path.name))
        fitted = (folder / TRAINING_NAME).read_text().split()
        (folder / TRAINING_NAME).write_text("\n".join([*fitted, *hashes]) + "\n")
        to_csv(table, folder / CALIBRATION_NAME, errors="surrogateescape")
        return write_record(folder, changed)


def _advice(metrics: Metrics, floor: float) -> str:
    """Say whether the images are too few to show that the floor is kept, and how many would do."""
    low = metrics.intervals["accuracy"].low if "accuracy" in metrics.intervals else 0.0
    if low >= floor:
        return ""
    high = metrics.intervals["accuracy"].high if "accuracy" in metrics.intervals else 1.0
    said = (
        f"{counted(metrics.images, 'image')} can't show that accuracy keeps the floor {floor:g}: "
        f"cross-validated, it is {metrics.accuracy:.4f}, and its 95 % interval is {low:.4f} – "
        f"{high:.4f}."
    )
    if high < floor:
        return f"{said} All of it is below the floor: lower `accuracy_floor`."
    if (needed := images_needed(metrics.accuracy, floor)) is None:
        return (
            f"{said} The floor is in it, so it may be kept or not: label more images to find out, "
            "or lower `accuracy_floor`."
        )
    return f"{said} About {max(needed, metrics.images + 1):,} images would do at this accuracy."


def images_needed(accuracy: float, floor: float) -> int | None:
    """Return how many independent images put the lower end of Wilson's interval at a floor.

    Parameters
    ----------
    accuracy
        What it is expected to be, 0..1.
    floor
        0..1.

    Returns
    -------
    int or None
        None where no number does, or more than a million.
    """

    def enough(images: int) -> bool:
        interval = proportion_interval(round(accuracy * images), images, "wilson")
        return interval is not None and interval.low >= floor

    if accuracy <= floor:
        return None
    high = 16
    while not enough(high):
        high *= 2
        if high > MOST_IMAGES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
