"""The thread that has waiting images scored, and tidies up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from featx.errors import FeatxError
from featx.runs import FittedRun
from featx.worklist._items import Item
from featx.worklist._messages import ScoredFiles
from featx.worklist._run_facts import facts_of
from featx.worklist._scoring_process import (
    LoadingDiedError,
    ScoringDiedError,
    ScoringProcess,
    UnexpectedError,
)
from featx.worklist._worklist import Worklist

BATCH_SIZE = 8
DIED = "the process that scores images died with it, twice"
TIDY_SECONDS = 60.0
IDLE_SECONDS = 5.0
"""Time between two looks whether a run was replaced, if no images come."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Pauses after failures that no image is to blame for: each is twice as long as the one before."""


class ScoringLoop:
    """Has waiting images scored in a thread, those first that came first.

    Parameters
    ----------
    worklist
        Images, and where their scores go.
    process
        What scores them.
    destinations
        Places that results of DICOM images are delivered to.
    report
        Function that is told in a line what goes wrong.

    Attributes
    ----------
    notice : str
        What keeps images from being scored at the moment, or a run from being used. Empty if
        nothing does.
    failure : FeatxError or None
        Reason why the runs can't be used at all. Then the thread has ended.

    Examples
    --------
    >>> loop = ScoringLoop(worklist, ScoringProcess(settings))  # doctest: +SKIP
    >>> loop.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        worklist: Worklist,
        process: ScoringProcess,
        destinations: Sequence[str] = (),
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.worklist, self.process, self.destinations = worklist, process, tuple(destinations)
        worklist.destinations = self.destinations
        self.notice = ""
        self.failure: FeatxError | None = None
        self._report = report
        self._ending = threading.Event()
        self._suspects: set[str] = set()
        self._tidied = -TIDY_SECONDS
        self._pause = FIRST_PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Read the records of the runs, and start. The thread loads the networks.

        Raises
        ------
        InputError
            If a run isn't one, or is there twice.
        """
        settings = self.process.settings
        runs = [FittedRun(path, runtime=settings.runtime) for path in settings.paths]
        self.worklist.use_runs(facts_of(runs))
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for the batch at hand: it is scored after the next start."""
        self._ending.set()
        self.worklist.notify()
        self.process.close()
        self._thread.join(10.0)

    def _run(self) -> None:
        loaded = False
        while not self._ending.is_set():
            self._tidy()
            try:
                if not loaded:
                    self._use(self.process.runs())
                    loaded = True
                self._step()
                self._pause = FIRST_PAUSE_SECONDS
            except FeatxError as error:
                if self._ending.is_set():
                    return
                if not loaded and not isinstance(error, ScoringDiedError):
                    self.failure = error
                    return
                self._wait_longer(error.what)
            except Exception as error:  # noqa: BLE001 - the thread must not end without a word
                self._wait_longer(f"scoring failed: an unexpected {type(error).__name__}")

    def _wait_longer(self, what: str) -> None:
        self._note(f"{what}. Images wait.")
        self._ending.wait(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def _tidy(self) -> None:
        """Remove what isn't kept any more, also if nothing can be scored."""
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            self._tidied = time.monotonic()
            try:
                self.worklist.expire()
            except (FeatxError, OSError) as error:
                why = error.what if isinstance(error, FeatxError) else type(error).__name__
                self._report(f"images can't be removed: {why}")

    def _step(self) -> None:
        """Score a batch. If no image waits, wait for one, and see if a run was replaced."""
        if batch := self._next():
            self._score(batch)
            return
        with self.worklist.changed:
            if not self._ending.is_set() and not self.worklist.count_waiting():
                self.worklist.changed.wait(IDLE_SECONDS)
        if not self._ending.is_set() and not self.worklist.count_waiting():
            self._use(self.process.runs())

    def _next(self) -> list[Item]:
        batch = self.worklist.waiting(BATCH_SIZE)
        # One at a time, it shows which image kills the process.
        alone = [item for item in batch if item.id in self._suspects]
        return alone[:1] or batch

    def _score(self, batch: list[Item]) -> None:
        ids = [item.id for item in batch]
        try:
            found = self.process.score([item.path for item in batch if item.path is not None])
        except LoadingDiedError:
            raise
        except ScoringDiedError:
            if not self._ending.is_set():
                self._report("the scoring process died; it is started again")
                self._suspect(ids, DIED)
            return
        except UnexpectedError as error:
            self._report(error.what)
            self._suspect(ids, error.what)
            return
        if any(made.score is None for each in found.predictions for made in each):
            self.worklist.require_images()  # that they can't be read may have to do with the disk
        self._use(found)
        self._suspects.difference_update(ids)
        self.worklist.save(zip(ids, found.predictions, strict=True), self.destinations)

    def _suspect(self, ids: Sequence[str], reason: str) -> None:
        """Blame an image that was alone. Of several, nobody knows which it was."""
        if len(ids) == 1:
            self.worklist.blame(ids[0], reason)
        self._suspects.update(ids)

    def _use(self, found: ScoredFiles) -> None:
        self._note(found.notice)
        if found.runs != self.worklist.runs:
            self.worklist.use_runs(found.runs)

    def _note(self, notice: str) -> None:
        """Say once what is wrong, and show it as long as it is."""
        if notice != self.notice:
            self.notice = notice
            if notice:
                self._report(notice)
            self.worklist.notify()
