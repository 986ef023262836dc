"""The audit log: who did what with which image, and when. It names no patients."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO, cast

AUDIT_NAME = "audit.log"
MAX_BYTES = 10 * 2**20
MAX_FILES = 10
"""Number of earlier files that are kept."""

Action = Literal["received", "refused", "opened", "read", "exported", "login", "login failed"]


class AuditLog:
    """Lines of JSON in files that only their owner can read.

    Parameters
    ----------
    path
        File that is written to. Earlier ones have a number after it.
    report
        Function that is told in a line if it can't be written.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._handler = _OwnFiles(path, report)

    def write(self, action: Action, who: str, image: str = "") -> None:
        """Write a line.

        Parameters
        ----------
        action
            What was done.
        who
            ``token 1`` for the first token of the file, ``loopback``, ``watch`` or ``dicom``. The
            address, if somebody couldn't log in.
        image
            Identifier of the image. Empty if it has none.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "who": who, "action": action, "image": image or None})
        self._handler.handle(logging.makeLogRecord({"msg": line, "levelno": logging.INFO}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _OwnFiles(RotatingFileHandler):
    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._report, self._fails = report, False
        super().__init__(
            path, maxBytes=MAX_BYTES, backupCount=MAX_FILES, encoding="utf-8", delay=True
        )

    def _open(self) -> TextIO:  # type: ignore[override]
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        file = open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)  # noqa: SIM115
        return cast("TextIO", file)

    def emit(self, record: Any) -> None:
        failed, self._fails = self._fails, False
        super().emit(record)
        if self._fails and not failed:
            self._report("the audit log can't be written")

    def handleError(self, record: Any) -> None:  # noqa: ARG002, N802
        self._fails = True
