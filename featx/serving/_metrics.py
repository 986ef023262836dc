"""Numbers for Prometheus. No label names an image or a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from featx.worklist import ScoringProcess, Worklist

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """Counts of a worklist and its scores. What the database knows is read when somebody asks.

    Parameters
    ----------
    worklist
        The worklist.
    process
        What scores its images.
    """

    def __init__(self, worklist: Worklist, process: ScoringProcess) -> None:
        self._worklist, self._process, self._lock = worklist, process, threading.Lock()
        self._started = self._seen = time.time()
        self._registry = registry = CollectorRegistry()
        self.refused = Counter(
            "featx_images_refused",
            "Files that were not taken, by the way they came and the kind of the reason.",
            ["origin", "reason"],
            registry=registry,
        )
        self._images = Gauge(
            "featx_images",
            "Images of the worklist, by the way they came and their state.",
            ["origin", "state"],
            registry=registry,
        )
        self._waiting = Gauge(
            "featx_images_waiting", "Images that wait for a score.", registry=registry
        )
        self._seconds = Histogram(
            "featx_score_seconds",
            "Seconds from the receipt of an image to its score.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._restarts = Gauge(
            "featx_scoring_restarts",
            "Times that the process that scores was started again.",
            registry=registry,
        )
        self._undelivered = Gauge(
            "featx_deliveries_pending", "Results that were not delivered yet.", registry=registry
        )
        self.deliveries: Mapping[str, int] = {}
        self._deliveries = Gauge(
            "featx_deliveries",
            "Results since the start by what became of them, and failures to send one.",
            ["outcome"],
            registry=registry,
        )

    def text(self) -> bytes:
        """Return the numbers as Prometheus reads them."""
        worklist = self._worklist
        with self._lock:
            self._images.clear()
            for (origin, state), number in worklist.counts().items():
                self._images.labels(origin, state).set(number)
            self._waiting.set(worklist.count_waiting())
            for outcome, number in self.deliveries.items():
                self._deliveries.labels(outcome).set(number)
            self._undelivered.set(worklist.count_undelivered())
            self._restarts.set(max(0, self._process.starts - 1))
            for received, scored in worklist.times(self._seen):
                self._seen = max(self._seen, scored)
                if received >= self._started:
                    self._seconds.observe(scored - received)
            return generate_latest(self._registry)
