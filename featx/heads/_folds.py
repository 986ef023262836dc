"""Folds that keep a patient's images together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold


class PatientFolds(StratifiedGroupKFold):  # type: ignore[misc]
    """Stratified, grouped folds. There are fewer if the rarer class has fewer patients.

    Parameters
    ----------
    n_splits
        Largest number of folds.
    random_state
        Seed of the shuffling.

    Examples
    --------
    >>> y, patients = [0, 0, 1, 1, 0, 1], [1, 1, 2, 2, 3, 4]
    >>> [held_out.tolist() for _, held_out in PatientFolds(5).split(y, y, patients)]
    [[2, 3, 4], [0, 1, 5]]
    """

    def __init__(self, n_splits: int = 5, random_state: int = 0) -> None:
        super().__init__(n_splits, shuffle=True, random_state=random_state)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of folds, which is at most the number of patients of each class."""
        if y is None:
            return int(self.n_splits)
        groups = np.arange(len(y)) if groups is None else np.asarray(groups)
        labels = np.asarray(y)
        return min(int(self.n_splits), *(len(set(groups[labels == c])) for c in np.unique(labels)))

    def split(
        self, X: Any, y: ArrayLike, groups: ArrayLike | None = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the rows kept and the rows held out of each fold.

        Parameters
        ----------
        X : sized
            Data. Only the length counts.
        y : array of shape (rows,)
            Classes.
        groups : array of shape (rows,), optional
            Patient of each row. If None, every row is a patient of its own.

        Raises
        ------
        ValueError
            If a class has fewer than two patients.
        """
        labels = np.asarray(y)
        patients = np.arange(len(labels)) if groups is None else np.asarray(groups)
        folds = self.get_n_splits(X, labels, patients)
        if folds < 2:
            raise ValueError(
                f"a class has images of one patient only (n_samples = {len(labels)} in all), so no "
                "patient can be held out: two patients of each class are needed at least"
            )
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=self.random_state)
        yield from splitter.split(np.zeros(len(labels)), labels, patients)
