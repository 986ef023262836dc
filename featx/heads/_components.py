"""Principal components, as many as there can be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted, validate_data


class Reduction(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn's PCA, with fewer components where there are fewer images or features.

    Parameters
    ----------
    components
        At most.
    random_state
        Seed of the randomized solver (Halko et al. 2011), which takes seconds where an exact one
        takes minutes.

    Attributes
    ----------
    pca_ : sklearn.decomposition.PCA
    n_features_in_ : int
    """

    def __init__(self, components: int = 300, random_state: int = 0) -> None:
        self.components = components
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Reduction:  # noqa: ARG002
        """Find the components.

        Raises
        ------
        ValueError
            When fewer than one component is asked for.
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
        """Project; returns an ndarray of shape (images, components)."""
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
