"""Results go to standard output, all other text to standard error."""

from __future__ import annotations

import contextlib
import enum
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from featx_cache._text import printable, printable_lines
from featx_cli.options import with_options

if TYPE_CHECKING:
    from rich.console import Console

    from featx._progress import Advance

PLAIN_SECONDS = 10.0


class Verbosity(enum.IntEnum):
    """Amount that is printed besides results and errors."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_verbosity = Verbosity.NORMAL


def set_verbosity(verbosity: Verbosity) -> None:
    """Choose how much is printed from now on."""
    global _verbosity
    _verbosity = verbosity


def verbosity() -> Verbosity:
    """Return how much is printed."""
    return _verbosity


_serving = False


def set_serving(serving: bool) -> None:
    """Note whether the command ends when it is interrupted, and not before: that is no failure."""
    global _serving
    _serving = serving


def is_serving() -> bool:
    """Say whether an interruption is the proper end."""
    return _serving


def is_verbose() -> bool:
    """Say whether everything is shown."""
    return _verbosity is Verbosity.VERBOSE


def output() -> Console:
    """Return the console of results."""
    # Brackets and colons in file names are neither markup nor emoji.
    width = None if sys.stdout.isatty() else 120
    return _console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)


def _console(**options: Any) -> Console:
    """Make a console that shows only printable text, also in tables and bars."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class Printable(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # before columns get widths
            return super().render_str(printable_lines(with_options(text)), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable_lines(text), style, control)

        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*objects, **{"crop": False, **options})  # what isn't folded is whole

    return Printable(**options)


def say(message: str, *, detail: bool = False) -> None:
    """Print a line on standard error. A `detail` is printed only if verbose."""
    if _verbosity >= (Verbosity.VERBOSE if detail else Verbosity.NORMAL):
        print(printable(with_options(message)), file=sys.stderr, flush=True)  # noqa: T201


def warn(message: str) -> None:
    """Print a line on standard error, also if quiet, because a result may mislead."""
    print(printable(with_options(message)), file=sys.stderr, flush=True)  # noqa: T201


class TerminalProgress:
    """A bar with speed and time left on a terminal, plain lines elsewhere, nothing if quiet."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a task while the block runs. `total` is None if the number is unknown."""
        if _verbosity is Verbosity.QUIET or total == 0:
            yield lambda _: None
        elif sys.stderr.isatty():
            with show_bar(description, total, unit) as advance:
                yield advance
        else:
            yield _plain_lines(description, total, unit)

    def note(self, message: str) -> None:
        """Print one line."""
        say(message)


@contextlib.contextmanager
def show_bar(
    description: str, total: int | None, unit: str, *, transient: bool = False
) -> Iterator[Advance]:
    """Show a bar while the block runs. A `transient` one is gone afterwards."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}s/s" if task.speed else "", style="cyan")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = _console(stderr=True)
    with Progress(
        *columns, console=console, speed_estimate_period=60.0, transient=transient
    ) as progress:
        task = progress.add_task(printable(description), total=total)
        yield lambda done: progress.update(task, advance=done)


def _plain_lines(description: str, total: int | None, unit: str) -> Callable[[int], None]:
    """Print a line every ten seconds, and one at the end of a long task."""
    started = time.monotonic()
    state = {"done": 0, "printed": started}

    def advance(done: int) -> None:
        state["done"] += done
        now = time.monotonic()
        finished = total is not None and state["done"] >= total
        if now - state["printed"] < PLAIN_SECONDS and not (finished and now - started > 2.0):
            return
        state["printed"] = now
        speed = state["done"] / max(now - started, 1e-9)
        if total is None:
            units = unit if state["done"] == 1 else f"{unit}s"
            say(f"{description}: {state['done']} {units}, {speed:.1f} {unit}s/s")
            return
        left = (total - state["done"]) / speed
        tail = f"in {now - started:.0f} s" if finished else f"{left:.0f} s left"
        say(f"{description}: {state['done']}/{total} {unit}s, {speed:.1f} {unit}s/s, {tail}")

    return advance
