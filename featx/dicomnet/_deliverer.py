"""The thread that brings results to their destinations, and doesn't give up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.dicomnet._capture import make_capture
from featx.dicomnet._destinations import (
    DeliveryError,
    Destination,
    UnreachableError,
    parse_destination,
)
from featx.dicomnet._libraries import require_libraries
from featx.dicomnet._report import make_report
from featx.dicomnet._source import NoReportError, Source, read_source
from featx.errors import FeatxError
from featx.worklist import Delivery, Result, ScoringDiedError, ScoringProcess, Worklist
from featx.worklist._scores import MAX_TRIES
from featx.worklist._scoring_process import LoadingDiedError

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds until a result is tried again. They double from the first to the longest."""

_FOREIGN_PAUSE = 3600.0
_IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Outage:
    """Place that can't be reached: until when it isn't asked, after how many tries, and why."""

    until: float
    tries: int
    why: str


class Deliverer:
    """Brings the results of DICOM images to their destinations, in a thread.

    What is to be delivered is in the worklist's database, so that a crash loses nothing. A result
    is an object with a UID of its own, which follows from the image and the run: if it is sent
    twice, it is the same object.

    Parameters
    ----------
    worklist
        Images, predictions, and what is to be delivered.
    process
        What makes heat maps. None makes none.
    destinations
        Folders, nodes (``dicom://AE_TITLE@HOST:PORT``) and addresses of DICOMweb services.
    ae_title
        Name of this node.
    report
        Function that is told in a line what goes wrong. The lines name nobody.

    Raises
    ------
    InputError
        If a destination isn't one, or highdicom isn't installed.

    Examples
    --------
    >>> deliverer = Deliverer(worklist, None, ["results"])  # doctest: +SKIP
    >>> deliverer.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        worklist: Worklist,
        process: ScoringProcess | None,
        destinations: Sequence[str],
        ae_title: str = "FEATX",
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        require_libraries()
        self.worklist, self.process = worklist, process
        self.destinations: dict[str, Destination] = {
            text: parse_destination(text, ae_title) for text in destinations
        }
        self.counts: Counter[str] = Counter()
        """Results by what became of them: ``delivered``, ``given_up``, and ``failures`` to send."""

        self._report = report
        self._down: dict[str, _Outage] = {}
        self._foreign: set[str] = set()
        self._deaths: Counter[str] = Counter()
        """Times that the heat map of an image stopped the process that makes it."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the result at hand if that is quick."""
        self._ending.set()
        self.worklist.notify()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                due = self.worklist.due_deliveries()
                for delivery in due:
                    if self._ending.is_set():
                        return
                    self._deliver(delivery)
            except Exception as error:  # noqa: BLE001 - the thread has to go on
                if not self._ending.is_set():  # which closes the database
                    self._report(f"results aren't delivered: {_reason(error)}")
                self._ending.wait(_IDLE_SECONDS)
            else:
                if not due:
                    with self.worklist.changed:
                        if not self._ending.is_set():
                            self.worklist.changed.wait(_IDLE_SECONDS)

    def _deliver(self, delivery: Delivery) -> None:
        place = delivery.destination
        result = self.worklist.result(delivery.image, delivery.run)
        if result is None:
            self._give_up(delivery, "there is no prediction")
            return
        if result.item.path is None:
            self._give_up(delivery, "the image isn't kept any more")
            return
        destination = self.destinations.get(place)
        if destination is None:
            why = "it isn't among `results` now"
            self.worklist.delivered(delivery, why, retry_in=_FOREIGN_PAUSE)
            if place not in self._foreign:
                self._foreign.add(place)
                self._report(f"results for {place} wait: {why}")
            return
        # A place that was down a moment ago isn't asked again for each result.
        outage = self._down.get(place)
        if outage is not None and (left := outage.until - time.monotonic()) > 0:
            self.worklist.delivered(delivery, outage.why, retry_in=left)
            return
        try:
            objects = self._objects(result, result.item.path)
        except NoReportError as error:
            self._give_up(delivery, error.what)
            return
        except ScoringDiedError as error:
            self._postpone(delivery, error.what, _pause(delivery.tries))
            return
        except FeatxError:
            raise
        except Exception as error:  # noqa: BLE001 - the other results have to go on
            self._postpone(delivery, _reason(error), LONGEST_PAUSE)
            return
        try:
            destination.send(objects, f"{result.item.id}-{result.run.id[:8]}")
        except UnreachableError as error:
            tries = 0 if outage is None else outage.tries + 1
            pause = _pause(tries)
            self._down[place] = _Outage(time.monotonic() + pause, tries, error.what)
            self._postpone(delivery, error.what, pause)
        except DeliveryError as error:
            self._postpone(delivery, error.what, _pause(delivery.tries))
        except FeatxError:
            raise
        except Exception as error:  # noqa: BLE001 - the other results have to go on
            self._postpone(delivery, _reason(error), LONGEST_PAUSE)
        else:
            self._down.pop(place, None)
            self.worklist.delivered(delivery)
            self.counts["delivered"] += 1

    def _objects(self, result: Result, path: Path) -> list[Any]:
        source = read_source(path)
        capture = self._capture(result, path, source)
        return [make_report(result, source), *capture]

    def _capture(self, result: Result, path: Path, source: Source) -> list[Any]:
        """Make the heat map's object. Only the first of the current runs explains itself."""
        first = [run.id for run in self.worklist.runs[:1]]
        if self.process is None or result.run.id not in first:
            return []
        try:
            figure = self.process.figure(path, f"image {result.item.code}")
        except FeatxError as error:
            if isinstance(error, ScoringDiedError):
                self._deaths[result.item.id] += not isinstance(error, LoadingDiedError)
                if self._deaths[result.item.id] < MAX_TRIES:
                    raise
            self._report(f"the result of image {result.item.code} has no heat map: {error.what}")
            return []
        return [make_capture(result, source, figure)]

    def _postpone(self, delivery: Delivery, why: str, pause: float) -> None:
        self.counts["failures"] += 1
        self.worklist.delivered(delivery, why, retry_in=pause)
        self._report(
            f"the result of image {delivery.image[:8]} didn't reach {delivery.destination}: {why}. "
            f"It is tried again in {pause:,.0f} s"
        )

    def _give_up(self, delivery: Delivery, why: str) -> None:
        self.worklist.delivered(delivery, why)
        self._report(
            f"the result of image {delivery.image[:8]} isn't delivered to "
            f"{delivery.destination}: {why}"
        )
        self.counts["given_up"] += 1


def _pause(tries: int) -> float:
    return float(min(FIRST_PAUSE * 2 ** min(tries, 20), LONGEST_PAUSE))


def _reason(error: Exception) -> str:
    if isinstance(error, FeatxError):
        return error.what
    return f"{type(error).__name__}, which is a bug of featx"
