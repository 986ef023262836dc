"""Fitting: out-of-fold scores, the operating point, a refit on everything, a run on disk."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._progress import SILENT, Progress
from featx.evaluation import Metrics, evaluate_scores
from featx.extraction._spec import spec_of
from featx.fitting._final_fit import Chosen, Job, final_head, write_run
from featx.heads import HeadSpec
from featx.runs._folder import require_free
from featx.runs._record import RunRecord
from featx.runs._unfinished import job_of, unfinished
from featx.thresholds import OperatingPoint, check_accuracy_floor, choose_threshold
from featx.training import TrainingData, load_training_data, out_of_fold
from featx_cache import Cache


@dataclass(frozen=True, slots=True)
class FitReport:
    """What `fit` did.

    Attributes
    ----------
    run
        The run directory.
    point
        The operating point.
    metrics
        Out of fold, at the operating point. The threshold was chosen on the same scores; the test
        split alone tells what to expect.
    record
        What was written to ``run.json``.
    """

    run: Path
    point: OperatingPoint
    metrics: Metrics
    record: RunRecord


def fit(
    cache: Cache,
    spec: HeadSpec,
    run: str | Path,
    *,
    accuracy_floor: float = 0.9,
    use_copies: bool | None = None,
    tta: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> FitReport:
    """Fit a head on the train and val images of a cache and choose its operating point.

    Scores come out of fold (stratified, grouped by patient); the threshold maximises recall on
    them subject to accuracy at or above the floor; the final head is fitted on train and val.

    Parameters
    ----------
    cache
        See `featx_cache.open_cache`.
    spec
        Which head.
    run
        Directory to write; it appears whole or not at all.
    accuracy_floor
        Between 0 and 1.
    use_copies
        Train on the augmented copies too, where the cache has some. None does for ``keras`` only:
        copies helped it, and cost the others AUC (see ``docs/results.md``).
    tta
        Average each score over the image and its copies (test-time augmentation), here and
        wherever the run is used. Otherwise scores are those of the untouched images.
    resume
        Go on with a Keras training that was interrupted: it ends as it would have.
    force
        Replace a run that is there already.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When the run exists, the floor is out of range, or the cache lacks a class.
    NoFeasibleThresholdError
        When no threshold reaches the floor; no run is written.
    """
    target = Path(run)
    check_accuracy_floor(accuracy_floor)
    require_free(target, force)
    if use_copies is None:
        use_copies = spec.name == "keras"
    data = load_training_data(cache, spec, use_copies=use_copies, tta=tta, progress=progress)
    job = Job(spec, target, accuracy_floor, tta=tta, resume=resume, force=force)
    return fit_on(data, cache, job, progress)


def fit_on(data: TrainingData, cache: Cache, job: Job, progress: Progress) -> FitReport:
    """Fit a head on data that was read before; see `fit`."""
    spec, started = job.spec, time.perf_counter()
    _tell_reduction(spec, data, progress)
    fitted_on = data.table[data.fitted]
    key = job_of(spec, spec_of(cache).fingerprint, fitted_on, job.accuracy_floor)
    with _workplace(job, key, progress) as workplace:
        scores, folds, history = out_of_fold(
            spec,
            data,
            seed=spec.seed,
            tta=job.tta,
            accuracy_floor=job.accuracy_floor,
            workplace=workplace,
            progress=progress,
        )
        truth = scores["label"] == cache.classes[1]
        point = choose_threshold(
            truth, scores["score"], accuracy_floor=job.accuracy_floor, seed=spec.seed
        )
        metrics = evaluate_scores(
            truth, scores["score"], point.threshold, scores["group"], seed=spec.seed
        )
        chosen = Chosen(
            threshold=point.threshold,
            metrics=metrics,
            scores=scores,
            folds=folds,
            history=history,
            search={"method": "optuna", "trials": point.trials, "snapped_to_sweep": point.snapped},
            seconds=time.perf_counter() - started,
        )
        fitted = final_head(data, job, history, workplace=workplace, progress=progress)
        for outcome in history.outcomes:
            progress.note(outcome)
        record = write_run(data, cache, job, fitted, chosen, workplace)
    return FitReport(job.run, point, metrics, record)


def _workplace(
    job: Job, key: dict[str, Any], progress: Progress
) -> contextlib.AbstractContextManager[Path | None]:
    """Give the Keras head a place for its state; the others are done in seconds."""
    if job.spec.keras is None or job.spec.calibration is not None:
        return contextlib.nullcontext()
    return unfinished(job.run, key, resume=job.resume, progress=progress)


def _tell_reduction(spec: HeadSpec, data: TrainingData, progress: Progress) -> None:
    settings = spec.baseline
    if settings is not None and settings.components is not None:
        progress.note(
            f"{spec.name}: {data.X.shape[1]:,} features an image ({settings.representation}), "
            f"reduced to {min(settings.components, *data.X.shape)} principal components first"
        )
