"""Scores of labelled images: what thresholds are chosen on and metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from featx._html import html_table
from featx.errors import InputError
from featx_cache._text import plural

_CLASSES = ("negative", "positive")


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
        Origin of the scores, such as ``out of fold`` or the name of a split.

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
    >>> scores.to_frame()
           label  score group
    0     NORMAL    0.1     a
    1  PNEUMONIA    0.9     b
    >>> Scores.from_arrays([0, 1, 1], [0.2, 0.4, 0.7])[[1, 2]]
    Scores(2 images of 2 patients, 2 positive)
    """

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    patient: NDArray[np.object_]
    classes: tuple[str, str] = _CLASSES
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

    @classmethod
    def from_arrays(
        cls,
        y: ArrayLike,
        scores: ArrayLike,
        groups: ArrayLike | None = None,
        classes: tuple[str, str] = _CLASSES,
        origin: str = "",
    ) -> Scores:
        """Take labels, scores and patients as scikit-learn has them.

        Parameters
        ----------
        y : array of shape (images,), bool or 0/1
            1 for the positive class.
        scores : array of shape (images,)
            Scores of the positive class.
        groups : array of shape (images,), optional
            Patient of each image. By default, each image is of its own patient.
        classes, origin
            See the attributes.

        Raises
        ------
        InputError
            If the lengths differ.
        """
        positive, score = np.asarray(y).astype(bool), np.asarray(scores, np.float64)
        patient = np.asarray(range(len(score)) if groups is None else groups, object)
        if not positive.shape == score.shape == patient.shape or positive.ndim != 1:
            shapes = f"{positive.shape}, scores of shape {score.shape} and patients of shape"
            raise InputError(f"labels of shape {shapes} {patient.shape} don't match")
        return cls(positive, score, patient, classes, origin)

    @property
    def patient_number(self) -> NDArray[np.intp]:
        """Number of each image's patient, from 0 on, in the order of their names."""
        return np.unique(self.patient, return_inverse=True)[1]

    def called(self, threshold: float) -> NDArray[np.bool_]:
        """Say which images are called positive: their score is at least the threshold."""
        return self.score >= threshold

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: label, score and group, as `from_table` takes them."""
        label = np.where(self.positive, self.classes[1], self.classes[0])
        return pd.DataFrame({"label": label, "score": self.score, "group": self.patient})

    def __getitem__(self, rows: Any) -> Scores:
        """Return some of the images, by a mask, a slice or an array of positions."""
        return Scores(
            self.positive[rows], self.score[rows], self.patient[rows], self.classes, self.origin
        )

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        patients, positive = len(set(self.patient)), int(self.positive.sum())
        images = f"{plural(len(self), 'image')} of {plural(patients, 'patient')}"
        counts = f"{images}, {positive} {self.classes[1]}"
        return f"Scores({counts}{self.origin and f', {self.origin}'})"

    def _repr_html_(self) -> str:
        return html_table(self.to_frame().head(10), [repr(self)])


def as_scores(y: ArrayLike | Scores, scores: ArrayLike | None) -> Scores:
    """Take scores as they are, or put labels and scores together."""
    if isinstance(y, Scores):
        return y
    if scores is None:
        raise InputError("there are labels and no scores", "Give `scores`.", parameter="scores")
    return Scores.from_arrays(y, scores)
