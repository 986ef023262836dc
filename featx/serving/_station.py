"""Everything that serves a run, put together and taken apart: worklist, scoring, watching."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.worklist import Limits, RunSettings, ScoringLoop, ScoringProcess, WatchedFolder, Worklist
from featx.worklist._worklist import KEEP_DAYS

STATE_SUFFIX = ".worklist"
"""What the folder of a worklist is called after the run's name."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `featx.serve`, which explains them."""

    runs: RunSettings
    state: Path
    watch: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    dicom_port: int | None = None
    ae_title: str = "FEATX"
    results: Sequence[str] = ()
    heat_maps: bool = False
    token_file: Path | None = None
    keep_days: float = KEEP_DAYS
    limits: Limits = field(default_factory=Limits)


class Station:
    """Worklist, scoring process and loop of a service. Whoever enters it has them running.

    Parameters
    ----------
    options
        Options.
    report
        Function that is told in a line what goes wrong.

    Attributes
    ----------
    failed
        Function that is called if the runs can't be loaded. `ScoringLoop.failure` says why.

    Examples
    --------
    >>> with Station(options) as station:  # doctest: +SKIP
    ...     station.worklist.add(content, "a.png", "upload")
    """

    def __init__(
        self, options: ServeOptions, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self.options, self.report = options, report
        self._stack = contextlib.ExitStack()
        self.failed: Callable[[], None] = lambda: None
        self.worklist: Worklist
        self.process: ScoringProcess
        self.loop: ScoringLoop
        self.watched: WatchedFolder | None = None

    def __enter__(self) -> Station:
        options = self.options
        with contextlib.ExitStack() as stack:
            self.worklist = stack.enter_context(
                Worklist(options.state, keep_days=options.keep_days, limits=options.limits)
            )
            if options.watch is not None:
                self.watched = WatchedFolder(options.watch, self.worklist, self.report)
            self.process = ScoringProcess(options.runs)
            stack.callback(self.process.close)
            self.loop = ScoringLoop(
                self.worklist, self.process, tuple(options.results), self.report
            )
            self.loop.start(lambda: self.failed())
            stack.callback(self.loop.stop)
            if self.watched is not None:
                self.watched.start()
                stack.callback(self.watched.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.__exit__(*details)
