"""Several heads on the same folds, and one table of how they did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from featx._progress import SILENT, Progress
from featx.errors import InputError, NoFeasibleThresholdError
from featx.fitting._final_fit import Job
from featx.fitting._fit import fit_on
from featx.heads import HeadSpec
from featx.runs._folder import require_free
from featx.runs._record import RECORD_NAME, RunRecord, read_record
from featx.thresholds import check_accuracy_floor
from featx.training._data import TrainingData, load_training_data
from featx_cache import Cache
from featx_cache.files import LOCK_WAIT_SECONDS, atomic_path, lock, open_regular

COMPARISON_NAME = "comparison.csv"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `fit_heads` did.

    Attributes
    ----------
    folder
        A run for each head, and ``comparison.csv``.
    table : DataFrame
        One line a head, best first: head, roc_auc, recall, accuracy, specificity, threshold,
        fit_seconds, predict_microseconds an image, best_accuracy. Where no threshold reaches the
        floor, there are roc_auc and best_accuracy, the highest of all thresholds, alone; elsewhere
        best_accuracy is empty.
    """

    folder: Path
    table: pd.DataFrame


def fit_heads(
    cache: Cache,
    specs: Sequence[HeadSpec],
    folder: str | Path,
    *,
    accuracy_floor: float = 0.9,
    use_copies: bool | None = None,
    tta: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> Comparison:
    """Fit several heads on the same folds and compare them.

    Embeddings are read and pooled once for all heads that pool them alike.

    Parameters
    ----------
    cache, accuracy_floor, use_copies, tta, force, progress
        See `featx.fitting.fit`.
    specs
        The heads; their names differ, their seeds don't.
    folder
        Gets a run of each head's name, and ``comparison.csv``.
    resume
        Keep the runs that are there already with these settings, and go on with a Keras training
        that was interrupted.

    Raises
    ------
    InputError
        When there is a comparison already, or a run of other settings, or another process makes
        one.
    NoFeasibleThresholdError
        When no head reaches the floor.
    """
    folder = Path(folder)
    check_accuracy_floor(accuracy_floor)
    if (folder / RECORD_NAME).is_file():
        raise InputError(
            f"{folder} is a run of one head", "Give `run` a new folder: each head gets a run in it."
        )
    for spec in specs:
        require_free(folder / spec.name, force or resume)
    require_replaceable(folder / COMPARISON_NAME, force or resume)
    with lock(folder / COMPARISON_NAME, wait=LOCK_WAIT_SECONDS):
        rows: list[dict[str, Any]] = []
        read: tuple[Any, TrainingData | None] = (None, None)
        best: NoFeasibleThresholdError | None = None
        for spec in sorted(specs, key=_reading):
            run = folder / spec.name
            copies = use_copies if use_copies is not None else spec.name == "keras"
            if resume and (run / RECORD_NAME).is_file():
                rows.append(_row(_same_run(run, spec, accuracy_floor)))
                continue
            if read[0] != (_reading(spec), copies):
                read = (None, None)  # before the next: memory holds one
                read = (
                    (_reading(spec), copies),
                    load_training_data(cache, spec, use_copies=copies, tta=tta, progress=progress),
                )
            assert read[1] is not None
            job = Job(spec, run, accuracy_floor, tta=tta, resume=resume, force=force)
            try:
                rows.append(_row(fit_on(read[1], cache, job, progress).record))
            except NoFeasibleThresholdError as error:
                progress.note(f"{spec.name}: {error}")
                reached = {"roc_auc": error.roc_auc, "best_accuracy": error.best_accuracy}
                rows.append({"head": spec.name, **reached})
                best = max((best, error), key=lambda e: e.best_accuracy if e else -1.0)
        if all("threshold" not in row for row in rows) and best is not None:
            raise best
        columns = _row(None)
        table = pd.DataFrame(rows, columns=list(columns))
        table = table.sort_values(["recall", "roc_auc"], ascending=False, na_position="last")
        with atomic_path(folder / COMPARISON_NAME) as temporary:
            table.to_csv(temporary, index=False)
        return Comparison(folder, table.reset_index(drop=True))


def require_replaceable(path: Path, allowed: bool) -> None:
    """Refuse to replace a table unasked, and one that isn't a comparison at all.

    Raises
    ------
    InputError
        When it is one of these.
    """
    if not path.exists():
        return
    if not allowed:
        raise InputError(
            f"there is a comparison at {path} already",
            "Give another `run`, or `force=True` to replace it.",
        )
    with open_regular(path) as file:
        if file.readline().rstrip(b"\r\n") != ",".join(_row(None)).encode():
            raise InputError(f"{path} isn't a comparison of featx", "Give another `run`.")


def _reading(spec: HeadSpec) -> tuple[bool, str, bool]:
    """What has to be read for a head; the Keras head comes last, since it takes longest."""
    settings = spec.baseline
    if settings is None:
        return (True, "", False)
    return (False, settings.representation, settings.standardize)


def _same_run(run: Path, spec: HeadSpec, accuracy_floor: float) -> RunRecord:
    record = read_record(run)
    if record.head != spec or record.accuracy_floor != accuracy_floor:
        raise InputError(
            f"the run {run} was fitted with other settings",
            "Give another `run`, or `force=True` to fit it again.",
        )
    return record


def _row(record: RunRecord | None) -> dict[str, Any]:
    """Make one line of the table; without a record it has the columns only."""
    metrics = record.metrics["out_of_fold"] if record is not None else {}
    seconds = record.seconds if record is not None else {}
    fit = sum(seconds.get(part, 0.0) for part in ("out_of_fold", "final_fit"))
    return {
        "head": record.head.name if record is not None else "",
        "roc_auc": metrics.get("roc_auc"),
        "recall": metrics.get("recall"),
        "accuracy": metrics.get("accuracy"),
        "specificity": metrics.get("specificity"),
        "threshold": record.threshold if record is not None else None,
        "fit_seconds": round(fit, 2),
        "predict_microseconds": round(1e6 * seconds.get("predict_image", 0.0), 1),
        "best_accuracy": math.nan,
    }
