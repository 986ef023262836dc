"""A run for another population: a new operating point from a few local images, the same head."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Progress
from featx._scores import Scores
from featx._specs import require_known
from featx.data import unknown_patients
from featx.errors import FeatxError, InputError
from featx.evaluation import Metrics, Shift, counts_in_words, evaluate_scores, plural
from featx.evaluation._metrics import metrics_html
from featx.populations._images_needed import advice_on_images
from featx.populations._sampling_weights import is_weighted, keeping_weights, rows_by_weight
from featx.populations._write_calibrated import SHOWN, require_other, summary, write_calibrated
from featx.runs._fitted import FittedRun
from featx.runs._folder import require_free
from featx.runs._record import RunRecord
from featx.scoring._evaluation import find_shift
from featx.scoring._labelled_data import Data, ScoringOptions, is_cache, score_data
from featx.scoring._left_out import LeftOut
from featx.scoring._scored import Scored
from featx.thresholds import (
    Criterion,
    Promise,
    Recalibration,
    choose_cross_validated,
    fit_recalibration,
    promise_threshold,
    spread_thresholds,
    uncertain_range,
)
from featx.thresholds._criterion import criterion_or
from featx_cache import Cache
from featx_cache._text import printable

LocalMethod = Literal["sigmoid", "temperature"]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Result of `calibrate`.

    Attributes
    ----------
    run
        Directory of the new run.
    record
        Content of its ``run.json``.
    old, new
        Metrics of the old operating point on the local images, and of the new one, cross-validated
        there: each image is called by a threshold that its patient had no part in. A promised
        threshold is measured as it is.
    old_threshold
        Threshold of the run that was calibrated, on its own scores.
    promise
        Promise of the floors. None if none was asked for.
    shift
        Difference of the local images from the training images. None for runs of earlier versions
        that have no scores of these.
    advice
        Whether the images are too few to show that the floors are kept, and how many would do.
        Empty if they aren't.
    left_out
        Local images that weren't used, because the run was fitted on them or on their patients.
    unknown_patients
        Warning that patients of the local images aren't known; empty if they are.
    weighted
        Whether images count as often as their sampling weights say. See `Run.suggest_labels`.

    Examples
    --------
    >>> report = calibrate(run, "our_hospital", "runs/ours", accuracy_floor=0.9)  # doctest: +SKIP
    >>> report.to_frame()  # doctest: +SKIP
    """

    run: Path
    record: RunRecord
    old: Metrics
    new: Metrics
    old_threshold: float
    promise: Promise | None
    shift: Shift | None
    advice: str
    left_out: LeftOut = field(default_factory=LeftOut)
    unknown_patients: str = ""
    weighted: bool = False

    @property
    def in_words(self) -> tuple[str, str]:
        """Counts of missed and of wrongly called images, at the old and at the new threshold."""
        new = "New threshold" if self.promise is not None else "New threshold, cross-validated"
        return (
            f"Old threshold: {counts_in_words(self.old.confusion, self.record.classes)}",
            f"{new}: {counts_in_words(self.new.confusion, self.record.classes)}",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the metrics."""
        images, patients = plural(self.old.images, "image"), plural(self.old.patients, "patient")
        chosen = (
            f"{images} of {patients}. The new threshold is the one of "
            f"{self.record.criterion.in_words} on them"
        )
        if self.promise is not None:
            notes = [f"{chosen} that can be promised.", self.promise.sentence]
        else:
            notes = [
                f"{chosen}.",
                "Numbers of the new one are cross-validated: each image is called by a threshold "
                "that its patient had no part in.",
            ]
        if self.weighted:
            notes.append(
                "Images count as often as their sampling weights say. The counts above are of the "
                "images that have labels."
            )
        shift = self.shift.sentence if self.shift is not None else ""
        calibrated = self.record.calibrated
        given_up = calibrated.note if calibrated is not None else None
        return (*notes, *filter(None, [given_up, self.advice, shift]))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: both values with the ends of their 95 % intervals."""
        old, new = (metrics.to_frame() for metrics in (self.old, self.new))
        both = old.merge(new, on="metric", suffixes=("_old", "_new"))
        return both[both["metric"].isin(SHOWN)].reset_index(drop=True)

    def __repr__(self) -> str:
        return printable(
            f"CalibrationReport({self.run.name}: threshold {self.old_threshold:.6g} -> "
            f"{self.record.threshold:.6g}, accuracy {self.old.accuracy:.3f} -> "
            f"{self.new.accuracy:.3f}, recall {self.old.recall:.3f} -> {self.new.recall:.3f})"
        )

    def _repr_html_(self) -> str:
        notes = [*self.in_words, *self.notes, self.left_out.sentence, self.unknown_patients]
        return metrics_html(self.to_frame(), filter(None, notes), title=repr(self))


def calibrate(  # noqa: PLR0913
    run: FittedRun,
    data: Scored | Data,
    target: str | Path,
    *,
    accuracy_floor: float | None = None,
    recall_floor: float | None = None,
    specificity_floor: float | None = None,
    cost: tuple[float, float] | None = None,
    youden: bool = False,
    recalibrate: LocalMethod | None = None,
    guarantee: float | None = None,
    options: ScoringOptions | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> CalibrationReport:
    """Choose a run's operating point anew on labelled images of another population.

    The head stays as it is. The threshold is the best one by the criterion on these images; what it
    is worth is cross-validated over their patients.

    Parameters
    ----------
    run
        Run whose head is used. It stays as it is.
    data
        Local images: a cache, a manifest, a table, or a path to anything that
        `featx.load_manifest` reads. Or their scores by the run (`featx.scoring.score_images`).
    target
        Directory of the new run. It appears whole or not at all.
    accuracy_floor, recall_floor, specificity_floor, cost, youden
        Criterion of the threshold there; see `featx.choose_threshold`. If none of them is given, it
        is the run's own.
    recalibrate
        Method that makes scores probabilities for these images, too: ``sigmoid`` (Platt 1999) or
        ``temperature`` (Guo et al. 2017). None leaves the scores as they are.
    guarantee
        Confidence with which new local patients keep the floors; see
        `featx.thresholds.promise_threshold`. The threshold is then the promise's. None promises
        nothing.
    options
        Choice of the images; by default all of them.
    force
        Whether a run that is there already is replaced.
    progress
        Bars by default; False is silent.

    Raises
    ------
    InputError
        If the new run exists, a floor is out of range, or a class has too few patients.
    NoFeasibleThresholdError
        If no threshold reaches the floors on these images, or nothing can be promised.

    Examples
    --------
    >>> calibrate(run, "our_hospital", "runs/ours", accuracy_floor=0.9)  # doctest: +SKIP
    CalibrationReport(ours: threshold 0.42 -> 0.61, accuracy 0.820 -> 0.907, recall 0.990 -> 0.951)
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
    if recalibrate is not None:
        require_known("method of recalibration", recalibrate, get_args(LocalMethod))
    if guarantee is not None and not 0.0 < guarantee < 1.0:
        raise InputError(
            f"the confidence {guarantee:g} is not between 0 and 1",
            "Give `guarantee=0.9`.",
            parameter="guarantee",
        )
    if guarantee is not None:
        criterion.require_floor()
    require_other(run, target)
    require_free(target, force)
    if isinstance(data, Scored):
        scored, kept = data, None
    else:
        options = keeping_weights(data, options or ScoringOptions(split="all"))
        (scored,) = score_data([run], data, options, progress=progress)
        kept = _whether_kept(data, options)
    try:
        chosen = _choose(run, scored, criterion, recalibrate, guarantee)
    except FeatxError as error:
        for note in (scored.left_out.sentence, kept):
            if note:
                error.add_note(note)
        raise
    return chosen.write(run, scored, target, force=force)


def _whether_kept(data: Data, options: ScoringOptions) -> str:
    """Say where the embeddings are that were made for nothing; empty if none were made."""
    if isinstance(data, Cache) or (isinstance(data, str | Path) and is_cache(Path(data))):
        return ""
    if options.cache is None:
        return (
            "The embeddings were not kept: add `cache=FOLDER`, and the next try starts from them."
        )
    return f"The embeddings are kept in {options.cache}: `run.calibrate` starts from that folder."


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Operating point that was chosen on local images, and what it is worth there."""

    threshold: float
    criterion: Criterion
    mapped: Scores
    recalibration: Recalibration | None
    old: Metrics
    new: Metrics
    promise: Promise | None
    folds: int
    note: str

    def write(
        self, run: FittedRun, scored: Scored, target: Path, *, force: bool
    ) -> CalibrationReport:
        """Write the new run."""
        record, promise, table = run.record, self.promise, scored.table
        first = np.unique(rows_by_weight(scored), return_index=True)[1]
        shift = find_shift(run, scored)
        advice = advice_on_images(self.new, self.criterion) if promise is None else ""
        calibrated = {
            "method": "labelled images" if promise is None else "labelled images, with a promise",
            "from": str(run.path),
            "images": len(table),
            "patients": int(table["group"].nunique()),
            "folds": self.folds,
            "old": {"threshold": record.threshold, **summary(self.old)},
            "new": {
                "threshold": self.threshold,
                "cross_validated": promise is None,
                **summary(self.new),
            },
            "shift": shift.sentence if shift is not None else None,
            "advice": advice,
            **({"note": self.note} if self.note else {}),
        }
        changes = {
            "threshold": self.threshold,
            "accuracy_floor": self.criterion.accuracy_floor or 0.0,
            "criterion": self.criterion,
            "band": uncertain_range(
                self.mapped,
                self.threshold,
                criterion=self.criterion,
                seed=record.seed,
            ),
            "recalibration": self.recalibration,
            "calibrated": calibrated,
            "promise": promise.as_dict() if promise is not None else None,
        }
        changed = write_calibrated(
            run,
            target,
            changes,
            table.assign(score=self.mapped.score[first])[["path", "label", "group", "score"]],
            table["sha256"].tolist(),
            force=force,
        )
        return CalibrationReport(
            target,
            changed,
            self.old,
            self.new,
            record.threshold,
            promise,
            shift,
            advice,
            scored.left_out,
            unknown_patients(table),
            is_weighted(scored),
        )


def _choose(
    run: FittedRun,
    scored: Scored,
    criterion: Criterion,
    recalibrate: LocalMethod | None,
    guarantee: float | None,
) -> _Chosen:
    """Choose the operating point, and measure it and the old one."""
    rows, record, seed = rows_by_weight(scored), run.record, run.record.seed
    scores = scored.scores[rows]
    if guarantee is not None and is_weighted(scored):
        raise InputError(
            "a guarantee needs a random sample of patients, and these were drawn by their scores",
            "Leave `guarantee` out, or label images that were drawn at random.",
            parameter="guarantee",
        )
    local = choose_cross_validated(scores, criterion=criterion, seed=seed)
    recalibration, mapped, known = record.recalibration, scores, run.scores
    threshold = local.threshold
    if recalibrate is not None:
        fitted = fit_recalibration(scores, recalibrate)
        recalibration = fitted.after(record.recalibration)
        mapped, known = (replace(each, score=fitted.apply(each.score)) for each in (scores, known))
        (threshold,) = fitted.apply([threshold])
    promise = None
    if guarantee is not None:
        promise = promise_threshold(
            mapped,
            spread_thresholds(known),
            criterion=criterion,
            confidence=guarantee,
            sequence=False,
            seed=seed,
            advice="Label images of more patients, or lower {floors} or `guarantee`.",
        )
        threshold = promise.threshold
    # Images of a promise are called by the one threshold that these very labels tested.
    called = mapped.called(threshold) if promise is not None else local.called
    return _Chosen(
        float(threshold),
        criterion,
        mapped,
        recalibration,
        _measured(scores, record.threshold, rows, seed),
        _measured(replace(scores, score=called.astype(np.float64)), 0.5, rows, seed),
        promise,
        local.folds,
        local.note if promise is None else "",
    )


def _measured(scores: Scores, threshold: float, rows: NDArray[np.intp], seed: int) -> Metrics:
    """Measure scores of images that count as often as `rows` says. Counts are of the images."""
    once = evaluate_scores(scores[np.unique(rows, return_index=True)[1]], threshold, resamples=0)
    found = evaluate_scores(scores, threshold, seed=seed)
    return replace(found, images=once.images, confusion=once.confusion)
