"""Seams of a data set: divisions whose sides differ as two hospitals might."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._specs import require_known
from featx.data._patients import cause_of
from featx.errors import InputError

MAX_VALUES = 12
MIN_PATIENTS = 5
"""Patients of each class on each side."""

KAGGLE_SEAMS = ("cause", "series")
_SERIES = re.compile(r"^(NORMAL2-IM|IM)-\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seam:
    """A division of images into a training and a test side. No patient is on both.

    Attributes
    ----------
    name
        Column and values, such as ``cause: bacteria -> virus``.
    train, test : ndarray of shape (images,), dtype bool
        The two sides. Images may be on neither.
    """

    name: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def find_seams(
    table: pd.DataFrame,
    positive: str,
    columns: Sequence[str] = (),
    *,
    seed: int = 0,
) -> list[Seam]:
    """Divide images along columns of a manifest.

    If a column has two values, each side is trained on once. If it has more, each value is left out
    once. Numbers are divided at their median. If a column is filled in one class only, as the cause
    of pneumonia is, patients of the other class are put on both sides at random.

    Parameters
    ----------
    table
        One row an image: path, label, group, and other columns.
    positive
        The positive class.
    columns
        Columns to divide by. By default, those that the names of the Kaggle chest X-ray set give:
        ``cause`` (bacteria, virus) and ``series`` (normal images called ``IM-`` and
        ``NORMAL2-IM-``).
    seed
        Seed of the sides of patients.
    """
    known = with_kaggle_columns(table)
    wanted = list(columns) or [name for name in KAGGLE_SEAMS if name in known]
    if not wanted:
        raise InputError(
            "these images have no seam that featx knows by itself",
            "Name a column of the manifest with `seam`, such as the hospital or the device.",
            parameter="seam",
        )
    seams: list[Seam] = []
    for column in wanted:
        there = [c for c in known.columns if c not in _KNOWN_COLUMNS]
        hint = f"There are {', '.join(there)}. Extract with `keep` to add one of a CSV file."
        require_known("column", column, there, hint)
        found = list(_along(known, positive, column, seed))
        if not found:
            raise InputError(
                f"the column {column!r} doesn't divide these images into two sides with "
                f"{MIN_PATIENTS} patients of each class",
                "Name another column with `seam`.",
                parameter="seam",
            )
        seams += found
    return seams


_KNOWN_COLUMNS = ("path", "sha256", "label", "group", "copy")


def with_kaggle_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``cause`` and ``series`` if the names of images tell them."""
    names = [PurePosixPath(path).name for path in table["path"]]
    series = [match[1].upper() if (match := _SERIES.match(name)) else "" for name in names]
    added = {"cause": [cause_of(path) for path in table["path"]], "series": series}
    return table.assign(
        **{name: v for name, v in added.items() if name not in table and len(set(v) - {""}) > 1}
    )


def _along(table: pd.DataFrame, positive: str, column: str, seed: int) -> Iterator[Seam]:
    """Yield the seams of one column that leave enough patients everywhere."""
    values = _values(table[column])
    truth = (table["label"] == positive).to_numpy()
    groups = table["group"].to_numpy(object)
    filled = values != ""
    one_class = next((c for c in (False, True) if not filled[truth == c].any()), None)
    half = _halves(groups, seed)
    names = sorted(set(values[filled]))
    if not 2 <= len(names) <= MAX_VALUES:
        return
    for name in names:
        test = values == name
        train = filled & ~test
        if one_class is not None:
            other = truth == one_class
            # Both directions of a pair get the same two halves, with the sides exchanged.
            first = half if names.index(name) % 2 else ~half
            train, test = train | (other & first), test | (other & ~first)
        train &= ~np.isin(groups, groups[test])
        if all(
            len(set(groups[side & (truth == sick)])) >= MIN_PATIENTS
            for side in (train, test)
            for sick in (False, True)
        ):
            rest = names[1 - names.index(name)] if len(names) == 2 else "the others"
            yield Seam(f"{column}: {rest} -> {name}", train, test)


def _values(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Return a column as text, which is empty for missing values, and numbers as low and high."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > MAX_VALUES:
        return np.where(numbers > numbers.median(), "high", "low").astype(object)
    return column.fillna("").map(str).to_numpy(object)


def _halves(groups: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """Put patients on two sides at random."""
    patients, number = np.unique(groups.astype(str), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(patients))
    return np.asarray(order[number] % 2 == 0)
