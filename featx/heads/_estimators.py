"""Estimators of scikit-learn that also work on few images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.validation import check_is_fitted, validate_data

# Heads on disk name their classes by `__module__`: the public one survives moves between files.
PUBLIC = "featx.heads"


class LimitedPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn's PCA, with fewer components if there are fewer images or features.

    Parameters
    ----------
    components
        Largest number of components.
    random_state
        Seed of the randomized solver (Halko et al. 2011), which takes seconds where an exact one
        takes minutes.

    Attributes
    ----------
    pca_ : sklearn.decomposition.PCA
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> LimitedPCA(300).fit_transform(np.random.default_rng(0).normal(size=(8, 20))).shape
    (8, 8)
    """

    __module__ = PUBLIC

    def __init__(self, components: int = 300, random_state: int = 0) -> None:
        self.components = components
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> LimitedPCA:  # noqa: ARG002
        """Find the components.

        Raises
        ------
        ValueError
            If fewer than one component is asked for.
        """
        if self.components < 1:
            raise ValueError(f"components must be at least 1, not {self.components!r}")
        array = validate_data(self, X, dtype=[np.float32, np.float64])
        self.pca_ = PCA(
            min(self.components, *array.shape),
            svd_solver="randomized",
            iterated_power=2,
            random_state=self.random_state,
        ).fit(array)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Project. Returns an ndarray of shape (images, components)."""
        check_is_fitted(self, "pca_")
        array = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return np.asarray(self.pca_.transform(array))

    @property
    def _n_features_out(self) -> int:
        return int(self.pca_.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class LimitedKNeighbors(KNeighborsClassifier):  # type: ignore[misc]
    """Scikit-learn's `KNeighborsClassifier`, with fewer neighbors if there are fewer images.

    Neighbors are weighted by the inverse of their distance.

    Parameters
    ----------
    n_neighbors
        Largest number of neighbors.
    metric
        Distance: ``euclidean``, ``cosine`` or ``manhattan``.

    Examples
    --------
    >>> LimitedKNeighbors(25).fit([[0.0], [1.0], [5.0]], [0, 0, 1]).predict([[4.9]])
    array([1])
    """

    __module__ = PUBLIC

    def __init__(self, n_neighbors: int = 25, metric: str = "euclidean") -> None:
        super().__init__(n_neighbors, weights="distance", metric=metric, algorithm="brute")

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Find neighbors. See scikit-learn."""
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors
        return super().kneighbors(X, min(wanted, self.n_samples_fit_), return_distance)


class ShrunkLDA(LinearDiscriminantAnalysis, auto_wrap_output_keys=None):  # type: ignore[misc,call-arg]
    """Scikit-learn's `LinearDiscriminantAnalysis`: least squares with a shrunk covariance.

    Shrinkage keeps it sound if there are about as many features as images. The least-squares
    solver can't project, so this class has no ``transform``. (Scikit-learn's class has one that
    raises.)

    Parameters
    ----------
    shrinkage
        Shrinkage of the covariance: ``auto`` (Ledoit and Wolf 2004), a fraction, or None.

    Examples
    --------
    >>> ShrunkLDA().fit([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]).predict([[4.9]])
    array([1])
    """

    __module__ = PUBLIC

    def __init__(self, shrinkage: str | float | None = 0.1) -> None:
        super().__init__(solver="lsqr", shrinkage=shrinkage)

    def fit(self, X: ArrayLike, y: ArrayLike) -> ShrunkLDA:
        """Fit. See scikit-learn.

        Raises
        ------
        ValueError
            If there is one class only.
        """
        super().fit(X, y)
        if len(self.classes_) == 1:
            raise ValueError("the number of classes has to be greater than 1 class")
        return self

    @property
    def transform(self) -> Any:
        """Not offered."""
        raise AttributeError("least squares can't project")

    fit_transform = transform

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags
