"""Scores of labelled images: what thresholds are chosen on and metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of labelled images, with the patients that they are of.

    Attributes
    ----------
    positive : ndarray of shape (images,), dtype bool
        Labels: True for the positive class.
    score : ndarray of shape (images,), dtype float64
        Scores of the positive class, 0..1.
    patient : ndarray of shape (images,), dtype object
        Patient of each image.
    classes
        Names of the negative and the positive class.
    origin
        Where the scores come from, such as ``out of fold`` or the name of a split.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame(
    ...     {"label": ["NORMAL", "PNEUMONIA"], "score": [0.1, 0.9], "group": ["a", "b"]}
    ... )
    >>> scores = Scores.from_table(table, ("NORMAL", "PNEUMONIA"), "test")
    >>> scores.positive.tolist(), len(scores)
    ([False, True], 2)
    >>> scores
    Scores(2 images of 2 patients, 1 PNEUMONIA, test)
    """

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    patient: NDArray[np.object_]
    classes: tuple[str, str] = ("negative", "positive")
    origin: str = ""

    @classmethod
    def from_table(cls, table: pd.DataFrame, classes: tuple[str, str], origin: str = "") -> Scores:
        """Take label, score and group of a table with one row an image."""
        return cls(
            (table["label"] == classes[1]).to_numpy(bool),
            table["score"].to_numpy(np.float64),
            table["group"].to_numpy(object),
            classes,
            origin,
        )

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        patients, positive = len(set(self.patient)), int(self.positive.sum())
        counted = f"{len(self)} images of {patients} patients, {positive} {self.classes[1]}"
        return f"Scores({counted}{self.origin and f', {self.origin}'})"
