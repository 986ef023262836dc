"""Linear discriminant analysis as a classifier, and no more than that."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis


class Discriminant(LinearDiscriminantAnalysis, auto_wrap_output_keys=None):  # type: ignore[misc,call-arg]
    """Scikit-learn's `LinearDiscriminantAnalysis`, least squares with a shrunk covariance.

    Shrinkage keeps it sound where there are about as many components as images. That solver can't
    project, so this class doesn't offer to (scikit-learn's says it can, and then raises).

    Parameters
    ----------
    shrinkage
        Of the covariance: ``auto`` (Ledoit and Wolf 2004), a fraction, or None.
    """

    def __init__(self, shrinkage: str | float | None = 0.1) -> None:
        super().__init__(solver="lsqr", shrinkage=shrinkage)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Discriminant:
        """Fit; see scikit-learn.

        Raises
        ------
        ValueError
            When there is one class only.
        """
        super().fit(X, y)
        if len(self.classes_) == 1:
            raise ValueError("the number of classes has to be greater than 1 class")
        return self

    @property
    def transform(self) -> Any:
        """Not offered."""
        raise AttributeError("least squares can't project")

    @property
    def fit_transform(self) -> Any:
        """Not offered."""
        raise AttributeError("least squares can't project")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags
