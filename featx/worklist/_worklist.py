"""The worklist: images that came in, what runs said of them, and what a reader saw."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from featx.data._dicom import Pseudonyms, own_salt
from featx.errors import InputError
from featx.scoring import Prediction
from featx.worklist._arrivals import Arrival, arrival
from featx.worklist._database import Database
from featx.worklist._items import Delivery, FullQueueError, Item, Limits, Origin, RunFacts
from featx_cache._text import printable
from featx_cache.files import lock, make_folder, storage_errors

DATABASE_NAME = "worklist.sqlite"
IMAGES_NAME = "images"
NAME_SUFFIX = ".name"
"""Suffix of the file that has the name of an image, beside it."""

MAX_NAME = 200
MAX_TRIES = 2
"""Number of times that an image may stop the process that scores it."""

KEEP_DAYS = 30.0
_DAY = 24 * 60 * 60.0
_PREDICTION_COLUMNS = tuple(name for name in Prediction.__slots__ if name != "path")


class Worklist:
    """Images on the disk and a database of what is known of them. Only one process may have it.

    An image that `add` returned is on the disk, and stays through a crash. The database has no
    name of a patient and no identifier of a DICOM file: patients and studies have pseudonyms.

    Parameters
    ----------
    folder
        Folder of the worklist. It is made if it isn't there.
    keep_days
        Days after which images are removed. Scores and readings stay.
    limits
        Limits of what is taken.

    Raises
    ------
    InputError
        If another process has the worklist open, or the folder holds something else.
    StorageError
        If the folder can't be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Worklist(Path(folder.name) / "worklist") as worklist:
    ...     worklist.count_waiting()
    0
    >>> folder.cleanup()
    """

    def __init__(
        self, folder: str | Path, *, keep_days: float = KEEP_DAYS, limits: Limits | None = None
    ) -> None:
        self.folder, self.keep_days = Path(folder), keep_days
        self.limits = limits or Limits()
        self.runs: tuple[RunFacts, ...] = ()
        self.changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._pseudonyms = Pseudonyms(own_salt)
        self._held = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._require_own()
            hint = "End it, or give another `state`."
            stack.enter_context(lock(self.folder / DATABASE_NAME, wait=1.0, hint=hint))
            with storage_errors(self.folder):
                self.folder.chmod(0o700)
                make_folder(self._images)
                self._images.chmod(0o700)
            self._database = Database(self.folder / DATABASE_NAME)
            stack.callback(self._database.close)
            self._remove_strays()
            self._held = stack.pop_all()

    def __enter__(self) -> Worklist:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, and let other processes have the worklist."""
        self._held.close()

    @property
    def _images(self) -> Path:
        return self.folder / IMAGES_NAME

    def _require_own(self) -> None:
        """Refuse a folder of something else: files in it are removed after a while."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file", "Give a folder as `state`.")
        known = (self.folder / DATABASE_NAME).exists()
        if self.folder.is_dir() and not known and any(map(_is_foreign, self.folder.iterdir())):
            raise InputError(
                f"{self.folder} isn't empty, and it is no worklist",
                "Give a new folder as `state`.",
            )

    # Images

    def add(self, content: IO[bytes] | bytes, name: str, origin: Origin) -> tuple[Item, bool]:
        """Take an image. It is on the disk when this returns.

        Parameters
        ----------
        content
            Content of the file.
        name
            Name of the file, for people.
        origin
            Way by which it came.

        Returns
        -------
        item
            The image, or the one that is there already if it came before.
        new
            Whether it is new.

        Raises
        ------
        RefusedImageError
            If it is too large, or no image that featx reads.
        FullQueueError
            If too many images wait.
        StorageError
            If it can't be written.
        """
        self.require_room()
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        with arrival(source, self._images, self.limits, self._pseudonyms) as arrived:
            new = self._keep(arrived, name, origin)
        found = self.get(arrived.id)
        assert found is not None
        if new:
            self.notify()
        return found, new

    def require_room(self) -> None:
        """Raise a FullQueueError if too many images wait."""
        waiting = self.count_waiting()
        if waiting >= self.limits.waiting:
            raise FullQueueError(f"{waiting:,} images wait for a score", "Try again later.")

    def _keep(self, arrived: Arrival, name: str, origin: Origin) -> bool:
        """Put a file in its place, and only then its row into the database."""
        known = self._database.rows("SELECT removed FROM images WHERE id = ?", arrived.id)
        # What lies in the watched folder for longer than images are kept isn't taken in again.
        if known and (known[0]["removed"] is None or origin == "watch"):
            return False
        target = self._file(arrived.id, arrived.suffix)
        with storage_errors(target):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if arrived.format != "DICOM" and name:
                shown = printable(name)[-MAX_NAME:].encode(errors="replace")
                _write(target.with_suffix(NAME_SUFFIX), shown)
            arrived.file.replace(target)
            _sync(target.parent)
        now = round(time.time(), 6)  # as a `datetime` has it, so that a list can go on from there
        with self._database.transaction() as change:
            if known:
                change("UPDATE images SET received = ?, removed = NULL WHERE id = ?",
                       (now, arrived.id))  # fmt: skip
                return False
            added = change(
                "INSERT INTO images (id, received, origin, format, suffix, patient, study, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT (id) DO NOTHING",
                (
                    *(arrived.id, now, origin, arrived.format, arrived.suffix),
                    *(arrived.patient, arrived.study),
                ),
            )
            return bool(added.rowcount)

    def _file(self, identifier: str, suffix: str) -> Path:
        return self._images / identifier[:2] / f"{identifier}{suffix}"

    def _remove_strays(self) -> None:
        """Remove what a crash left: files that were written and have no row yet."""
        known = {row["id"] for row in self._database.rows("SELECT id FROM images")}
        with storage_errors(self._images):
            for path in self._images.iterdir():
                if path.is_dir():
                    for file in path.iterdir():
                        if file.stem not in known:
                            file.unlink()
                else:
                    path.unlink()

    def expire(self) -> int:
        """Remove images that are older than `keep_days`, with their names. Return their number."""
        before = time.time() - self.keep_days * _DAY
        old = self._database.rows(
            "SELECT id, suffix FROM images WHERE removed IS NULL AND received < ? "
            "AND state != 'waiting'",
            before,
        )
        for row in old:
            file = self._file(row["id"], row["suffix"])
            with storage_errors(file):
                for path in file.parent.glob(f"{row['id']}*"):
                    path.unlink(missing_ok=True)
            with self._database.transaction() as change:
                change("UPDATE images SET removed = ? WHERE id = ?", (time.time(), row["id"]))
        if old:
            self.notify()
        return len(old)

    # What is there

    def get(self, identifier: str) -> Item | None:
        """Return an image, or None if there is none of that identifier."""
        found = self._items("WHERE images.id = ?", identifier)
        return found[0] if found else None

    def items(
        self, *, since: float | None = None, before: float | None = None, limit: int = 500
    ) -> list[Item]:
        """Return images, the newest first.

        Parameters
        ----------
        since, before
            Seconds since 1970 between which they came.
        limit
            Number of images at most.
        """
        return self._items(
            "WHERE images.received >= ? AND images.received < ? "
            "ORDER BY images.received DESC LIMIT ?",
            since or 0.0,
            before or time.time() + _DAY,
            limit,
        )

    def waiting(self, limit: int) -> list[Item]:
        """Return images that wait for a score, those first that came first."""
        return self._items("WHERE images.state = 'waiting' ORDER BY images.received LIMIT ?", limit)

    def count_waiting(self) -> int:
        """Return the number of images that wait for a score."""
        found = self._database.rows("SELECT count(*) FROM images WHERE state = 'waiting'")
        return int(found[0][0])

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of images, by origin and state."""
        rows = self._database.rows("SELECT origin, state, count(*) FROM images GROUP BY 1, 2")
        return {(row[0], row[1]): row[2] for row in rows}

    def times(self, since: float) -> list[tuple[float, float]]:
        """Return when images were received and scored, of those scored after a time."""
        rows = self._database.rows(
            "SELECT received, min(scored) AS scored FROM predictions JOIN images ON image = id "
            "WHERE scored > ? GROUP BY image",
            since,
        )
        return [(row["received"], row["scored"]) for row in rows]

    def _items(self, condition: str, *values: Any) -> list[Item]:
        rows = self._database.rows(
            "SELECT images.*, (SELECT label FROM readings WHERE readings.image = images.id "
            f"ORDER BY number DESC LIMIT 1) AS reading FROM images {condition}",
            *values,
        )
        return [self._item(row) for row in rows]

    def _item(self, row: Any) -> Item:
        file = self._file(row["id"], row["suffix"])
        name = f"{row['id'][:8]}{row['suffix']}"
        if row["removed"] is None:
            with contextlib.suppress(OSError):
                name = file.with_suffix(NAME_SUFFIX).read_text(errors="replace") or name
        predictions = {
            found["run"]: _prediction(found, name)
            for found in self._database.rows("SELECT * FROM predictions WHERE image = ?", row["id"])
        }
        return Item(
            row["id"],
            datetime.fromtimestamp(row["received"]).astimezone(),
            row["origin"],
            row["format"],
            row["state"],
            None if row["removed"] is not None else file,
            name,
            row["patient"],
            row["study"],
            row["error"],
            row["reading"] or "",
            predictions,
        )

    # Scores

    def use_runs(self, runs: Sequence[RunFacts]) -> None:
        """Say which runs score from now on."""
        with self._database.transaction() as change:
            for run in runs:
                low, high = run.band or (None, None)
                change(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, path = excluded.path",
                    (run.id, run.name, run.path, run.head, *run.classes, run.threshold, low, high,
                     time.time()),
                )  # fmt: skip
        self.runs = tuple(runs)
        self.notify()

    def save(
        self,
        scored: Iterable[tuple[str, Sequence[Prediction]]],
        destinations: Iterable[str] = (),
    ) -> None:
        """Keep the predictions of the current runs, one for each.

        Parameters
        ----------
        scored
            Identifiers and predictions.
        destinations
            Places that the results of DICOM images are delivered to.
        """
        now = time.time()
        with self._database.transaction() as change:
            for identifier, predictions in scored:
                for run, made in zip(self.runs, predictions, strict=True):
                    values = [getattr(made, name) for name in _PREDICTION_COLUMNS]
                    change(
                        f"INSERT OR REPLACE INTO predictions (image, run, scored, "
                        f"{', '.join(_PREDICTION_COLUMNS)}) "
                        f"VALUES (?, ?, ?{', ?' * len(values)})",
                        (identifier, run.id, now, *values),
                    )
                    if made.score is not None:
                        for destination in destinations:
                            change(
                                "INSERT INTO deliveries (image, run, destination, next_try) SELECT "
                                "id, ?, ?, ? FROM images WHERE id = ? AND format = 'DICOM' "
                                "ON CONFLICT DO NOTHING",
                                (run.id, destination, now, identifier),
                            )
                errors = [made.error for made in predictions if made.score is None]
                state = "failed" if len(errors) == len(predictions) else "scored"
                change("UPDATE images SET state = ?, error = ? WHERE id = ?",
                       (state, errors[0] if state == "failed" else "", identifier))  # fmt: skip
        self.notify()

    def blame(self, identifiers: Iterable[str], reason: str) -> None:
        """Note that the scoring process died with these images. After two times they fail."""
        with self._database.transaction() as change:
            for identifier in identifiers:
                change("UPDATE images SET tries = tries + 1 WHERE id = ?", (identifier,))
                change(
                    "UPDATE images SET state = 'failed', error = ? WHERE id = ? AND tries >= ?",
                    (reason, identifier, MAX_TRIES),
                )
        self.notify()

    def rescore(self) -> int:
        """Have kept images scored that a current run hasn't scored. Return their number."""
        with self._database.transaction() as change:
            found = 0
            for run in self.runs:
                found += change(
                    "UPDATE images SET state = 'waiting', tries = 0, error = '' WHERE removed IS "
                    "NULL AND state != 'waiting' AND NOT EXISTS (SELECT 1 FROM predictions "
                    "WHERE image = images.id AND run = ?)",
                    (run.id,),
                ).rowcount
        self.notify()
        return found

    # Readings

    def read(self, identifier: str, label: str) -> Item:
        """Keep what a reader saw: a class of the first run, or an empty text for no reading.

        Raises
        ------
        InputError
            If there is no such image or class.
        """
        classes = self.runs[0].classes if self.runs else ()
        if label and label not in classes:
            raise InputError(
                f"{printable(label)[:60]!r} is no class of the run", f"Give {' or '.join(classes)}."
            )
        if self.get(identifier) is None:
            raise InputError(f"there is no image {printable(identifier)[:60]!r}")
        with self._database.transaction() as change:
            change("INSERT INTO readings (image, label, made) VALUES (?, ?, ?)",
                   (identifier, label, time.time()))  # fmt: skip
        self.notify()
        found = self.get(identifier)
        assert found is not None
        return found

    def readings(self) -> list[Item]:
        """Return the images that a reader has read and that are still kept."""
        return self._items(
            "WHERE removed IS NULL AND coalesce((SELECT label FROM readings WHERE "
            "readings.image = images.id ORDER BY number DESC LIMIT 1), '') != '' "
            "ORDER BY images.received"
        )

    # Deliveries

    def due_deliveries(self, limit: int = 20) -> list[Delivery]:
        """Return results of DICOM images that are to be delivered now, the oldest first."""
        rows = self._database.rows(
            "SELECT deliveries.*, images.suffix FROM deliveries JOIN images "
            "ON images.id = deliveries.image WHERE done IS NULL AND next_try <= ? "
            "ORDER BY next_try LIMIT ?",
            time.time(),
            limit,
        )
        return [
            Delivery(row["image"], row["run"], row["destination"], row["tries"]) for row in rows
        ]

    def count_undelivered(self) -> int:
        """Return the number of results that were not delivered yet."""
        return int(self._database.rows("SELECT count(*) FROM deliveries WHERE done IS NULL")[0][0])

    def delivered(
        self, delivery: Delivery, error: str = "", *, retry_in: float | None = None
    ) -> None:
        """Note how a delivery went.

        Parameters
        ----------
        delivery
            The delivery.
        error
            Reason why it failed. It names nobody. Empty if it is done.
        retry_in
            Seconds until it is tried again. None gives it up if it failed.
        """
        now = time.time()
        key = delivery.image, delivery.run, delivery.destination
        done = None if error and retry_in is not None else now
        with self._database.transaction() as change:
            change(
                "UPDATE deliveries SET done = ?, tries = tries + 1, error = ?, next_try = ? "
                "WHERE image = ? AND run = ? AND destination = ?",
                (done, error, now + (retry_in or 0.0), *key),
            )

    # Changes

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called after each change, in the thread that made it."""
        self._listeners.append(listener)

    def notify(self) -> None:
        """Tell everybody who waits that something changed."""
        with self.changed:
            self.changed.notify_all()
        for listener in self._listeners:
            listener()


def _is_foreign(path: Path) -> bool:
    """Say whether a file isn't what a start that was killed may have left."""
    return path.name != IMAGES_NAME and DATABASE_NAME not in path.name


def _prediction(row: Any, name: str) -> Prediction:
    values = {column: row[column] for column in _PREDICTION_COLUMNS}
    for column in ("uncertain", "unlike_training"):
        if values[column] is not None:
            values[column] = bool(values[column])
    return Prediction(path=name, **values)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
