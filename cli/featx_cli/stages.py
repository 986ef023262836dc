"""Progress of a command of several stages: a line a stage, with the time that it took."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from featx_cli.console import TerminalProgress, Verbosity, say, show_bar, verbosity

if TYPE_CHECKING:
    from featx._progress import Advance

BAR_SECONDS = 2.0
"""Seconds after which what runs in a stage gets a bar."""


class StageProgress(TerminalProgress):
    """A line a stage, and on a terminal a bar for what lasts long, which vanishes afterwards."""

    def __init__(self) -> None:
        self._line = ""

    @contextlib.contextmanager
    def stage(self, description: str) -> Iterator[None]:
        """Print a line for a stage: what is done, and at its end the seconds it took."""
        started = time.monotonic()
        self._line = f"{description} …"
        if self._on_terminal():
            print(self._line, end="", file=sys.stderr, flush=True)  # noqa: T201
        try:
            yield
        finally:
            self._clear()
        say(f"{description} … {time.monotonic() - started:.0f} s")

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a stage, or a task within one."""
        if unit == "stage":
            with self.stage(description):
                yield lambda _: None
        elif self._on_terminal() and total != 0:
            with self._late_bar(description, total, unit) as advance:
                yield advance
        else:
            yield lambda _: None

    def note(self, message: str) -> None:
        """Print one line, above that of the stage."""
        self._clear()
        say(message)

    @contextlib.contextmanager
    def _late_bar(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        started, waiting = time.monotonic(), 0
        bar: Advance | None = None
        with contextlib.ExitStack() as stack:

            def advance(done: int) -> None:
                nonlocal bar, waiting
                waiting += done
                if bar is None and time.monotonic() - started >= BAR_SECONDS:
                    self._clear()
                    bar = stack.enter_context(show_bar(description, total, unit, transient=True))
                if bar is not None:
                    bar(waiting)
                    waiting = 0

            yield advance

    def _clear(self) -> None:
        """Take the line of a stage away that hasn't ended."""
        if self._on_terminal() and self._line:
            blank = " " * len(self._line)
            print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)  # noqa: T201
        self._line = ""

    @staticmethod
    def _on_terminal() -> bool:
        return verbosity() is not Verbosity.QUIET and sys.stderr.isatty()
