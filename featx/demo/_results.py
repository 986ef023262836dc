"""What the demo finds: counts of each head at home, under stress, and next door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._run import Run
from featx.scoring import Evaluation

OUT_OF_FOLD, TEST, STRESS = "out of fold", "test split", "disturbed images"
NEXT_DOOR, CALIBRATED = "next door", "next door, calibrated"
ACCURACY_FLOOR = 0.9
"""Accuracy floor that a head is to keep everywhere."""


@dataclass(frozen=True, slots=True)
class DemoCounts:
    """How many of some images a head called rightly.

    Attributes
    ----------
    where
        Images that were called.
    confusion
        Numbers of images under ``tn``, ``fp``, ``fn``, ``tp``.
    roc_auc
        Area under the ROC curve. NaN if it isn't known.

    Examples
    --------
    >>> counts = DemoCounts("test split", {"tn": 71, "fp": 9, "fn": 2, "tp": 71}, 0.98)
    >>> counts.in_words
    'found 71 of 73 sick, called 9 of 80 healthy back'
    >>> round(counts.accuracy, 3)
    0.928
    """

    where: str
    confusion: Mapping[str, int]
    roc_auc: float

    @property
    def accuracy(self) -> float:
        """Share of the images that were called rightly."""
        counts = self.confusion
        return (counts["tp"] + counts["tn"]) / sum(counts.values())

    @property
    def in_words(self) -> str:
        """Numbers of the sick who were found, and of the healthy who were called back."""
        tn, fp, fn, tp = (self.confusion[name] for name in ("tn", "fp", "fn", "tp"))
        return f"found {tp:,} of {fn + tp:,} sick, called {fp:,} of {fp + tn:,} healthy back"


@dataclass(frozen=True, slots=True)
class DemoHead:
    """One head of the demo.

    Attributes
    ----------
    run
        Run that was fitted at home.
    test
        Evaluation on the test split at home.
    next_door
        Evaluation on films of the next hospital.
    calibrated_run
        Run with the threshold that was chosen on labelled films of the next hospital.
    calibrated
        Evaluation of it on the same other films as `next_door`.
    stress
        Result of the stress test, as `featx.populations.StressReport.as_dict` returns it. None
        without a stress test.

    Examples
    --------
    >>> head = run_demo("demo-output").heads[0]  # doctest: +SKIP
    >>> [counts.where for counts in head.counts]  # doctest: +SKIP
    """

    run: Run
    test: Evaluation
    next_door: Evaluation
    calibrated_run: Run
    calibrated: Evaluation
    stress: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """Name of the head."""
        return str(self.run.record.head.name)

    @property
    def floor(self) -> float:
        """Accuracy floor that the head is to keep: 0.9, or the one that it could be chosen at."""
        return min(ACCURACY_FLOOR, float(self.run.record.accuracy_floor))

    @property
    def counts(self) -> tuple[DemoCounts, ...]:
        """Counts in all places, in the order of the demo."""
        return tuple(self._counts())

    def _counts(self) -> Iterator[DemoCounts]:
        known = self.run.record.metrics["out_of_fold"]
        yield DemoCounts(OUT_OF_FOLD, known["confusion"], known["roc_auc"])
        yield _counts_of(TEST, self.test)
        if self.disturbed:
            names = ("tn", "fp", "fn", "tp")
            total = {n: sum(one["confusion"][n] for one in self.disturbed) for n in names}
            yield DemoCounts(STRESS, total, float("nan"))
        yield _counts_of(NEXT_DOOR, self.next_door)
        yield _counts_of(CALIBRATED, self.calibrated)

    @property
    def disturbed(self) -> list[Mapping[str, Any]]:
        """Results of the stress test, one a disturbance and strength."""
        results = self.stress["results"] if self.stress else []
        return [one for one in results if one["strength"]]

    @property
    def worst(self) -> str:
        """Disturbance with the lowest accuracy, and how it is then. Empty without a stress test."""
        if not self.disturbed:
            return ""
        worst = min(self.disturbed, key=lambda one: float(one["accuracy"]))
        return f"{worst['name']} {worst['value']}, accuracy {worst['accuracy']:.3f}"


def _counts_of(where: str, evaluation: Evaluation) -> DemoCounts:
    metrics = evaluation.metrics
    return DemoCounts(where, metrics.confusion, metrics.roc_auc)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Results of the demo.

    Attributes
    ----------
    backbone
        Network that made the embeddings.
    heads
        Results of each head.
    data, cache, report
        Places of the images, of the embeddings and of the report.

    Examples
    --------
    >>> result = run_demo("demo-output")  # doctest: +SKIP
    >>> result.heads[0].test.metrics.recall  # doctest: +SKIP
    """

    backbone: str
    heads: tuple[DemoHead, ...]
    data: Path
    cache: Path
    report: Path
