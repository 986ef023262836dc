"""Everything that serves a run, put together and taken apart: worklist, scoring, watching."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anyio import CapacityLimiter

from featx.dicomnet import Deliverer, DicomNode, Receiver
from featx.serving._audit import AUDIT_NAME, Action, AuditLog
from featx.serving._changes import Changes
from featx.serving._metrics import Metrics
from featx.serving._request_limits import MAX_UPLOADS
from featx.worklist import (
    Item,
    Limits,
    RefusedImageError,
    RunSettings,
    ScoringLoop,
    ScoringProcess,
    WatchedFolder,
    Worklist,
)
from featx.worklist._state_folder import SCRATCH_NAME
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
    dicom_host: str = "127.0.0.1"
    dicom_peers: Sequence[str] = ()
    ae_title: str = "FEATX"
    results: Sequence[str] = ()
    heat_maps: bool = False
    token_file: Path | None = None
    allowed_hosts: Sequence[str] = ()
    keep_days: float = KEEP_DAYS
    limits: Limits = field(default_factory=Limits)

    def node(self) -> DicomNode:
        """Return this node of the DICOM network.

        Raises
        ------
        InputError
            If its name isn't one, or others can reach it and it doesn't know who they are.
        """
        if self.dicom_port is None:
            return DicomNode(self.ae_title)
        peers = tuple(self.dicom_peers)
        return DicomNode(self.ae_title, self.dicom_host, self.dicom_port, peers)


class Station:
    """Worklist, scoring process and loop of a service. Whoever enters it has them running.

    Parameters
    ----------
    options
        Options.
    report
        Function that is told in a line what goes wrong.

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
        self.worklist: Worklist
        self.process: ScoringProcess
        self.loop: ScoringLoop
        self.changes: Changes
        self.metrics: Metrics
        self.upload_threads = CapacityLimiter(MAX_UPLOADS)
        self._audit: AuditLog
        self.receiver: Receiver | None = None
        self.deliverer: Deliverer | None = None
        self.watched: WatchedFolder | None = None

    def __enter__(self) -> Station:
        options = self.options
        with contextlib.ExitStack() as stack:
            self.worklist = stack.enter_context(
                Worklist(options.state, keep_days=options.keep_days, limits=options.limits)
            )
            self._audit = AuditLog(options.state / AUDIT_NAME, self.report)
            stack.callback(self._audit.close)
            self.changes = Changes(self.worklist)
            if options.watch is not None:
                self.watched = WatchedFolder(
                    options.watch, self.worklist, self.report, self._note_watched
                )
            self.process = ScoringProcess(options.runs, options.state / SCRATCH_NAME)
            self._make_dicom(stack)
            stack.callback(self.process.close)
            self.metrics = Metrics(self.worklist, self.process)
            if self.deliverer is not None:
                self.metrics.deliveries = self.deliverer.counts
            self.loop = ScoringLoop(
                self.worklist, self.process, tuple(options.results), self.report
            )
            self.loop.start()
            stack.callback(self.loop.stop)
            self._start_dicom(stack)
            if self.watched is not None:
                self.watched.start()
                stack.callback(self.watched.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.__exit__(*details)

    def audit(self, action: Action, who: str, image: str = "", *, kind: str = "unreadable") -> None:
        """Note in the audit log who did what. See `AuditLog.write`. Refused files are counted.

        `kind` is that of a refused file, see `featx.worklist.RefusedImageError`.
        """
        self._audit.write(action, who, image)
        if action == "refused":
            origin = who if who in ("watch", "dicom") else "upload"
            self.metrics.refused.labels(origin, kind).inc()

    def _note_watched(self, found: Item | RefusedImageError) -> None:
        if isinstance(found, RefusedImageError):
            self.audit("refused", "watch", kind=found.kind)
        else:
            self.audit("received", "watch", found.id)

    def _audit_dicom(self, action: Literal["received", "refused"], image: str, kind: str) -> None:
        self.audit(action, "dicom", image, kind=kind)

    def _make_dicom(self, stack: contextlib.ExitStack) -> None:
        """Make the DICOM node. What is wrong with its options is said before a run is loaded."""
        options = self.options
        if options.dicom_port is None and not options.results:
            return
        if options.dicom_port is not None:
            self.receiver = Receiver(self.worklist, options.node(), self.report, self._audit_dicom)
            self.receiver.listen()
            stack.callback(self.receiver.stop)
        if options.results:
            process = self.process if options.heat_maps else None
            self.deliverer = Deliverer(
                self.worklist, process, options.results, options.ae_title, self.report
            )

    def _start_dicom(self, stack: contextlib.ExitStack) -> None:
        if self.deliverer is not None:
            self.deliverer.start()
            stack.callback(self.deliverer.stop)
        if self.receiver is not None:
            self.receiver.start()
            stack.callback(self.receiver.stop)  # first of all, so that nothing is taken in vain
            node = self.receiver.node
            self.report(
                f"DICOM images are taken at {node.host}:{self.receiver.port} as {node.ae_title}"
            )
