"""Fitting: out-of-fold scores, the operating point, a refit on everything, a run on disk."""

from __future__ import annotations

import datetime
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from featx.errors import InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.extraction import spec_of
from featx.heads import HeadSpec, save_head
from featx.progress import SILENT, Progress
from featx.runs.out_of_fold import (
    FITTED_SPLITS,
    TrainingData,
    fit_head,
    fit_units,
    load_training_data,
    out_of_fold,
)
from featx.runs.record import RECORD_NAME, RunRecord, versions
from featx.thresholds import OperatingPoint, check_accuracy_floor, choose_threshold
from featx_cache import Cache, atomic_folder, storage_errors

OOF_NAME = "oof.csv"
TRAINING_NAME = "training.txt"
LOG_NAME = "fit.log"


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
        copies helped it, and cost the others AUC (see ``docs/results.md``). Scores are always those
        of the untouched images.
    force
        Replace a run that is there already.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When the run exists, the floor is out of range, or the cache lacks a class.
    NoFeasibleThresholdError
        When no threshold reaches the floor; nothing is written.
    """
    target = Path(run)
    check_accuracy_floor(accuracy_floor)
    _require_free(target, force)
    if use_copies is None:
        use_copies = spec.name == "keras"
    started = time.perf_counter()
    data = load_training_data(cache, spec, use_copies=use_copies, progress=progress)
    scores, folds = out_of_fold(spec, data, seed=spec.seed, progress=progress)
    truth = scores["label"] == cache.classes[1]
    point = choose_threshold(truth, scores["score"], accuracy_floor=accuracy_floor, seed=spec.seed)
    metrics = evaluate_scores(
        truth, scores["score"], point.threshold, scores["group"], seed=spec.seed
    )
    searched = time.perf_counter()
    units, unit = fit_units(spec)
    with progress.task(f"Final fit on {' and '.join(FITTED_SPLITS)}", units, unit) as advance:
        head = fit_head(spec, data, data.table.index.to_numpy(), advance)
    extraction = spec_of(cache)
    record = RunRecord(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        threshold=point.threshold,
        accuracy_floor=accuracy_floor,
        classes=cache.classes,
        head=spec,
        head_file="head.keras" if spec.name == "keras" else "head.skops",
        extraction=extraction,
        fingerprint=extraction.fingerprint,
        cache=str(cache.path.resolve()),
        weights=cache.weights,
        seed=spec.seed,
        fitted_splits=FITTED_SPLITS,
        images=metrics.images,
        patients=metrics.patients,
        folds=folds,
        copies=int(data.table["copy"].max()),
        metrics={"out_of_fold": metrics.as_dict()},
        search={"method": "optuna", "trials": point.trials, "snapped_to_sweep": point.snapped},
        seconds={
            "out_of_fold": round(searched - started, 3),
            "final_fit": round(time.perf_counter() - searched, 3),
        },
        versions=versions(),
    )
    _write(target, record, head, scores, data)
    return FitReport(target, point, metrics, record)


def _require_free(target: Path, force: bool) -> None:
    """Fail before the long work when the run can't be written."""
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
    head: object,
    scores: pd.DataFrame,
    data: TrainingData,
) -> None:
    """Write the files of a run; the directory appears when all of them are there."""
    with atomic_folder(target) as folder:
        save_head(head, folder)
        (folder / RECORD_NAME).write_text(record.model_dump_json(indent=2) + "\n")
        scores.to_csv(folder / OOF_NAME, index=False, errors="surrogateescape")
        originals = data.table.iloc[data.originals]
        (folder / TRAINING_NAME).write_text("\n".join(originals["sha256"]) + "\n")
        (folder / LOG_NAME).write_text(_log(record, head))


def _log(record: RunRecord, head: object) -> str:
    """Tell the story of the fit in plain lines."""
    lines = [
        f"{record.created} featx {record.versions['featx']}: fitted {record.head.name}",
        f"cache {record.cache}, fingerprint {record.fingerprint}",
        f"{record.images} images of {record.patients} patients, {record.copies} copies of each "
        f"training image, {record.folds} folds",
        f"threshold {record.threshold:.6g} after {record.search['trials']} trials, accuracy floor "
        f"{record.accuracy_floor:g}",
    ]
    for epoch, logs in enumerate(getattr(head, "history_", []), start=1):
        lines.append(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in logs.items()))
    return "\n".join(lines) + "\n"
