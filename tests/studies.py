"""Using a study as a search does, for the tests that try to break featx."""

from __future__ import annotations

import warnings

import optuna

from featx.tuning._storage import (
    JOURNAL_NAME,
    StudyLocation,
    database_errors,
    drop_torn_line,
    open_storage,
    open_study,
)

IDENTITY = {"heads": "logreg"}


def use_study(place: StudyLocation) -> optuna.Study:
    """Open a study as a search does, and run a trial in it."""
    drop_torn_line(place.folder / JOURNAL_NAME)
    study = open_study(place, open_storage(place), IDENTITY, ["maximize"])
    with database_errors(place), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna's heartbeats, which want `optimize`
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 1.0)
        study.get_trials()
    return study
