"""SQLite database of a worklist: its schema, and transactions that survive a power cut."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.errors import InputError, StorageError

APPLICATION_ID = 0x66656178
"""``featx``'s mark in the header of the database file."""

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, head TEXT NOT NULL,
    negative TEXT NOT NULL, positive TEXT NOT NULL, threshold REAL NOT NULL,
    band_low REAL, band_high REAL, first_used REAL NOT NULL
) STRICT;
CREATE TABLE images (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, received REAL NOT NULL,
    origin TEXT NOT NULL, format TEXT NOT NULL, suffix TEXT NOT NULL, patient TEXT NOT NULL,
    study TEXT NOT NULL, state TEXT NOT NULL, again INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', removed REAL
) STRICT;
CREATE INDEX images_in_queue ON images (again, number) WHERE state = 'waiting';
CREATE INDEX images_by_time ON images (received, number);
CREATE INDEX images_kept ON images (received) WHERE removed IS NULL;
CREATE TABLE predictions (
    image TEXT NOT NULL REFERENCES images (id), run TEXT NOT NULL REFERENCES runs, score REAL,
    probability REAL, threshold REAL NOT NULL, prediction TEXT NOT NULL, uncertain INTEGER,
    unlike_training INTEGER, distance REAL, error TEXT NOT NULL, view TEXT, scored REAL NOT NULL,
    PRIMARY KEY (image, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX predictions_by_time ON predictions (scored);
CREATE TABLE readings (
    number INTEGER PRIMARY KEY, image TEXT NOT NULL REFERENCES images (id), label TEXT NOT NULL,
    made REAL NOT NULL
) STRICT;
CREATE INDEX readings_by_image ON readings (image, number);
CREATE TABLE deliveries (
    image TEXT NOT NULL REFERENCES images (id), run TEXT NOT NULL REFERENCES runs,
    destination TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL,
    done REAL, error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (image, run, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (next_try) WHERE done IS NULL;
"""


class Database:
    """A connection that the threads of this process share, one at a time.

    Parameters
    ----------
    path
        File of the database. It is made if it isn't there.

    Raises
    ------
    InputError
        If the file is something else, or of a later version.
    StorageError
        If it can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._file: tuple[int, int] | None = None
        with _database_errors(path):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._open()
        self._file = path.stat().st_dev, path.stat().st_ino

    def _open(self) -> None:
        ask = self._connection.execute
        mark = ask("PRAGMA application_id").fetchone()[0]
        version = ask("PRAGMA user_version").fetchone()[0]
        empty = not ask("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not empty and mark != APPLICATION_ID:
            raise InputError(f"{self.path} isn't a worklist", "Give another `state`.")
        if not empty and version != SCHEMA_VERSION:
            other = "a later" if version > SCHEMA_VERSION else "an earlier"
            raise InputError(
                f"{self.path} is a worklist of {other} version of featx",
                "Use that version, or give another `state`.",
            )
        if not empty and ask("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _failed(self.path, "SQLITE_CORRUPT")
        ask("PRAGMA journal_mode = WAL")
        # What was acknowledged is on the disk, also after a power cut.
        ask("PRAGMA synchronous = FULL")
        ask("PRAGMA foreign_keys = ON")
        ask("PRAGMA secure_delete = ON")
        if empty:
            with self.transaction() as change:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    change(statement)
                change(f"PRAGMA application_id = {APPLICATION_ID}")
                change(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def rows(self, question: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows that answer a question."""
        with self._lock, _database_errors(self.path):
            return self._connection.execute(question, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Change several rows or none. The block gets `execute`."""
        with self._lock, _database_errors(self.path):
            self._require_file()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                # If the disk is full, SQLite may have rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _require_file(self) -> None:
        """Change nothing in a file that somebody took away: it would be gone after the end."""
        try:
            found = self.path.stat()
        except OSError:
            found = None
        if self._file is not None and (found is None or self._file != (found.st_dev, found.st_ino)):
            raise StorageError(f"the database {self.path} is gone", "Put it back, and start again.")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Let nothing change between the questions of a block."""
        with self._lock:
            yield

    def forget(self) -> None:
        """Overwrite what was changed also in the write-ahead log."""
        with self._lock, _database_errors(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection. The write-ahead log becomes part of the file."""
        with self._lock:
            self._connection.close()


@contextlib.contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if name == "SQLITE_NOTADB":
            raise InputError(f"{path} isn't a database", "Give another `state`.") from error
        raise _failed(path, name) from error


def _failed(path: Path, name: str) -> StorageError:
    """Say in a line what SQLite calls by a name."""
    reasons = {
        "SQLITE_FULL": "the disk is full",
        "SQLITE_CORRUPT": "it is damaged",
        "SQLITE_READONLY": "it can't be written",
        "SQLITE_CANTOPEN": "it can't be opened",
        "SQLITE_BUSY": "another program has it open",
    }
    short = "_".join(name.split("_")[:2])
    hint = "Make room, or check the disk."
    if short == "SQLITE_CORRUPT":
        hint = "Put a copy of the folder in its place, or begin with another `state`."
    if short == "SQLITE_BUSY":
        hint = "End that program."
    return StorageError(f"the database {path} failed: {reasons.get(short, name)}", hint)
