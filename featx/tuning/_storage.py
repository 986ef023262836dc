"""Storage of a study: a journal file, SQLite, or PostgreSQL."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SAWarning, SQLAlchemyError

from featx._silence import silent_optuna
from featx._specs import require_equal
from featx.errors import InputError, StorageError
from featx.tuning._spec import JOURNAL_NAME as JOURNAL_NAME
from featx_cache._text import first_line, printable
from featx_cache.files import storage_errors
from featx_cache.files._claims import Claims

CONNECT_SECONDS = 10
HEARTBEAT_SECONDS, GRACE_SECONDS = 10, 30
MAX_RETRIES = 3
"""Times that a trial whose process died is begun again."""
LOCK_POLL_SECONDS = 0.002
UNCLAIMED_SECONDS = 3.0
"""Seconds that a running trial may have no claim: its line in the journal comes first."""

IDENTITY_KEY = "featx"

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class StudyLocation:
    """Location of a study: a database, or the journal in the folder if `url` is None."""

    folder: Path
    url: str | None
    name: str

    @property
    def shown(self) -> str:
        """Database without its secrets, or path of the journal."""
        return masked(self.url) if self.url is not None else str(self.folder / JOURNAL_NAME)


def masked(url: str) -> str:
    """Return a database URL without its password and its query, which may hold one, too.

    Nothing is shown if the password can't be told from the rest.

    Examples
    --------
    >>> masked("postgresql+psycopg://me:word@host/name?sslpassword=other")
    'postgresql+psycopg://me:***@host/name?…'
    >>> masked("postgresql:/me:word@host/name")
    '…'
    """
    try:
        parsed = _parsed(url)
    except InputError:
        return "…"
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    return printable(shown) + ("?…" if parsed.query else "")


def _parsed(url: str) -> URL:
    """Parse a database URL. The error repeats nothing of it."""
    with contextlib.suppress(ArgumentError, ValueError):  # the latter for a port that is no number
        parsed = make_url(url)
        has_server = parsed.host is not None or parsed.username is not None
        if not (has_server and "@" in f"{parsed.host}/{parsed.database}"):
            return parsed
    raise InputError(
        "`storage` or FEATX_STORAGE is not the URL of a database",
        "Write it like sqlite:///study.db or postgresql+psycopg://user@host:5432/database. In a "
        "password, write @ as %40, / as %2F and : as %3A.",
    )


def open_storage(location: StudyLocation) -> BaseStorage:
    """Open the storage of a study. An empty database gets its tables."""
    try:
        f"{location.name}{location.url}".encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name of the study, {location.name}, or of its database is not UTF-8",
            "Name the run and the database in UTF-8.",
        ) from error
    with silent_optuna():
        if location.url is None:
            path = location.folder.absolute() / JOURNAL_NAME
            _require_own_file(path)
            hint = "It is damaged. `force=True` starts over."
            with storage_errors(path), _readable(f"the journal {path}", hint):
                return JournalStorage(JournalFileBackend(str(path), _JournalLock(path)))
        return _open_database(location.url)


class _JournalLock(JournalFileOpenLock):
    """Lets one process at a time write to a journal.

    Optuna's own locks don't say who holds them: the lock of a killed process stops everybody for 30
    seconds, or for ever if it is a link that leads nowhere. A claim is taken over at once, needs no
    locks of the file system, and tells other machines that its owner lives.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._claims, self._name = Claims(journal.parent.absolute()), journal.name

    def acquire(self) -> bool:
        """Wait for the claim."""
        while not self._claims.take(self._name):
            time.sleep(LOCK_POLL_SECONDS)
        return True

    def release(self) -> None:
        """Give it back."""
        self._claims.release(self._name)


def _open_database(url: str) -> RDBStorage:
    parsed = _parsed(url)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_backend_name() == "postgresql":
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Query string argument", SAWarning)
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=_retry_callback(),
            )
    except SAWarning as error:
        raise InputError(
            f"{parsed.drivername} doesn't know the options in {masked(url)}",
            "Leave out what follows the question mark.",
        ) from error
    except NoSuchModuleError as error:
        raise InputError(
            f"there is no kind of database {parsed.drivername}",
            "featx is tested with sqlite:/// and postgresql+psycopg://.",
        ) from error
    except ImportError as error:  # Optuna's words differ from Python's
        raise InputError(
            f"the driver of {parsed.drivername} is not installed",
            "For PostgreSQL: pip install 'featx[postgres]', and a URL that begins with "
            "postgresql+psycopg://.",
        ) from error
    except (SQLAlchemyError, RuntimeError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else None
        raise StorageError(
            f"the database {masked(url)} can't be used: {_reason(cause or error, parsed)}",
            "Check that the server runs, and user, password, host and name of the database.",
        ) from error


def _reason(error: BaseException, url: URL) -> str:
    """Return the line of a driver's report that says what is wrong, without secrets of the URL."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split())
    if "failed: " in text:
        text = text.rpartition("failed: ")[2]
    values = ((v,) if isinstance(v, str) else v for v in url.query.values())
    queried = (part for parts in values for part in parts)  # a parameter may be given twice
    for secret in (url.password, *(part for part in queried if len(part) > 3)):
        text = text.replace(secret, "***") if secret else text
    return text[:200].rstrip(".? ")


def drop_torn_line(journal: Path) -> None:
    """Remove the end of a journal's last line that a full disk or a power cut left out.

    Optuna would join the next line to it, and then couldn't read either.
    """
    _require_own_file(journal)
    if not journal.is_file():
        return
    with storage_errors(journal), journal.open("r+b") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def _require_own_file(journal: Path) -> None:
    """Refuse a journal that lies elsewhere: it is written to, and its torn end is cut off."""
    for path in (journal.parent, journal):
        if path.is_symlink():
            raise InputError(
                f"{path} is a link, to {path.readlink()}",
                "Put what it leads to in its place, or give another `run`.",
            )
    if journal.exists() and not journal.is_file():
        raise InputError(f"the journal {journal} is not a file", "Give another `run`.")


@contextlib.contextmanager
def _readable(what: str, hint: str) -> Iterator[None]:
    """Say what is damaged. Optuna says that it can't decode JSON, or lacks a key."""
    try:
        yield
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise StorageError(f"{what} can't be read: {first_line(error)[:200]}", hint) from error


def open_study(
    location: StudyLocation,
    storage: BaseStorage,
    identity: dict[str, Any],
    directions: Sequence[Direction],
) -> optuna.Study:
    """Load a study, or create it."""
    hint = "Give another `study` or `run` (or `force=True`, for a study that lies beside the run)."
    shown = f"the study {location.name!r} in {location.shown}"
    with silent_optuna(), database_errors(location), _readable(shown, hint):
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=location.name,
                directions=list(directions),
                load_if_exists=True,
            )
        except ValueError as error:  # other directions
            raise InputError(f"{shown} has another objective", hint) from error
        found, trials = study.user_attrs.get(IDENTITY_KEY), study.get_trials(deepcopy=False)
        if found is None and not trials:
            study.set_user_attr(IDENTITY_KEY, identity)
        elif not isinstance(found, dict):
            raise InputError(f"{shown} was not made by featx", hint)
        else:
            require_equal(f"{shown} is another search", found, identity, hint)
    if [d.name.lower() for d in study.directions] != list(directions):
        raise InputError(f"{shown} has another objective", hint)
    return study


@contextlib.contextmanager
def database_errors(location: StudyLocation) -> Iterator[None]:
    """Turn the errors of a database, or of a journal's disk, into one line."""
    try:
        with storage_errors(location.folder):
            yield
    except (SQLAlchemyError, StorageInternalError) as error:
        url = make_url(location.url or "sqlite://")
        raise StorageError(
            f"the database {location.shown} gave up: {_reason(error.__cause__ or error, url)}",
            "Finished trials are kept: the same command goes on.",
        ) from error


class RunningTrials:
    """Trials that run, by claims in a folder. A trial whose process died is begun again.

    A database has Optuna's heartbeats for that. A journal file has none.
    """

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        self._study = study
        folder.mkdir(parents=True, exist_ok=True)
        self._claims = Claims(folder)
        self._unclaimed: dict[int, float] = {}
        self._retry = _retry_callback()

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Say that a trial is running while the block is."""
        with self._claims.held(f"trial-{number}"):
            yield

    def retry_dead(self) -> bool:
        """Fail running trials that nobody runs, and queue them again."""
        waiting = False
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            name = f"trial-{trial.number}"
            # Its process may have been killed before it could sign the claim.
            unsigned = self._claims.is_unsigned(name)
            if not self._claims.is_free(name):
                self._unclaimed.pop(trial.number, None)
                waiting = waiting or unsigned
                continue
            seen = self._unclaimed.setdefault(trial.number, time.monotonic())
            if time.monotonic() - seen < UNCLAIMED_SECONDS:
                waiting = True
                continue
            with contextlib.suppress(ValueError):  # another process was faster
                self._study.tell(trial.number, state=TrialState.FAIL)
                self._retry(self._study, trial)
        return waiting


def _retry_callback() -> Any:
    with silent_optuna():
        return optuna.storages.RetryHeartbeatStaleTrialCallback(MAX_RETRIES)
