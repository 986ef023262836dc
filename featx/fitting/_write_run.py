"""The end of every fit: the head on all of train and val, and a run on disk."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx._progress import SILENT, Progress
from featx._scores import Scores
from featx.backbones._parts import Shape, main_part
from featx.backbones._standardization import STANDARDIZATION_NAME, load_standardization
from featx.evaluation import Reference, evaluate_scores
from featx.extraction._spec import parts_of, spec_of
from featx.heads import HeadSpec, head_file, save_head
from featx.heads._building import with_parts
from featx.heads._head import Head
from featx.plots._training import save_learning_curves
from featx.runs import FittedRun
from featx.runs._folder import run_folder
from featx.runs._record import (
    CURVES_NAME,
    HISTORY_NAME,
    LOG_NAME,
    OOF_COPIES_NAME,
    OOF_NAME,
    REFERENCE_NAME,
    STUDY_NAME,
    TENSORBOARD_NAME,
    TRAINING_NAME,
    RunRecord,
    versions,
    write_record,
)
from featx.runs._record_parts import (
    PromiseRecord,
    RunMetrics,
    SearchRecord,
    SecondsRecord,
    TuningRecord,
)
from featx.thresholds import Criterion, uncertain_range
from featx.training import (
    FITTED_SPLITS,
    History,
    OutOfFold,
    TrainingData,
    fit_head,
    fit_units,
)
from featx.training._data import ChooseOn
from featx_cache import Cache
from featx_cache._spreadsheets import to_csv

TIMED_IMAGES = 128


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Settings of one fit. See `featx.fitting.fit`."""

    head: HeadSpec
    run: Path
    criterion: Criterion
    folds: int
    choose_on: ChooseOn = "untouched"
    tta: bool = False
    resume: bool = False
    force: bool = False

    @property
    def accuracy_floor(self) -> float:
        """Accuracy floor of a training that stops by one."""
        return self.criterion.stopping_floor


@dataclass(frozen=True, slots=True)
class FinalHead:
    """A head that was fitted on all of train and val, and the seconds that it took."""

    classifier: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class ChosenPoint:
    """An operating point, and what is known of it before the final fit.

    Attributes
    ----------
    found
        Result of `featx.training.out_of_fold`, which took `seconds`.
    write_study
        Function that writes the Optuna study into a folder, which isn't there yet.
    images
        SHA-256 of images that the threshold was chosen on, besides those that are fitted on.
    """

    threshold: float
    found: OutOfFold
    search: SearchRecord
    seconds: float
    write_study: Callable[[Path], object]
    tuning: TuningRecord | None = None
    promise: PromiseRecord | None = None
    images: tuple[str, ...] = ()


def search_record(trials: int, *, snapped: bool = False, note: str = "") -> SearchRecord:
    """Describe a search. What has nothing to say isn't written."""
    said = {"note": note} if note else {}
    return SearchRecord(method="optuna", trials=trials, snapped_to_sweep=snapped, **said)


def fit_final_head(
    data: TrainingData,
    settings: FitSettings,
    history: History,
    *,
    state: Path | None = None,
    progress: Progress = SILENT,
) -> FinalHead:
    """Fit the head on all training data, and add its epochs to the history."""
    started = time.perf_counter()
    units, unit = fit_units(settings.head)
    with progress.task(f"Final fit on {' and '.join(FITTED_SPLITS)}", units, unit) as advance:
        classifier = fit_head(
            settings.head,
            data,
            np.flatnonzero(data.fitted),
            advance,
            accuracy_floor=settings.accuracy_floor,
            work_folder=state / "final" if state is not None else None,
        )
    history.add("final", classifier)
    return FinalHead(classifier, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class RunWriter:
    """Writes a run.

    `state` is the folder in which a Keras head kept its state, TensorBoard files among it.
    """

    cache: Cache
    data: TrainingData
    settings: FitSettings
    state: Path | None = None

    def write(self, head: FinalHead, point: ChosenPoint) -> FittedRun:
        """Write a run. The directory appears when all of its files are there."""
        settings = self.settings
        parts = tuple(part.shape for part in parts_of(self.cache))
        head = FinalHead(with_parts(head.classifier, parts), head.seconds)
        record = self._record(head, point)
        with run_folder(settings.run, force=settings.force) as folder:
            save_head(head.classifier, folder, settings.head.trusted)
            if record.extraction.backbone.standardization is not None:
                file = Path(record.cache) / STANDARDIZATION_NAME
                load_standardization(file).save(folder / STANDARDIZATION_NAME)
            to_csv(point.found.scores, folder / OOF_NAME, errors="surrogateescape")
            if len(point.found.copies):
                to_csv(point.found.copies, folder / OOF_COPIES_NAME, errors="surrogateescape")
            originals = self.data.table.iloc[self.data.originals]
            hashes = [*originals["sha256"], *point.images]
            (folder / TRAINING_NAME).write_text("\n".join(hashes) + "\n")
            if len(history := point.found.history.table):
                history.to_csv(folder / HISTORY_NAME, index=False)
                save_learning_curves(
                    history, folder / CURVES_NAME, f"Training of {settings.run.name}"
                )
            if self.state is not None:
                _copy_tensorboard(self.state, folder / TENSORBOARD_NAME)
            point.write_study(folder / STUDY_NAME)
            (folder / LOG_NAME).write_text(_log(record, point.found.history))
            self._write_reference(folder / REFERENCE_NAME, parts)
            write_record(folder, record)
        return FittedRun(settings.run, settings.head.trusted)

    def _record(self, head: FinalHead, point: ChosenPoint) -> RunRecord:
        settings, cache, found = self.settings, self.cache, point.found
        extraction, seed = spec_of(cache), settings.head.seed
        chosen = found.chosen_on(settings.choose_on, cache.classes)
        untouched = Scores.from_table(found.scores, cache.classes, "out of fold")
        metrics = evaluate_scores(untouched, point.threshold, seed=seed)
        copies = None
        if len(found.copies):
            disturbed = found.chosen_on("copies", cache.classes)
            copies = evaluate_scores(disturbed, point.threshold, seed=seed)
        return RunRecord(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            threshold=metrics.threshold,
            accuracy_floor=settings.criterion.accuracy_floor or 0.0,
            criterion=settings.criterion,
            classes=cache.classes,
            head=settings.head,
            head_file=head_file(head.classifier),
            extraction=extraction,
            fingerprint=extraction.fingerprint,
            cache=str(cache.path.resolve()),
            weights=cache.weights,
            seed=seed,
            fitted_splits=FITTED_SPLITS,
            images=metrics.images,
            patients=metrics.patients,
            folds=found.folds,
            copies=self.data.copies,
            tta=int(self.data.copy.max()) if settings.tta else 0,
            choose_on=settings.choose_on,
            metrics=RunMetrics.of(metrics, copies),
            search=point.search,
            tuning=point.tuning,
            promise=point.promise,
            band=uncertain_range(chosen, point.threshold, criterion=settings.criterion, seed=seed),
            seconds=SecondsRecord(
                out_of_fold=round(point.seconds, 3),
                final_fit=round(head.seconds, 3),
                predict_image=_seconds_per_image(head.classifier, cache),
            ),
            versions=versions(),
        )

    def _write_reference(self, path: Path, parts: tuple[Shape, ...]) -> None:
        """Write what the training images look like, from their embeddings."""
        rows = self.cache.rows
        fitted = np.isin(rows["image"].to_numpy(), self.data.image[self.data.originals])
        untouched = rows["copy"].to_numpy() == 0
        blocks = self.cache.blocks(np.flatnonzero(untouched & fitted))
        Reference.write(path, ((where, main_part(found, parts)) for where, found in blocks))


def _seconds_per_image(classifier: Head, cache: Cache) -> float:
    """Time the head on embeddings as they are cached, pooling included."""
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=False)[:TIMED_IMAGES]
    embeddings = cache.read(rows)
    classifier.predict_proba(embeddings)
    started = time.perf_counter()
    classifier.predict_proba(embeddings)
    return (time.perf_counter() - started) / len(rows)


def _copy_tensorboard(state: Path, target: Path) -> None:
    """Copy TensorBoard's folders: one a training, or one a member of an ensemble."""
    for training in state.iterdir():
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
        f"threshold {record.threshold:.6g} after {record.search.trials} trials: "
        f"{record.criterion.in_words}",
        *filter(None, [record.search.note]),
        *history.outcomes,
    ]
    if len(history.table):
        final = history.table[history.table["training"] == "final"]
        for epoch in final.drop(columns=["training", "member"]).to_dict("records"):
            number = epoch.pop("epoch")
            lines.append(f"epoch {number}: " + ", ".join(f"{k} {v:.4f}" for k, v in epoch.items()))
    return "\n".join(lines) + "\n"
