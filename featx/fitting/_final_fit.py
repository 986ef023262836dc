"""The end of every fit: the head on all of train and val, and a run on disk."""

from __future__ import annotations

import datetime
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._progress import SILENT, Progress
from featx.backbones._standardization import STANDARDIZATION_NAME, load_standardization
from featx.evaluation import Metrics, Reference
from featx.extraction._spec import spec_of
from featx.heads import HeadSpec, head_file, save_head
from featx.runs._folder import run_folder
from featx.runs._record import (
    CURVES_NAME,
    HISTORY_NAME,
    LOG_NAME,
    OOF_NAME,
    REFERENCE_NAME,
    STUDY_NAME,
    TENSORBOARD_NAME,
    TRAINING_NAME,
    RunRecord,
    versions,
    write_record,
)
from featx.thresholds import uncertain_band
from featx.training import (
    FITTED_SPLITS,
    History,
    TrainingData,
    draw_curves,
    fit_head,
    fit_units,
)
from featx_cache import Cache
from featx_cache._spreadsheets import to_csv

TIMED_IMAGES = 128
_SCRATCH = shutil.ignore_patterns("scores", "trials", "training-*", ".*", "*.lock", "*.rename")
"""What a search needs while it goes on, and a run doesn't."""


@dataclass(frozen=True, slots=True)
class Job:
    """One fit: which head, where to, under which floor; see `fit`."""

    spec: HeadSpec
    run: Path
    accuracy_floor: float
    tta: bool = False
    resume: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """An operating point, and what is known of it before the final fit.

    Attributes
    ----------
    threshold, metrics
        The operating point, and what it achieves out of fold.
    scores, folds, history
        See `featx.training.out_of_fold`.
    search
        How the threshold was found.
    seconds
        What the scores took.
    tuning, promise
        See `RunRecord`.
    images
        SHA-256 of images that the threshold was chosen on, besides those that are fitted on.
    study
        Folder of an Optuna study, to be kept in the run.
    """

    threshold: float
    metrics: Metrics
    scores: pd.DataFrame
    folds: int
    history: History
    search: dict[str, Any]
    seconds: float
    tuning: dict[str, Any] | None = None
    promise: dict[str, Any] | None = None
    images: tuple[str, ...] = ()
    study: Path | None = None


def final_head(
    data: TrainingData,
    job: Job,
    history: History,
    *,
    workplace: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Any, float]:
    """Fit the head on all training data.

    Returns
    -------
    head
        See `featx.training.fit_head`.
    seconds : float
        What it took.
    """
    started = time.perf_counter()
    units, unit = fit_units(job.spec)
    with progress.task(f"Final fit on {' and '.join(FITTED_SPLITS)}", units, unit) as advance:
        head = fit_head(
            job.spec,
            data,
            np.flatnonzero(data.fitted),
            advance,
            accuracy_floor=job.accuracy_floor,
            workplace=workplace / "final" if workplace is not None else None,
        )
    history.add("final", head)
    return head, time.perf_counter() - started


def write_run(
    data: TrainingData,
    cache: Cache,
    job: Job,
    fitted: tuple[Any, float],
    chosen: Chosen,
    workplace: Path | None = None,
) -> RunRecord:
    """Write a run; the directory appears when all of its files are there.

    Parameters
    ----------
    data, cache, job
        What was fitted, on what.
    fitted
        What `final_head` returned.
    chosen
        The operating point.
    workplace
        Where the Keras head kept its state; its TensorBoard files go into the run.
    """
    head, seconds = fitted
    extraction, metrics = spec_of(cache), chosen.metrics
    record = RunRecord(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        threshold=chosen.threshold,
        accuracy_floor=job.accuracy_floor,
        classes=cache.classes,
        head=job.spec,
        head_file=head_file(head),
        extraction=extraction,
        fingerprint=extraction.fingerprint,
        cache=str(cache.path.resolve()),
        weights=cache.weights,
        seed=job.spec.seed,
        fitted_splits=FITTED_SPLITS,
        images=metrics.images,
        patients=metrics.patients,
        folds=chosen.folds,
        copies=data.copies,
        tta=int(data.copy.max()) if job.tta else 0,
        metrics={"out_of_fold": metrics.as_dict()},
        search=chosen.search,
        tuning=chosen.tuning,
        promise=chosen.promise,
        band=uncertain_band(
            chosen.scores["label"] == cache.classes[1],
            chosen.scores["score"],
            chosen.scores["group"],
            chosen.threshold,
            accuracy_floor=job.accuracy_floor,
            seed=job.spec.seed,
        ),
        seconds={
            "out_of_fold": round(chosen.seconds, 3),
            "final_fit": round(seconds, 3),
            "predict_image": _seconds_an_image(head, cache),
        },
        versions=versions(),
    )
    return _write(job, record, head, (chosen, data), cache, workplace)


def _seconds_an_image(head: Any, cache: Cache) -> float:
    """Time the head on embeddings as they are cached, pooling included."""
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=False)[:TIMED_IMAGES]
    embeddings = cache.read(rows)
    head.predict_proba(embeddings)
    started = time.perf_counter()
    head.predict_proba(embeddings)
    return (time.perf_counter() - started) / len(rows)


def _write(
    job: Job,
    record: RunRecord,
    head: Any,
    made: tuple[Chosen, TrainingData],
    cache: Cache,
    workplace: Path | None,
) -> RunRecord:
    chosen, data = made
    scores, history = chosen.scores, chosen.history
    with run_folder(job.run, force=job.force) as folder:
        save_head(head, folder)
        if record.extraction.backbone.standardization is not None:
            file = Path(record.cache) / STANDARDIZATION_NAME
            load_standardization(file).save(folder / STANDARDIZATION_NAME)
        to_csv(scores, folder / OOF_NAME, errors="surrogateescape")
        originals = data.table.iloc[data.originals]
        hashes = [*originals["sha256"], *chosen.images]
        (folder / TRAINING_NAME).write_text("\n".join(hashes) + "\n")
        if len(history.table):
            history.table.to_csv(folder / HISTORY_NAME, index=False)
            draw_curves(history.table, folder / CURVES_NAME, f"Training of {job.run.name}")
        if workplace is not None:
            _keep_events(workplace, folder / TENSORBOARD_NAME)
        if chosen.study is not None:
            shutil.copytree(chosen.study, folder / STUDY_NAME, ignore=_SCRATCH)
        (folder / LOG_NAME).write_text(_log(record, history))
        images = data.image[data.originals]
        untouched = cache.rows["copy"].to_numpy() == 0
        rows = np.flatnonzero(untouched & np.isin(cache.rows["image"].to_numpy(), images))
        Reference.write(folder / REFERENCE_NAME, cache.blocks(rows))
        return write_record(folder, record)


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
