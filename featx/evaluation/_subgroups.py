"""Metrics of parts of the images: by cause, size, colour mode, or any other column."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._scores import Scores
from featx._specs import require_known
from featx.errors import InputError
from featx.evaluation._metrics import Metrics, evaluate_scores

SIZE = "size"
"""Not a column: the band that an image's shorter side is in."""

SIZE_BANDS = (256, 512, 1024, 2048)
"""Pixels. Absolute, so that the bands of two hospitals are the same."""

QUARTERS_FROM = 9
"""A column of numbers with so many different ones is divided at its quartiles."""

MOST_SUBGROUPS = 40
FEW_PATIENTS = 10
"""Of a class; with fewer, one patient moves recall or specificity by more than 0.1."""

NO_VALUE = "(empty)"
_NOT_FOR_GROUPS = ("path", "sha256", "label", "group", "score", "copy")


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A part of the images.

    Attributes
    ----------
    name
        The column's value, or a range of it.
    positives, negatives
        Images of each class.
    metrics
        See `Metrics`; those that need a missing class are NaN.
    note
        Why these numbers say little; empty where they don't.
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


@dataclass(frozen=True, slots=True)
class Subgroups:
    """All parts by one column.

    Attributes
    ----------
    column
        What it was divided by.
    parts
        Smallest first.
    shared
        The class whose images have no value in that column, and are in every part; empty where
        there is no such class.
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


def divisible_by(table: pd.DataFrame) -> list[str]:
    """Return what images can be divided by: columns of the table, and ``size``."""
    names = [name for name in table.columns if name not in _NOT_FOR_GROUPS]
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

    Where all images of one class have no value, as healthy people have no cause of pneumonia, they
    belong to every part: each cause is told from all of the healthy.

    Parameters
    ----------
    scores
        Scores of labelled images.
    threshold
        The operating point.
    table
        One row an image, in the order of the scores, with what `column` needs.
    column
        One of `divisible_by`. Numbers with many values are divided at their quartiles.
    seed, prevalence
        See `evaluate_scores`.

    Raises
    ------
    InputError
        When there is no such column, no image has a value in it, or it has too many values.
    """
    require_known("column", column, divisible_by(table))
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
    if len(names) > MOST_SUBGROUPS:
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
    if few := [f"{count} with {name}" for name, count in counts.items() if count < FEW_PATIENTS]:
        return f"too few patients: {', '.join(few)}"
    return ""


def _values(table: pd.DataFrame, column: str) -> NDArray[np.object_]:
    """Return the name of each image's part; empty where it has no value."""
    if column == SIZE:
        side = table[["width", "height"]].min(axis=1).to_numpy(np.float64)
        return _bands(side, SIZE_BANDS)
    raw = table[column]
    text = raw.where(raw.notna(), "").map(str).str.strip().to_numpy(object)
    filled = text != ""
    numbers = pd.to_numeric(pd.Series(text[filled]), errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all() or len(np.unique(numbers)) < QUARTERS_FROM:
        return text
    named = text.copy()
    named[filled] = _quarters(numbers)
    return named


def _bands(values: NDArray[np.float64], edges: tuple[int, ...]) -> NDArray[np.object_]:
    """Name the band of each value, in pixels."""
    names = [f"below {edges[0]} px"]
    names += [f"{low}–{high - 1} px" for low, high in itertools.pairwise(edges)]
    names.append(f"{edges[-1]} px and up")
    return np.array(names, object)[np.searchsorted(edges, values, side="right")]


def _quarters(values: NDArray[np.float64]) -> NDArray[np.object_]:
    """Name the quarter of each value by the least and the greatest in it."""
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, values, side="left")
    named = np.empty(len(values), object)
    for number in np.unique(place):
        inside = values[place == number]
        named[place == number] = f"{inside.min():g} to {inside.max():g}"
    return named
