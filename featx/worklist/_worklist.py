"""The worklist: images that came in, what runs said of them, and what a reader saw."""

from __future__ import annotations

import contextlib
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from featx.data._dicom import Pseudonyms, own_salt
from featx.errors import InputError
from featx.scoring import Prediction
from featx.worklist import _deliveries, _images, _scores
from featx.worklist._arrivals import arrival
from featx.worklist._clock import Clock
from featx.worklist._database import Database
from featx.worklist._find_items import READING, find_items
from featx.worklist._image_files import ImageFiles
from featx.worklist._items import (
    Delivery,
    FullQueueError,
    Item,
    Limits,
    Origin,
    Result,
    RunFacts,
)
from featx.worklist._state_folder import DATABASE_NAME, IMAGES_NAME, own_folder, require_space
from featx_cache._text import printable
from featx_cache.files import sync

KEEP_DAYS = 30.0
DELIVERY_DAYS = 1.0
"""Days that an image is kept longer if its result wasn't delivered: the result is made from it."""

_DAY = 24 * 60 * 60.0


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

    Attributes
    ----------
    runs : tuple of RunFacts
        Runs that score. See `use_runs`.
    destinations : tuple of str
        Places that get the result of a DICOM image that is sent again, if they don't have it.
    changed : threading.Condition
        What tells those who wait that something changed.
    version : int
        Number that grows with every change. It begins at another one after a restart.

    Raises
    ------
    InputError
        If another process has the worklist open, or the folder holds something else.
    StorageError
        If the folder can't be written, or the database is damaged.

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
        self.destinations: tuple[str, ...] = ()
        self.changed = threading.Condition()
        self.version = secrets.randbits(40)
        self._listeners: list[Callable[[], None]] = []
        self._pseudonyms = Pseudonyms(own_salt)
        self._clock = Clock()
        # Whether a file is kept, and its row, change together.
        self._keeping = threading.Lock()
        self._held = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(own_folder(self.folder)) / DATABASE_NAME
            self._database = Database(path)
            stack.callback(self._database.close)
            self.folder.chmod(0o700)
            self._files = ImageFiles(self.folder / IMAGES_NAME)
            for folder in (self.folder, self.folder.resolve().parent):
                sync(folder)
            kept = self._database.rows("SELECT id FROM images WHERE removed IS NULL")
            self._files.remove_strays({row["id"] for row in kept})
            self._held = stack.pop_all()

    def __enter__(self) -> Worklist:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, and let other processes have the worklist."""
        self._held.close()

    # Images

    @property
    def images_folder(self) -> Path:
        """Folder of the images' files."""
        return self._files.folder

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
        OSError
            If it can't be read.
        """
        self.require_room()
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        with (
            arrival(source, self._files.folder, self.limits, self._pseudonyms) as arrived,
            self._keeping,
        ):
            known = self._database.rows("SELECT removed FROM images WHERE id = ?", arrived.id)
            if known:
                changed = _images.keep_again(
                    self._database, self._files, arrived, name, origin, self.runs, self.destinations
                )
            else:
                _images.keep(self._database, self._files, arrived, name, origin)
        if not known or changed:
            self.notify()
        found = self.get(arrived.id)
        assert found is not None
        return found, not known

    def require_room(self) -> None:
        """Raise an error if an image can't be taken at the moment.

        Raises
        ------
        FullQueueError
            If too many images wait. Those that are scored again don't count.
        StorageError
            If there is too little room on the disk.
        """
        waiting = self._count("state = 'waiting' AND NOT again")
        if waiting >= self.limits.waiting:
            raise FullQueueError(f"{waiting:,} images wait for a score", "Try again later.")
        self._files.require_folder()
        require_space(self.folder)

    def require_images(self) -> None:
        """Raise a StorageError if the images are gone, such as with a disk that isn't mounted."""
        self._files.require_images()

    def expire(self) -> int:
        """Remove images that are older than `keep_days`, with their names. Return their number.

        An image that waits for its score stays. If its result is to be delivered, it stays a day
        longer. If somebody set the clock by more than an hour, nothing is removed for a day: images
        would be as old as the clock was wrong.
        """
        if not self._clock.is_settled():
            return 0
        before = time.time() - self.keep_days * _DAY
        removed = 0
        for image in _images.find_old(self._database, before, before - DELIVERY_DAYS * _DAY):
            with self._keeping:
                removed += _images.remove(self._database, self._files, image)
        if removed:
            self._database.forget()
            self.notify()
        return removed

    # What is there

    def get(self, identifier: str) -> Item | None:
        """Return an image, or None if there is none of that identifier."""
        found = self._find("WHERE id = ?", identifier)
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
        return self._find(
            "WHERE received >= ? AND received < ? ORDER BY received DESC, number DESC LIMIT ?",
            0.0 if since is None else since,
            float("inf") if before is None else before,
            limit,
        )

    def waiting(self, limit: int) -> list[Item]:
        """Return images that wait for a score, those first that came first.

        Those that are scored again come last. A clock that goes backwards changes nothing.
        """
        return self._find("WHERE state = 'waiting' ORDER BY again, number LIMIT ?", limit)

    def count_waiting(self) -> int:
        """Return the number of images that wait for a score."""
        return self._count("state = 'waiting'")

    def _count(self, condition: str) -> int:
        found = self._database.rows(f"SELECT count(*) FROM images WHERE {condition}")
        return int(found[0][0])

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of images, by origin and state."""
        rows = self._database.rows("SELECT origin, state, count(*) FROM images GROUP BY 1, 2")
        return {(row[0], row[1]): row[2] for row in rows}

    def times(self, since: float) -> list[tuple[float, float]]:
        """Return when images were received and first scored, of those scored after a time."""
        return _scores.find_times(self._database, since)

    def _find(self, condition: str, *values: float | str) -> list[Item]:
        return find_items(self._database, self._files, condition, *values)

    # Scores

    def use_runs(self, runs: Sequence[RunFacts]) -> None:
        """Say which runs score from now on."""
        _scores.keep_runs(self._database, runs)
        self.runs = tuple(runs)
        self.notify()

    def save(
        self, scored: Iterable[tuple[str, Sequence[Prediction]]], destinations: Sequence[str] = ()
    ) -> None:
        """Keep the predictions of the current runs, one for each.

        Parameters
        ----------
        scored
            Identifiers and predictions.
        destinations
            Places that the results of DICOM images are delivered to.
        """
        _scores.keep_predictions(self._database, self.runs, scored, destinations)
        self.notify()

    def blame(self, identifier: str, reason: str) -> None:
        """Note that an image stopped the process that scores it. After two times it fails."""
        _scores.keep_blame(self._database, identifier, reason)
        self.notify()

    def run_names(self) -> dict[str, str]:
        """Return the names of all runs that were ever used, by `RunFacts.id`."""
        return {row["id"]: row["name"] for row in self._database.rows("SELECT id, name FROM runs")}

    def rescore(self) -> int:
        """Have kept images scored that a current run hasn't scored. Return their number.

        They are scored after those that come in.
        """
        found = _scores.ask_again(self._database, self.runs)
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
        """Return all images that a reader has read, the newest first."""
        return self._find(
            f"WHERE coalesce({READING}, '') != '' ORDER BY received DESC, number DESC"
        )

    # Deliveries

    def result(self, image: str, run: str) -> Result | None:
        """Return what a run said of an image, or None if it didn't score it."""
        item = self.get(image)
        return None if item is None else _deliveries.find_result(self._database, item, run)

    def due_deliveries(self, limit: int = 20) -> list[Delivery]:
        """Return results of DICOM images that are to be delivered now, the oldest first."""
        return _deliveries.find_due(self._database, limit)

    def count_undelivered(self) -> int:
        """Return the number of results that were not delivered yet."""
        return _deliveries.count_open(self._database)

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
        _deliveries.keep_outcome(self._database, delivery, error, retry_in)

    # Changes

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called after each change, in the thread that made it."""
        self._listeners.append(listener)

    def notify(self) -> None:
        """Tell everybody who waits that something changed."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()
        for listener in self._listeners:
            listener()
