"""What a head keeps under disturbances, on stored copies, and on conflict images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from featx._html import html_table
from featx.evaluation import Metrics
from featx.heads import HeadSpec
from featx.plots import stress_curves
from featx.populations._conflict_images import ConflictResult
from featx.populations._disturbances import DISTURBANCES
from featx.thresholds import Criterion
from featx_cache._text import plural

UNTOUCHED, ALL_UNTOUCHED, STORED = "untouched", "all untouched", "stored copies"
CONFLICT_OF, CONFLICT_ORDINARY = "conflict images", "same, ordinary folds"
SHOWN = ("roc_auc", "recall", "accuracy", "specificity")
WITH_INTERVAL = SHOWN[:3]


@dataclass(frozen=True, slots=True)
class StressResult:
    """How heads did on held-out patients under one disturbance of one strength.

    Attributes
    ----------
    name
        Name of the disturbance, ``untouched``, ``all untouched`` or ``stored copies``.
    strength
        Strength: 1, 2 or 3. 0 if there is none.
    value
        Value of the strength, as tables write it.
    metrics
        Metrics at the run's own threshold.

    Examples
    --------
    >>> import featx
    >>> from featx.evaluation import evaluate_scores
    >>> scores = featx.Scores.from_arrays([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
    >>> metrics = evaluate_scores(scores, 0.5)
    >>> StressResult("blur", 3, "σ 3", metrics).metrics.accuracy
    0.75
    """

    name: str
    strength: int
    value: str
    metrics: Metrics

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "name": self.name,
            "strength": self.strength,
            "value": self.value,
            **self.metrics.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class StressReport:
    """A run's head on disturbed images of patients that it hasn't seen.

    Attributes
    ----------
    run, created
        Directory of the run, and when it was fitted.
    head
        Head that was trained on each fold.
    threshold, criterion
        Operating point of the run, and the criterion that chose it.
    classes
        Names of the negative and the positive class.
    results
        One result a disturbance and strength, untouched images first. Then those of all untouched
        images and of the cache's stored copies, if it has some.
    conflict
        Result on conflict images. None if there is none.
    left_out
        Path of an image -> reason why it was left out.
    remarks
        Sentences about what couldn't be measured.

    Examples
    --------
    >>> report = run.stress_protocol(images=200)  # doctest: +SKIP
    >>> report.worst.name, report.worst.metrics.roc_auc  # doctest: +SKIP
    ('crop', 0.873)
    >>> report.plot()  # doctest: +SKIP
    """

    run: Path
    created: str
    head: HeadSpec
    threshold: float
    criterion: Criterion
    classes: tuple[str, str]
    results: tuple[StressResult, ...]
    conflict: ConflictResult | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def disturbed(self) -> tuple[StressResult, ...]:
        """Results of disturbed images and of stored copies."""
        return tuple(one for one in self.results if one.name not in (UNTOUCHED, ALL_UNTOUCHED))

    @property
    def worst(self) -> StressResult:
        """Result with the smallest ROC AUC."""
        # NaN, if a class is missing, is no smaller than anything.
        return min(
            self.disturbed or self.results,
            key=lambda one: np.nan_to_num(one.metrics.roc_auc, nan=2.0),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the table."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        yield (
            "Each image is scored by a head that was trained on other patients, at the run's "
            f"threshold {self.threshold:.4g}."
        )
        names = dict.fromkeys(one.name for one in self.results if one.strength)
        if names:
            units = "; ".join(f"{name}, {DISTURBANCES[name].unit}" for name in names)
            yield f"Strengths: {units}."
        if self.disturbed:
            worst, floors = self.worst, self.criterion.floors
            for name, floor in floors.items():
                below = sum(getattr(one.metrics, name) < floor for one in self.disturbed)
                kept = f"below the floor of {floor:g} in {below} of {len(self.disturbed)} rows"
                always = f"at the floor of {floor:g} or above in all rows"
                yield f"{name.capitalize()} is {kept if below else always}."
            yield (
                f"ROC AUC is lowest under {_named(worst)}: {worst.metrics.roc_auc:.4f}, with "
                f"recall {worst.metrics.recall:.4f} and accuracy {worst.metrics.accuracy:.4f}."
            )
        if self.conflict is not None:
            found = self.conflict
            yield (
                f"Conflict images: sharpness alone tells the classes apart with ROC AUC "
                f"{found.shortcut_auc:.2f} ({found.sharper} is sharper), and in these "
                f"{plural(found.metrics.images, 'image')} it points at the other class. A head "
                f"trained on {found.trained:,} images without that conflict has ROC AUC "
                f"{found.metrics.roc_auc:.4f} on them."
            )
        yield from self.remarks
        for reason, images in Counter(self.left_out.values()).items():
            yield f"Left out: {plural(images, 'image')} ({reason})."

    def to_frame(self) -> pd.DataFrame:
        """Return one row a result, with the ends of the 95 % intervals by patients.

        Columns: name, strength (1 to 3, or 0), value, images, patients, roc_auc, recall, accuracy,
        specificity, and roc_auc_low, roc_auc_high and so on.
        """
        return stress_frame(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "run": str(self.run),
            "created": self.created,
            "head": self.head.model_dump(mode="json"),
            "threshold": self.threshold,
            "criterion": self.criterion.model_dump(mode="json"),
            "classes": list(self.classes),
            "results": [result.as_dict() for result in self.results],
            "conflict": None if self.conflict is None else self.conflict.as_dict(),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def plot(self) -> Figure:
        """Draw ROC AUC, recall and accuracy over the strengths. A notebook shows the figure."""
        return stress_curves(self.to_frame(), accuracy_floor=self.criterion.accuracy_floor)

    def __repr__(self) -> str:
        worst, first = self.worst, self.results[0].metrics
        return (
            f"StressReport({self.head.name}: {first.roc_auc:.3f} ROC AUC untouched, "
            f"{worst.metrics.roc_auc:.3f} under {_named(worst)})"
        )

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), self.notes, title=f"{self.head.name} under disturbances")


def _named(result: StressResult) -> str:
    return f"{result.name} {result.value}".strip()


def stress_frame(plain: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of a stress test from its plain types. See `StressReport.to_frame`."""
    results = list(plain["results"])
    if conflict := plain.get("conflict"):
        results.append({"name": CONFLICT_OF, "strength": 0, "value": "", **conflict})
        same = {"name": CONFLICT_ORDINARY, "strength": 0, "value": ""}
        results.append(same | conflict["ordinary"])
    return pd.DataFrame(list(map(_row, results)))


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    def number(value: float | None) -> float:
        return float("nan") if value is None else float(value)

    row: dict[str, Any] = {
        "name": str(result["name"]),
        "strength": int(result["strength"]),
        "value": str(result["value"]),
    }
    row |= {name: int(result[name]) for name in ("images", "patients")}
    row |= {name: number(result[name]) for name in SHOWN}
    for name in WITH_INTERVAL:
        interval = result["intervals"].get(name) or {}
        row |= {f"{name}_{end}": number(interval.get(end)) for end in ("low", "high")}
    return row
