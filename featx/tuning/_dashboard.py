"""optuna-dashboard on a study, as a WSGI application."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from wsgiref.headers import Headers

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from featx._silence import silent_optuna
from featx.errors import InputError
from featx.tuning._storage import StudyLocation, database_errors, open_storage
from featx_cache.files import open_regular

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SHOWN_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_ARTIFACT_ID = re.compile("[0-9a-fA-F-]+")


class Dashboard(NamedTuple):
    """A WSGI application, and the path of the study below the address that it is served at."""

    application: WSGIApplication
    path: str


def make_dashboard(location: StudyLocation, artifacts: Path) -> Dashboard:
    """Make the dashboard of a study, or of all studies of a storage if the name is empty."""
    import optuna_dashboard

    storage = open_storage(location)
    path = "/dashboard/"
    with database_errors(location):
        if location.name:
            try:
                path += f"studies/{storage.get_study_id_from_name(location.name)}"
            except KeyError as error:
                names = ", ".join(s.study_name for s in storage.get_all_studies()) or "none"
                raise InputError(
                    f"there is no study {location.name!r} in {location.shown}",
                    f"It has these: {names}.",
                ) from error
    store = _Artifacts(artifacts) if artifacts.is_dir() and not artifacts.is_symlink() else None
    with silent_optuna():
        application = optuna_dashboard.wsgi(_with_constraints(storage), artifact_store=store)
    return Dashboard(_with_harmless_artifacts(application), path)


@dataclass(frozen=True)
class _Artifacts:
    """Artifact store of the files in a folder: no links, no pipes, nothing that lies elsewhere."""

    folder: Path

    def open_reader(self, artifact_id: str) -> BinaryIO:
        path = self._path(artifact_id)
        try:
            file = open_regular(path)
        except OSError as error:
            raise _not_found() from error
        if os.path.samestat(path.lstat(), os.fstat(file.fileno())):
            return file
        file.close()
        raise _not_found()

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        with self._path(artifact_id).open("xb") as file:
            shutil.copyfileobj(content_body, file)

    def remove(self, artifact_id: str) -> None:
        try:
            self._path(artifact_id).unlink()
        except OSError as error:
            raise ArtifactNotFound from error

    def _path(self, artifact_id: str) -> Path:
        if not _ARTIFACT_ID.fullmatch(artifact_id):  # it is part of what a study says of itself
            raise ArtifactNotFound
        return self.folder / artifact_id


def _not_found() -> Exception:
    from bottle import HTTPError  # type: ignore[import-untyped]

    return HTTPError(404, "There is no such file.")  # type: ignore[no-any-return]


def _with_harmless_artifacts(application: WSGIApplication) -> WSGIApplication:
    """Show artifacts that are images, and make downloads of all others.

    The study says what type an artifact has, and what is in it. A page among them could do at this
    address whatever the dashboard can, such as delete studies.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith("/artifacts/"):
            return application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = Headers(list(headers))
            del given["Access-Control-Allow-Origin"]
            if given["Content-Type"] not in SHOWN_TYPES:
                given["Content-Type"] = "application/octet-stream"
                given["Content-Disposition"] = "attachment"
            given["Content-Security-Policy"] = "default-src 'none'; sandbox"
            given["X-Content-Type-Options"] = "nosniff"
            return start_response(status, given.items(), exc_info)

        return application(environ, start)

    return answer


def _with_constraints(storage: BaseStorage) -> BaseStorage:
    """Let a storage return constraints as optuna-dashboard 0.21 expects them.

    It looks for the list that Optuna 4 kept under ``constraints``. Optuna 5 keeps each constraint
    under its own key. Nothing is written. Without this, the best trial could break a constraint.
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
