"""optuna-dashboard on a study, as a WSGI application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from featx.errors import InputError
from featx.thresholds.quiet import quiet_optuna
from featx.tuning.storage import StudyPlace, database_errors, open_storage


def dashboard(place: StudyPlace, artifacts: Path) -> tuple[Any, str]:
    """Make the dashboard of a storage.

    Parameters
    ----------
    place
        Of the study; without a name the dashboard begins at the list of studies.
    artifacts
        Folder of the figures that trials came with; it need not exist.

    Returns
    -------
    application
        A WSGI application.
    path : str
        Where the study is below the address that the application is served at.

    Raises
    ------
    InputError
        When there is no such study.
    StorageError
        When the storage can't be reached.
    """
    import optuna_dashboard

    storage = open_storage(place)
    path = "/dashboard/"
    with database_errors(place):
        if place.name:
            try:
                path += f"studies/{storage.get_study_id_from_name(place.name)}"
            except KeyError as error:
                names = ", ".join(s.study_name for s in storage.get_all_studies()) or "none"
                raise InputError(
                    f"there is no study {place.name!r} in {place.shown}",
                    f"It has these: {names}.",
                ) from error
    store = FileSystemArtifactStore(str(artifacts)) if artifacts.is_dir() else None
    with quiet_optuna():
        return optuna_dashboard.wsgi(_with_constraints(storage), artifact_store=store), path


def _with_constraints(storage: BaseStorage) -> BaseStorage:
    """Let a storage tell constraints as optuna-dashboard 0.21 expects them.

    It looks for the list that Optuna 4 kept under ``constraints``; Optuna 5 keeps each constraint
    under a key of its own. Nothing is written. Its best trial, too, would be one that breaks them.
    """
    get_all_trials, get_best_trial = storage.get_all_trials, storage.get_best_trial

    def all_trials(study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        del deepcopy
        trials = get_all_trials(study_id, deepcopy=True, states=states)
        for trial in trials:
            if trial.constraints:
                trial.system_attrs["constraints"] = list(trial.constraints.values())
        return trials

    def best_trial(study_id: int) -> FrozenTrial:
        finished = all_trials(study_id, states=(TrialState.COMPLETE,))
        feasible = [t for t in finished if all(v <= 0 for v in t.constraints.values())]
        if not feasible or storage.get_study_directions(study_id) != [StudyDirection.MAXIMIZE]:
            return get_best_trial(study_id)
        return max(feasible, key=lambda t: (t.value, t.user_attrs.get("accuracy", 0.0)))

    storage.get_all_trials = all_trials  # type: ignore[method-assign]
    storage.get_best_trial = best_trial  # type: ignore[method-assign]
    return storage
