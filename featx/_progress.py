"""Progress of long work: a bar by default, nothing, or what a caller shows."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from featx.errors import InputError

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that can show how far a task has got."""

    def task(
        self, description: str, total: int, unit: str
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show a task of `total` units. The block calls a function with the units done."""

    def note(self, message: str) -> None:
        """Tell the user one line that isn't an error."""


class Silent:
    """Show nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Advance]:  # noqa: ARG002
        """Count without showing."""
        yield lambda _: None

    def note(self, message: str) -> None:
        """Say nothing."""


SILENT = Silent()


class Bars:
    """Show a bar on a terminal and in a notebook, once a task has taken a second."""

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        """Show a bar while the block runs."""
        tqdm = _tqdm()
        hidden = not (_is_terminal() or "ipykernel" in sys.modules)
        with tqdm(
            desc=description, total=total, unit=f" {unit}s", delay=1.0, disable=hidden
        ) as bar:
            yield lambda done: bar.update(done) and None

    def note(self, message: str) -> None:
        """Print a line to standard error, above the bar."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody can read it
            _tqdm().write(message, file=sys.stderr)


def _is_terminal() -> bool:
    """Say whether standard error is a terminal. A program without a window has none at all."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _tqdm() -> Any:
    """Return tqdm's bar for a terminal or a notebook, which may lack ipywidgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm


def progress_of(progress: Progress | bool) -> Progress:
    """Return what shows the progress of a public function: bars, nothing, or what was given."""
    if isinstance(progress, bool):
        return Bars() if progress else SILENT
    if not callable(getattr(progress, "task", None)):
        raise InputError(
            f"`progress` can't be {progress!r}",
            "True shows bars, and False is silent.",
            parameter="progress",
        )
    return progress
