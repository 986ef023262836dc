"""How long work reports that it gets on; the command line turns it into a bar or plain lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that can show how far a task has got."""

    def task(
        self, description: str, total: int, unit: str
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show a task of `total` units; the block is given a function that counts units done."""

    def note(self, message: str) -> None:
        """Tell the user one line that isn't an error."""


class Silent:
    """Show nothing: the library's default."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Advance]:  # noqa: ARG002
        """Count without showing."""
        yield lambda _: None

    def note(self, message: str) -> None:
        """Say nothing."""


SILENT = Silent()
