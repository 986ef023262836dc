"""State of a training until its run is written, so that a killed training can go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from featx._progress import Progress
from featx._specs import require_equal
from featx.errors import FeatxError, InputError, NoFeasibleThresholdError
from featx.heads import HeadSpec
from featx.runs._own_files import UNFINISHED, remove_own, require_own
from featx.runs._record import TENSORBOARD_NAME
from featx.training._scoring import FOLDS
from featx_cache.files import (
    LOCK_WAIT_SECONDS,
    atomic_path,
    lock,
    make_folder,
    open_regular,
    storage_errors,
)

DESCRIPTION_NAME = "job.json"


def unfinished_folder(run: Path) -> Path:
    """Return the folder with the state of a run that isn't finished: beside it."""
    return run.with_name(f"{run.name}.unfinished")


def training_logs(run: Path) -> Path:
    """Return the folder of a run's TensorBoard files, also of a run that isn't finished."""
    for folder in (run / TENSORBOARD_NAME, unfinished_folder(run)):
        if folder.is_dir():
            return folder
    what = f"{run} has no TensorBoard files" if run.exists() else f"there is no run at {run}"
    raise InputError(what, "Runs of the head keras have some, unless they are calibrated.")


def describe_training(
    spec: HeadSpec,
    fingerprint: str,
    table: pd.DataFrame,
    *,
    accuracy_floor: float,
    folds: int = FOLDS,
) -> dict[str, Any]:
    """Describe all that a training depends on: the floor only if a stopping rule looks at it."""
    digest = hashlib.sha256()
    for column in ("sha256", "label", "group", "copy"):
        digest.update("\n".join(map(str, table[column])).encode("utf-8", "surrogateescape"))
    return {
        "head": spec.model_dump(mode="json"),
        "embeddings": fingerprint,
        "images": digest.hexdigest(),
        "accuracy_floor": accuracy_floor if spec.stops_by_accuracy_floor else None,
        **({"folds": folds} if folds != FOLDS else {}),  # which earlier versions didn't say
    }


@contextlib.contextmanager
def unfinished(
    run: Path, training: dict[str, Any], *, resume: bool, progress: Progress
) -> Iterator[Path]:
    """Give a folder for the state of a training. It is removed when the block ends well.

    An interruption leaves it, and so does an accuracy floor that can't be reached: the same
    fit with ``resume=True`` goes on, or chooses another threshold at once. Other errors leave
    nothing.
    """
    folder = unfinished_folder(run)
    with lock(folder, wait=LOCK_WAIT_SECONDS, hint="Wait for it, or give another `run`."):
        _prepare(folder, training, resume=resume, progress=progress)
        try:
            with storage_errors(folder):
                yield folder
        except NoFeasibleThresholdError as error:
            kept = "The trained folds are kept: `resume=True` takes another floor at once."
            raise NoFeasibleThresholdError(
                error.what,
                f"{error.hint} {kept}",
                best_accuracy=error.best_accuracy,
                roc_auc=error.roc_auc,
            ) from error
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, and a polite kill
            progress.note(
                "The finished epochs are kept: the same command with `resume=True` goes on."
            )
            raise
        except FeatxError:
            remove_own(folder, UNFINISHED)
            raise
        remove_own(folder, UNFINISHED)


def _prepare(folder: Path, training: dict[str, Any], *, resume: bool, progress: Progress) -> None:
    """Make the folder, unless there is the state of the same training to go on with."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is in the way", "Remove it, or give another `run`.")
    require_own(folder, UNFINISHED, hint="Move it elsewhere, or give another `run`.")
    if folder.is_dir() and resume:
        _require_same(folder, training)
    elif folder.is_dir():
        progress.note(
            f"Starting over: {folder} had the state of a training (`resume=True` goes on)."
        )
        remove_own(folder, UNFINISHED)
    with storage_errors(folder):
        make_folder(folder)
        with atomic_path(folder / DESCRIPTION_NAME) as temporary:
            temporary.write_text(json.dumps(training, indent=2) + "\n")


def _require_same(folder: Path, training: dict[str, Any]) -> None:
    try:
        with open_regular(folder / DESCRIPTION_NAME) as file:
            before = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{folder} has no readable {DESCRIPTION_NAME}", "Start over without `resume=True`."
        ) from error
    require_equal(
        f"{folder} is of another training",
        before,
        training,
        "Give the same settings, or start over without `resume=True`.",
    )
