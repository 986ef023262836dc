"""The process that scores images. It may die: then it is started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from featx.errors import FeatxError, InputError
from featx.worklist._messages import (
    PNG,
    REQUEST,
    SCORED,
    SETTINGS,
    SHOWN,
    Failed,
    Request,
    RunSettings,
    ScoredFiles,
    Shown,
    read,
    write,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_MAIN = "from featx.worklist._scoring_worker import main; main()"

LOADING_SECONDS = 600.0
"""Time that a process may take to load a network."""

IMAGE_SECONDS = 120.0
"""Time that it may take for an image. A batch may take so much for each."""


class ScoringDiedError(FeatxError):
    """The scoring process died, or took too long and was killed.

    Examples
    --------
    >>> ScoringDiedError("the scoring process died").code
    'scoring-died'
    """

    code = "scoring-died"


class LoadingDiedError(ScoringDiedError):
    """It died while it loaded the runs, which no image is to blame for."""


class UnexpectedError(FeatxError):
    """Scoring failed in a way that featx doesn't know. It may be the image's fault."""

    code = "unexpected"


class ScoringProcess:
    """A process of its own that has the networks. It is started when it is first asked.

    What decodes files that strangers sent, and what takes gigabytes, isn't in the process that
    answers people. Requests come one at a time. A person who looks at an image goes before the
    queue.

    Parameters
    ----------
    settings
        Runs to load.
    scratch
        Folder for temporary files of the process, which can't remove them itself if it dies or is
        killed. It is emptied before a start, and gone after the end. By default, the system's.

    Examples
    --------
    >>> process = ScoringProcess(RunSettings(("runs/logreg",)))  # doctest: +SKIP
    >>> process.score(["a.png"]).predictions  # doctest: +SKIP
    """

    def __init__(self, settings: RunSettings, scratch: Path | None = None) -> None:
        self.settings, self.scratch = settings, scratch
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Condition()
        self._busy, self._urgent = False, 0
        self._loaded = self._closed = False

    @property
    def pid(self) -> int | None:
        """Number of the process. None if none runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def runs(self) -> ScoredFiles:
        """Load the runs, and say which they are."""
        return self._ask(Request("runs"), SCORED, LOADING_SECONDS)

    def score(self, paths: Sequence[Path]) -> ScoredFiles:
        """Score files with all runs.

        Raises
        ------
        ScoringDiedError
            If the process died.
        FeatxError
            If a run can't be used any more.
        """
        request = Request("score", tuple(map(str, paths)))
        found = self._ask(request, SCORED, IMAGE_SECONDS * max(len(paths), 1))
        made = found.predictions
        if len(made) != len(paths) or any(len(each) != len(found.runs) for each in made):
            self._kill()
            raise ScoringDiedError("the process that scores images answered something else")
        return found

    def explain(self, path: Path) -> Shown:
        """Explain the first run's verdict on a file. See `score`."""
        return self._ask(Request("explain", (str(path),)), SHOWN, IMAGE_SECONDS, urgent=True)

    def figure(self, path: Path, name: str) -> bytes:
        """Return the figure that `featx explain` writes of a file of that name. See `score`."""
        request = Request("figure", (str(path),), name=name)
        return self._ask(request, PNG, IMAGE_SECONDS, urgent=True)

    def picture(self, path: Path, side: int) -> bytes:
        """Return a PNG file of an image, `side` pixels at its longer side. See `score`."""
        request = Request("picture", (str(path),), side=side)
        return self._ask(request, PNG, IMAGE_SECONDS, urgent=True)

    def close(self) -> None:
        """End the process."""
        self._closed = True
        self._kill()

    def _ask(
        self,
        request: Request,
        form: TypeAdapter[T | Failed],
        seconds: float,
        *,
        urgent: bool = False,
    ) -> T:
        with self._in_turn(urgent=urgent):
            if self.pid is None:
                self._start()
            if request.kind != "picture" and not self._loaded:
                try:
                    self._exchange(Request("runs"), SCORED, LOADING_SECONDS)
                except ScoringDiedError as error:
                    raise LoadingDiedError(
                        "the process that scores images died while it loaded the run",
                        "See if the machine has enough memory.",
                    ) from error
                self._loaded = True
            return self._exchange(request, form, seconds)

    def _exchange(self, request: Request, form: TypeAdapter[T | Failed], seconds: float) -> T:
        """Send a request and wait for the answer. Kill the process if none of the form comes."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            write(process.stdin, request, REQUEST)
            found = read(process.stdout, form)
        except (OSError, EOFError, ValueError) as error:
            self._kill()
            raise ScoringDiedError("the process that scores images died") from error
        finally:
            timer.cancel()
        if isinstance(found, Failed):
            kind = InputError if found.expected else UnexpectedError
            raise kind(found.what, found.hint)
        return found

    @contextlib.contextmanager
    def _in_turn(self, *, urgent: bool) -> Iterator[None]:
        with self._turn:
            self._urgent += urgent
            self._turn.wait_for(lambda: not self._busy and (urgent or not self._urgent))
            self._urgent -= urgent
            self._busy = True
        try:
            yield
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    def _start(self) -> None:
        if self._closed:
            raise ScoringDiedError("the process that scores images was ended")
        self.starts += 1
        environment = dict(os.environ)
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
            with contextlib.suppress(OSError):  # then Python finds another place
                self.scratch.mkdir()
            environment["TMPDIR"] = str(self.scratch)
        try:
            # stderr has what libraries print, which may quote a file.
            self._process = process = subprocess.Popen(
                [sys.executable, "-c", _MAIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the process that has it
                env=environment,
            )
        except OSError as error:
            raise LoadingDiedError(
                f"the process that scores images can't be started: {error.strerror}"
            ) from error
        self._loaded = False
        if self._closed:  # meanwhile
            self._kill()
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # the first request will meet it
            write(process.stdin, self.settings, SETTINGS)

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
