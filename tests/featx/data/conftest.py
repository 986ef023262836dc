"""Fixtures that the tests of reading share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from featx._progress import Advance


class Recorder:
    """Progress that keeps what is told: notes, tasks (description, unit, total) and units done."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[tuple[str, str, int]] = []
        self.done = 0

    @contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        self.tasks.append((description, unit, total))
        yield self._advance

    def _advance(self, done: int) -> None:
        self.done += done

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_SALT", "of the tests")
