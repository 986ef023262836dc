"""Locations of the Optuna studies of runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from featx.errors import InputError
from featx.fitting._trial_figures import ARTIFACTS_NAME
from featx.runs._record import RECORD_NAME, STUDY_NAME, read_record
from featx.thresholds._choose import STUDY_NAME as THRESHOLD_STUDY_NAME
from featx.tuning._storage import JOURNAL_NAME, StudyLocation, masked


@dataclass(frozen=True, slots=True)
class ShownStudy:
    """A study to be shown, and the folder of its trials' figures.

    The name of the study is empty if only its storage is known.
    """

    location: StudyLocation
    artifacts: Path


def study_folder(run: Path) -> Path:
    """Return the folder of a run's study until the run is there: beside it."""
    return run.with_name(f"{run.name}.study")


def find_study(run: Path | None, storage: str | None) -> ShownStudy:
    """Find the study of a run that was fitted or tuned, or is being tuned.

    The URL of a database is never taken from the run, which may be a stranger's.
    """
    if run is None:
        if storage is None:
            raise InputError(
                "there is no study to show",
                "Give a RUN that `featx.fit` or `featx.tune` made, or `storage=URL`.",
            )
        return ShownStudy(StudyLocation(Path(), storage, ""), Path(ARTIFACTS_NAME))
    record = read_record(run) if (run / RECORD_NAME).is_file() else None
    tuning = record.tuning if record is not None else None
    folder = study_folder(run) if record is None else run / STUDY_NAME
    in_journal = os.path.lexists(folder / JOURNAL_NAME)
    if not folder.is_dir() or (record is not None and tuning is None and not in_journal):
        raise InputError(
            f"{run} has no study",
            "`featx.fit` and `featx.tune` make runs that have one.",
        )
    name = run.name if record is None else THRESHOLD_STUDY_NAME if tuning is None else tuning.study
    if not in_journal and storage is None:
        known = tuning.storage if tuning is not None else JOURNAL_NAME
        where = "" if known == JOURNAL_NAME else f"; the run says that it is in {masked(known)}"
        raise InputError(
            f"the study of {run} isn't in the run{where}",
            "Give `storage=URL`, or set FEATX_STORAGE: featx connects only where you say.",
        )
    # FEATX_STORAGE may be set for other studies.
    location = StudyLocation(folder, None if in_journal else storage, name)
    return ShownStudy(location, folder / ARTIFACTS_NAME)
