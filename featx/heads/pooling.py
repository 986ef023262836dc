"""From 9x9x512 embeddings to one feature vector an image."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, validate_data

Pooling = Literal["average", "max", "average+max"]
POOLINGS: tuple[Pooling, ...] = ("average", "max", "average+max")


class SpatialPooling(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Pool embeddings over their spatial grid; vectors pass through as they are.

    Parameters
    ----------
    how
        ``average`` (global average pooling; Lin et al. 2013), ``max``, or both side by side.

    Attributes
    ----------
    n_features_in_ : int
        Columns of what `fit` was given, when it was given vectors.
    """

    def __init__(self, how: Pooling = "average") -> None:
        self.how = how

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> SpatialPooling:  # noqa: ARG002
        """Check the parameters; there is nothing to learn.

        Raises
        ------
        ValueError
            When `how` is unknown.
        """
        if self.how not in POOLINGS:
            raise ValueError(f"how must be one of {POOLINGS}, not {self.how!r}")
        if np.ndim(X) == 2:
            validate_data(self, X, dtype=[np.float32, np.float64])
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Pool.

        Parameters
        ----------
        X : array of shape (images, rows, columns, channels) or (images, features)

        Returns
        -------
        ndarray of shape (images, channels), or (images, 2 * channels) for ``average+max``
            float32; vectors keep their dtype.
        """
        if np.ndim(X) == 2:
            return np.asarray(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        array = check_array(X, allow_nd=True, dtype=[np.float16, np.float32, np.float64])
        spatial = tuple(range(1, array.ndim - 1))
        parts = []
        if "average" in self.how:
            parts.append(array.mean(axis=spatial, dtype=np.float32))
        if "max" in self.how:
            parts.append(array.max(axis=spatial).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.requires_fit = False
        return tags
