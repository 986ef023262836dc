"""Fitting: out-of-fold scores, the operating point, a refit on everything, a run on disk."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx.errors import InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.extraction import spec_of
from featx.heads import HeadSpec, save_head
from featx.progress import SILENT, Progress
from featx.runs.record import RECORD_NAME, RunRecord, versions
from featx.runs.unfinished import job_of, unfinished
from featx.thresholds import OperatingPoint, check_accuracy_floor, choose_threshold
from featx.training.data import FITTED_SPLITS, TrainingData, load_training_data
from featx.training.history import History, draw_curves
from featx.training.scoring import fit_head, fit_units, out_of_fold
from featx_cache import Cache, atomic_folder, storage_errors

OOF_NAME = "oof.csv"
TRAINING_NAME = "training.txt"
LOG_NAME = "fit.log"
HISTORY_NAME, CURVES_NAME, TENSORBOARD_NAME = "history.csv", "curves.png", "tensorboard"
TIMED_IMAGES = 128


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
    job = Job(spec, target, accuracy_floor, tta=tta, resume=resume)
    return fit_on(data, cache, job, progress)


@dataclass(frozen=True, slots=True)
class Job:
    """One fit: which head, where to, under which floor; see `fit`."""

    spec: HeadSpec
    run: Path
    accuracy_floor: float
    tta: bool = False
    resume: bool = False


def fit_on(data: TrainingData, cache: Cache, job: Job, progress: Progress) -> FitReport:
    """Fit a head on data that was read before; see `fit`."""
    spec, started = job.spec, time.perf_counter()
    extraction = spec_of(cache)
    _tell_reduction(spec, data, progress)
    fitted_on = data.table[data.fitted]
    key = job_of(spec, extraction.fingerprint, fitted_on, job.accuracy_floor)
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
        searched = time.perf_counter()
        units, unit = fit_units(spec)
        with progress.task(f"Final fit on {' and '.join(FITTED_SPLITS)}", units, unit) as advance:
            head = fit_head(
                spec,
                data,
                np.flatnonzero(data.fitted),
                advance,
                accuracy_floor=job.accuracy_floor,
                workplace=workplace / "final" if workplace is not None else None,
            )
        history.add("final", head)
        finished = time.perf_counter()
        record = RunRecord(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            threshold=point.threshold,
            accuracy_floor=job.accuracy_floor,
            classes=cache.classes,
            head=spec,
            head_file="head.keras" if type(head).__name__ == "KerasHead" else "head.skops",
            extraction=extraction,
            fingerprint=extraction.fingerprint,
            cache=str(cache.path.resolve()),
            weights=cache.weights,
            seed=spec.seed,
            fitted_splits=FITTED_SPLITS,
            images=metrics.images,
            patients=metrics.patients,
            folds=folds,
            copies=data.copies,
            tta=int(data.copy.max()) if job.tta else 0,
            metrics={"out_of_fold": metrics.as_dict()},
            search={"method": "optuna", "trials": point.trials, "snapped_to_sweep": point.snapped},
            seconds={
                "out_of_fold": round(searched - started, 3),
                "final_fit": round(finished - searched, 3),
                "predict_image": _seconds_an_image(head, cache),
            },
            versions=versions(),
        )
        for outcome in history.outcomes:
            progress.note(outcome)
        _write(job.run, record, head, (scores, data, history), workplace)
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


def _seconds_an_image(head: Any, cache: Cache) -> float:
    """Time the head on embeddings as they are cached, pooling included."""
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=False)[:TIMED_IMAGES]
    embeddings = cache.read(rows)
    head.predict_proba(embeddings)
    started = time.perf_counter()
    head.predict_proba(embeddings)
    return (time.perf_counter() - started) / len(rows)


def require_free(target: Path, force: bool) -> None:
    """Fail before the long work when the run can't be written.

    Raises
    ------
    InputError
        When something is there, and not a run that may be replaced.
    StorageError
        When the place can't be written to.
    """
    if target.name in ("", ".."):
        raise InputError(f"{str(target)!r} can't be replaced by a run", "Give --run a new folder.")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file, not a folder", "Give --run a new folder.")
    if target.is_dir() and any(target.iterdir()):
        if not (target / RECORD_NAME).is_file():
            raise InputError(f"{target} is not empty and not a run", "Give --run a new folder.")
        if not force:
            raise InputError(
                f"there is a run at {target} already",
                "Give another --run, or --force to replace it.",
            )
    nearest = next(path for path in target.parents if path.exists())
    with storage_errors(target):
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(nearest))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(nearest))


def _write(
    target: Path,
    record: RunRecord,
    head: Any,
    made: tuple[pd.DataFrame, TrainingData, History],
    workplace: Path | None,
) -> None:
    """Write the files of a run; the directory appears when all of them are there."""
    scores, data, history = made
    with atomic_folder(target) as folder:
        save_head(head, folder)
        (folder / RECORD_NAME).write_text(record.model_dump_json(indent=2) + "\n")
        scores.to_csv(folder / OOF_NAME, index=False, errors="surrogateescape")
        originals = data.table.iloc[data.originals]
        (folder / TRAINING_NAME).write_text("\n".join(originals["sha256"]) + "\n")
        if len(history.table):
            history.table.to_csv(folder / HISTORY_NAME, index=False)
            draw_curves(history.table, folder / CURVES_NAME, f"Training of {target.name}")
        if workplace is not None:
            _keep_events(workplace, folder / TENSORBOARD_NAME)
        (folder / LOG_NAME).write_text(_log(record, history))


def _keep_events(workplace: Path, target: Path) -> None:
    """Copy TensorBoard's folders: one a training, or one a member of an ensemble."""
    for training in workplace.iterdir():
        members = sorted(
            training.glob("tensorboard-*"), key=lambda path: int(path.name.split("-")[1])
        )
        for number, member in enumerate(members, start=1):
            name = training.name if len(members) == 1 else f"{training.name}-member-{number}"
            shutil.copytree(member, target / name)


def _log(record: RunRecord, history: History) -> str:
    """Tell the story of the fit in plain lines."""
    lines = [
        f"{record.created} featx {record.versions['featx']}: fitted {record.head.name}",
        f"settings {record.head.settings.model_dump_json()}",
        f"cache {record.cache}, fingerprint {record.fingerprint}",
        f"{record.images} images of {record.patients} patients, {record.copies} copies of each "
        f"training image, {record.folds} folds",
        f"threshold {record.threshold:.6g} after {record.search['trials']} trials, accuracy floor "
        f"{record.accuracy_floor:g}",
        *history.outcomes,
    ]
    if len(history.table):
        final = history.table[history.table["training"] == "final"]
        for epoch in final.drop(columns=["training", "member"]).to_dict("records"):
            number = epoch.pop("epoch")
            lines.append(f"epoch {number}: " + ", ".join(f"{k} {v:.4f}" for k, v in epoch.items()))
    return "\n".join(lines) + "\n"
