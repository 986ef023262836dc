"""Metrics of parts of the images: by cause, size, colour mode, or any other column."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._html import html_table
from featx._scores import Scores
from featx._specs import require_known
from featx.errors import InputError
from featx.evaluation._metrics import METRIC_NAMES, Metrics, evaluate_scores
from featx_cache._text import printable

SIZE = "size"
"""Name of the division by the length of the shorter side, which is no column."""

SIZE_EDGES = (256, 512, 1024, 2048)
"""Edges of sizes in pixels. They are fixed, so that sizes of two hospitals are the same."""

MIN_VALUES_FOR_QUARTILES = 9
"""Number of different numbers from which on a column is divided at its quartiles."""

MAX_SUBGROUPS = 40
MIN_PATIENTS = 10
"""Patients of each class. With fewer, one patient moves recall or specificity by more than 0.1."""

SHOWN_METRICS = ("recall", "specificity", "accuracy", "roc_auc")
"""Metrics in the table of subgroups."""

NO_VALUE = "(empty)"
_UNGROUPED_COLUMNS = ("path", "sha256", "label", "group", "score", "copy")


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A part of the images and its metrics.

    Attributes
    ----------
    name
        Value of the column, or a range of values.
    positives, negatives
        Numbers of images of each class.
    metrics
        Metrics of the part. Those that need a missing class are NaN.
    note
        Reason why these numbers say little. It is empty if there is none.

    Examples
    --------
    >>> metrics = evaluate_scores(Scores.from_arrays([0, 1], [0.2, 0.9]), 0.5)
    >>> Subgroup("virus", 1, 1, metrics).as_dict()["recall"]
    1.0
    """

    name: str
    positives: int
    negatives: int
    metrics: Metrics
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "name": self.name,
            "positives": self.positives,
            "negatives": self.negatives,
            "note": self.note,
            **self.metrics.as_dict(),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Subgroups:
    """All parts by one column.

    Attributes
    ----------
    column
        Column that the images were divided by.
    parts
        The parts, smallest first.
    shared
        Class whose images have no value in that column, and are in every part. It is empty if there
        is no such class.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1, 1], [0.2, 0.9, 0.6, 0.7, 0.8])
    >>> table = pd.DataFrame({"ward": ["A", "A", "B", "B", "B"]})
    >>> wards = evaluate_subgroups(scores, 0.5, table, "ward")
    >>> wards
    Subgroups(2 by ward: A, B)
    >>> wards.to_frame()[["ward", "images", "recall", "specificity"]]
      ward  images  recall  specificity
    0    A       2     1.0          1.0
    1    B       3     1.0          0.0
    """

    column: str
    parts: tuple[Subgroup, ...]
    shared: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "column": self.column,
            "shared": self.shared,
            "parts": [part.as_dict() for part in self.parts],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row a part: its name, counts, metrics with their 95 % intervals, and note."""
        rows = []
        for part in self.parts:
            found = part.metrics
            row: dict[str, Any] = {
                self.column: part.name,
                "images": found.images,
                "patients": found.patients,
                "positives": part.positives,
            }
            for name in SHOWN_METRICS:
                interval = found.intervals.get(name)
                row[name] = getattr(found, name)
                row[f"{name}_low"] = interval.low if interval else np.nan
                row[f"{name}_high"] = interval.high if interval else np.nan
            rows.append(row | {"note": part.note})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        names = ", ".join(part.name for part in self.parts)
        return printable(f"Subgroups({len(self.parts)} by {self.column}: {names})")

    def _repr_html_(self) -> str:
        table = self.to_frame()[[self.column, "images", "patients", *SHOWN_METRICS, "note"]]
        notes = [f"Each part has all {self.shared}."] if self.shared else []
        return html_table(table.rename(columns=METRIC_NAMES), notes)


def subgroup_columns(table: pd.DataFrame) -> list[str]:
    """Return what images can be divided by: columns of the table, and ``size``.

    Examples
    --------
    >>> subgroup_columns(pd.DataFrame(columns=["path", "label", "cause", "width", "height"]))
    ['cause', 'width', 'height', 'size']
    """
    names = [name for name in table.columns if name not in _UNGROUPED_COLUMNS]
    return [*names, SIZE] if {"width", "height"} <= set(names) else names


def evaluate_subgroups(
    scores: Scores,
    threshold: float,
    table: pd.DataFrame,
    column: str,
    *,
    seed: int = 0,
    prevalence: float | None = None,
) -> Subgroups:
    """Measure each part of the images.

    If all images of one class have no value, as healthy people have no cause of pneumonia, they
    belong to every part. So each cause is told from all of the healthy.

    Parameters
    ----------
    scores
        Scores of labelled images.
    threshold
        The operating point.
    table
        One row an image, in the order of the scores, with what `column` needs.
    column
        Column to divide by, one of `subgroup_columns`. Numbers with many values are divided at
        their quartiles.
    seed, prevalence
        See `evaluate_scores`.

    Raises
    ------
    InputError
        If there is no such column, no image has a value in it, or it has too many values.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 1], [0.2, 0.9, 0.4], classes=("NORMAL", "PNEUMONIA"))
    >>> table = pd.DataFrame({"cause": ["", "virus", "bacteria"]})
    >>> evaluate_subgroups(scores, 0.5, table, "cause").shared
    'NORMAL'
    """
    require_known("column", column, subgroup_columns(table))
    values = _values(table, column)
    truth, classes = scores.positive, scores.classes
    empty = values == ""
    if empty.all():
        raise InputError(f"no image has a value in the column {column!r}", "Choose another `by`.")
    # With one class alone there is nobody to be told from.
    everywhere, shared = np.zeros(len(scores), bool), ""
    if truth.any() and not truth.all():
        for positive, name in ((True, classes[1]), (False, classes[0])):
            if empty[truth == positive].all():
                everywhere, shared = truth == positive, name
    names = sorted(set(values[~everywhere]))
    if len(names) > MAX_SUBGROUPS:
        raise InputError(
            f"the column {column!r} has {len(names)} values, and a subgroup needs many images",
            "Choose another `by`.",
        )
    parts = [
        _measure(
            scores[(values == name) | everywhere], name or NO_VALUE, threshold,
            seed=seed, prevalence=prevalence,
        )
        for name in names
    ]  # fmt: skip
    parts.sort(key=lambda part: (part.metrics.images, part.name))
    return Subgroups(column, tuple(parts), shared)


def _measure(
    scores: Scores, name: str, threshold: float, *, seed: int, prevalence: float | None
) -> Subgroup:
    metrics = evaluate_scores(scores, threshold, seed=seed, prevalence=prevalence)
    positives = int(scores.positive.sum())
    return Subgroup(name, positives, len(scores) - positives, metrics, _note(scores))


def _note(scores: Scores) -> str:
    """Say which class is missing, or has too few patients."""
    (negative, positive), truth = scores.classes, scores.positive
    patients = {positive: scores.patient[truth], negative: scores.patient[~truth]}
    counts = {name: len(set(members)) for name, members in patients.items()}
    if missing := [name for name, count in counts.items() if not count]:
        return f"no {missing[0]}"
    if few := [f"{count} with {name}" for name, count in counts.items() if count < MIN_PATIENTS]:
        return f"too few patients: {', '.join(few)}"
    return ""


def _values(table: pd.DataFrame, column: str) -> NDArray[np.object_]:
    """Return the name of each image's part, which is empty if it has no value."""
    if column == SIZE:
        side = table[["width", "height"]].min(axis=1).to_numpy(np.float64)
        return _size_ranges(side, SIZE_EDGES)
    raw = table[column]
    text = raw.where(raw.notna(), "").map(str).str.strip().to_numpy(object)
    filled = text != ""
    numbers = pd.to_numeric(pd.Series(text[filled]), errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all() or len(np.unique(numbers)) < MIN_VALUES_FOR_QUARTILES:
        return text
    named = text.copy()
    named[filled] = _quartile_ranges(numbers)
    return named


def _size_ranges(values: NDArray[np.float64], edges: tuple[int, ...]) -> NDArray[np.object_]:
    """Name the range of each length, in pixels."""
    names = [f"below {edges[0]} px"]
    names += [f"{low}–{high - 1} px" for low, high in itertools.pairwise(edges)]
    names.append(f"{edges[-1]} px and up")
    return np.array(names, object)[np.searchsorted(edges, values, side="right")]


def _quartile_ranges(values: NDArray[np.float64]) -> NDArray[np.object_]:
    """Name the quartile of each value by the least and the greatest in it."""
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    quartile = np.searchsorted(edges, values, side="left")
    named = np.empty(len(values), object)
    for number in np.unique(quartile):
        inside = values[quartile == number]
        named[quartile == number] = f"{inside.min():g} to {inside.max():g}"
    return named
