"""Labelled images that were drawn with unequal chances: how many images each stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.errors import InputError
from featx.scoring._labelled_data import Data, ScoringOptions
from featx.scoring._scored import Scored

WEIGHT = "sampling_weight"
"""Column that says how many images of a site an image stands for. `suggest_labels` writes it."""

_MIN_COUNT = 10
"""Least number of times that an image counts, so that rounding changes weights little."""


def keeping_weights(data: Data, options: ScoringOptions) -> ScoringOptions:
    """Keep the sampling weights of a table that has some."""
    keep = options.reading.keep
    if keep is None or not _has_weights(data):
        return options
    return replace(options, reading=replace(options.reading, keep=(*keep, WEIGHT)))


def _has_weights(data: Data) -> bool:
    if isinstance(data, pd.DataFrame):
        return WEIGHT in data.columns
    if not isinstance(data, str | Path) or Path(data).suffix.lower() not in (".csv", ".tsv"):
        return False
    if not Path(data).is_file():
        return False
    with Path(data).open(encoding="utf-8-sig", errors="replace") as file:
        return WEIGHT in file.readline()


def sampling_weights(values: pd.Series[str]) -> NDArray[np.float64]:
    """Read sampling weights.

    Raises
    ------
    InputError
        If one isn't a positive number.
    """
    found = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    wrong = ~(np.isfinite(found) & (found > 0.0))
    if wrong.any():
        raise InputError(
            f"the {WEIGHT} {values.iloc[int(np.argmax(wrong))]!r} isn't a positive number",
            "Keep what featx wrote.",
        )
    return found


def is_weighted(scored: Scored) -> bool:
    """Say whether images have sampling weights that differ."""
    return WEIGHT in scored.table and scored.table[WEIGHT].nunique() > 1


def rows_by_weight(scored: Scored) -> NDArray[np.intp]:
    """Return the rows of labelled images, each as often as its sampling weight says.

    A sample with more images around the threshold would otherwise make the run look worse than it
    is. Copies of an image are the patient's, so that intervals don't become narrower by them.
    """
    rows = np.arange(len(scored.table))
    if not is_weighted(scored):
        return rows
    weight = sampling_weights(scored.table[WEIGHT])
    often = weight * max(np.ceil(_MIN_COUNT / weight.min()), 1.0)
    return np.repeat(rows, often.round().astype(np.intp))
