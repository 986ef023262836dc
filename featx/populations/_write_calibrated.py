"""A run that differs from another in its operating point only."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.runs._fitted import FittedRun
from featx.runs._folder import run_folder
from featx.runs._record import (
    CALIBRATION_NAME,
    RECORD_NAME,
    TRAINING_NAME,
    RunRecord,
    versions,
    write_record,
)
from featx.thresholds import Recalibration
from featx_cache._spreadsheets import to_csv

SHOWN = ("accuracy", "recall", "specificity", "precision", "npv")


def require_other(run: FittedRun, target: Path) -> None:
    """Refuse to replace a run by one that is made of it.

    Raises
    ------
    InputError
        If both are the same folder.
    """
    if target.resolve() == run.path.resolve():
        raise InputError(
            f"{target} is the run that is calibrated, which is kept as it is",
            "Give `run` a new folder.",
            parameter="run",
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
        Run that was calibrated, and directory of the new one.
    changes
        Fields of its record.
    table
        Local images, for ``calibration.csv``.
    hashes
        SHA-256 of labelled images: evaluation leaves them out, since they chose the threshold.
    force
        Whether a run that is there already is replaced.
    """
    recalibration: Recalibration | None = changes["recalibration"]
    measured = {
        name: evaluate_scores(
            Scores.from_table(
                known.assign(score=_mapped(known, recalibration)), run.record.classes, "out of fold"
            ),
            changes["threshold"],
            seed=run.record.seed,
        )
        for name, known in (("out_of_fold", run.head_out_of_fold), ("copies", run.head_copies))
        if len(known)
    }
    changed = RunRecord.model_validate(
        {
            **run.record.model_dump(),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "metrics": {name: metrics.as_dict() for name, metrics in measured.items()},
            **changes,
        }
    )
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


def _mapped(known: pd.DataFrame, recalibration: Recalibration | None) -> NDArray[np.float64]:
    """Return the head's own scores, by the new map."""
    scores = known["score"].to_numpy(np.float64)
    return scores if recalibration is None else recalibration.apply(scores)
