"""Numbers for Prometheus. No label names an image or a person."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from featx.worklist import ScoringProcess, Worklist

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics(Collector):
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
        registry.register(self)
        self.refused = Counter(
            "featx_images_refused",
            "Files that were not taken, by the way they came and the kind of the reason.",
            ["origin", "reason"],
            registry=registry,
        )
        self._seconds = Histogram(
            "featx_score_seconds",
            "Seconds from the receipt of an image to its score.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.deliveries: Mapping[str, int] = {}

    def text(self) -> bytes:
        """Return the numbers as Prometheus reads them."""
        with self._lock:
            for received, scored in self._worklist.times(self._seen):
                self._seen = max(self._seen, scored)
                if received >= self._started:
                    self._seconds.observe(max(0.0, scored - received))  # if the clock was set back
            return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Name nothing before it is asked for: the database isn't needed for it."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield what the database knows."""
        counts = self._worklist.counts()
        received, by_state = Tally[str](), Tally[str](waiting=0, scored=0, failed=0)
        for (origin, state), number in counts.items():
            received[origin] += number
            by_state[state] += number
        images = CounterMetricFamily(
            "featx_images_received",
            "Images that were taken, by the way they came.",
            None,
            ["origin"],
        )
        for origin, number in sorted(received.items()):
            images.add_metric([origin], number)
        yield images
        # No counters: images that are scored again wait meanwhile.
        for state, text in (
            ("scored", "have a score"),
            ("failed", "can't be scored"),
            ("waiting", "wait for a score"),
        ):
            yield GaugeMetricFamily(
                f"featx_images_{state}", f"Images that {text}.", by_state[state]
            )
        yield GaugeMetricFamily(
            "featx_deliveries_pending",
            "Results that were not delivered yet.",
            self._worklist.count_undelivered(),
        )
        deliveries = CounterMetricFamily(
            "featx_deliveries",
            "Results since the start by what became of them, and failures to send one.",
            None,
            ["outcome"],
        )
        for outcome, number in dict(self.deliveries).items():  # its thread may add one
            deliveries.add_metric([outcome], number)
        yield deliveries
        yield CounterMetricFamily(
            "featx_scoring_restarts",
            "Times that the process that scores was started again.",
            max(0, self._process.starts - 1),
        )
