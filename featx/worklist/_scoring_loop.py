"""The thread that has waiting images scored, and tidies up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from featx.errors import FeatxError
from featx.worklist._items import Item
from featx.worklist._scoring_process import ScoringDiedError, ScoringProcess
from featx.worklist._worklist import Worklist

BATCH_SIZE = 8
_DIED = "the process that scores images died with it, twice"
_TIDY_SECONDS = 60.0
_PAUSE_SECONDS = 5.0


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
    """

    def __init__(
        self,
        worklist: Worklist,
        process: ScoringProcess,
        destinations: Sequence[str] = (),
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.worklist, self.process, self.destinations = worklist, process, tuple(destinations)
        self.notice = ""
        self._report = report
        self._ending = threading.Event()
        self._suspects: set[str] = set()
        self._tidied = 0.0
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Load the runs, and start.

        Raises
        ------
        FeatxError
            If a run or its backbone can't be loaded.
        """
        self._note(self.process.runs().notice)
        self.worklist.use_runs(self.process.runs().runs)
        self._thread.start()

    def stop(self) -> None:
        """End, after the batch at hand if it is quick."""
        self._ending.set()
        self.worklist.notify()
        self.process.close()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._tidy()
                batch = self._next()
                if batch:
                    self._score(batch)
                else:
                    with self.worklist.changed:
                        if not self._ending.is_set() and not self.worklist.count_waiting():
                            self.worklist.changed.wait(_PAUSE_SECONDS)
            except FeatxError as error:
                if self._ending.is_set():
                    return
                self._note(f"{error.what}")
                self._ending.wait(_PAUSE_SECONDS)

    def _next(self) -> list[Item]:
        batch = self.worklist.waiting(BATCH_SIZE)
        # One at a time, it shows which image kills the process.
        alone = [item for item in batch if item.id in self._suspects]
        return alone[:1] or batch

    def _score(self, batch: list[Item]) -> None:
        try:
            found = self.process.score([item.path for item in batch if item.path is not None])
        except ScoringDiedError:
            if self._ending.is_set():
                return
            self._report("the scoring process died; it is started again")
            if len(batch) == 1:
                self.worklist.blame([batch[0].id], _DIED)
            self._suspects |= {item.id for item in batch}
            return
        self._note(found.notice)
        if found.runs != self.worklist.runs:
            self.worklist.use_runs(found.runs)
        self._suspects -= {item.id for item in batch}
        ids = [item.id for item in batch]
        self.worklist.save(zip(ids, found.predictions, strict=True), self.destinations)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied > _TIDY_SECONDS:
            self._tidied = time.monotonic()
            self.worklist.expire()

    def _note(self, notice: str) -> None:
        if notice and notice != self.notice:
            self._report(notice)
        self.notice = notice
