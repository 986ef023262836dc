"""The files of a run as they were written, also while somebody replaces the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from featx.errors import InputError
from featx.runs._record import RECORD_NAME, RunRecord, read_record, require_inside

T = TypeVar("T")
_ATTEMPTS = 3


class RunFiles:
    """The files of a run whose record was read."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self._folder, self._record = folder, record

    def path(self, name: str) -> Path:
        """Return the path of a file, which is as it was written."""
        path, wanted = self._folder / name, self._record.files.get(name)
        try:
            if not path.is_file():
                raise FileNotFoundError(path)
            require_inside(self._folder, path)
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except (FileNotFoundError, NotADirectoryError) as error:
            self._require_same()
            raise InputError(f"the run has no {name} ({path})", "Fit it again.") from error
        if wanted is not None and found != wanted:
            self._require_same()
            raise InputError(
                f"{path} is damaged: it isn't what `featx` wrote",
                "Copy the run again from where it is whole, or fit it again.",
            )
        return path

    def read(self, name: str, reader: Callable[[Path], T]) -> T:
        """Read a file, and make sure that nobody replaced the run meanwhile."""
        for _ in range(_ATTEMPTS):
            before = self._identity()
            try:
                value = reader(self.path(name))
            except Exception:
                if self._identity() == before:
                    raise
            else:
                if self._identity() == before:
                    return value
            self._require_same()
        raise self._replaced()

    def _identity(self) -> tuple[int, ...] | None:
        """Tell the folder from one that takes its place."""
        try:
            found = (self._folder / RECORD_NAME).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def _require_same(self) -> None:
        """Refuse to go on with half of one run and half of the one that took its place."""
        try:
            same = read_record(self._folder) == self._record
        except InputError:
            return  # there is no other
        if not same:
            raise self._replaced()

    def _replaced(self) -> InputError:
        return InputError(
            f"the run {self._folder} was replaced while it was read", "Run the command again."
        )
