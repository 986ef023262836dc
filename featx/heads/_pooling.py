"""From 9x9x512 embeddings to one feature vector an image."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, validate_data

from featx.heads._estimators import PUBLIC
from featx_cache import LazyEmbeddings

Pooling = Literal["average", "max", "average+max", "pyramid", "flatten"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
PYRAMID_SIDE = 3
STANDARDIZE_EPSILON = 1e-6
"""Term that standardizing adds to a vector's standard deviation."""


class SpatialPooling(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Pool embeddings over their spatial grid. Vectors stay as they are.

    Parameters
    ----------
    how
        ``average`` (global average pooling; Lin et al. 2013), ``max``, both side by side, or
        ``pyramid``: the global average, then the averages of a 3x3 grid of regions (spatial
        pyramid; Lazebnik et al. 2006), so that a head knows where in the chest something is.
        ``flatten`` keeps every cell.
    standardize
        Whether each pooled vector is shifted and scaled to mean 0 and standard deviation 1 over
        its channels. It removes an image's exposure and contrast, which differ between hospitals.

    Attributes
    ----------
    n_features_in_ : int
        Columns in `fit`, if it was given vectors.

    Examples
    --------
    >>> import numpy as np
    >>> embeddings = np.random.default_rng(0).normal(size=(2, 9, 9, 512))
    >>> SpatialPooling("pyramid").fit_transform(embeddings).shape
    (2, 5120)
    """

    __module__ = PUBLIC

    def __init__(self, how: Pooling = "average", *, standardize: bool = False) -> None:
        self.how = how
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> SpatialPooling:  # noqa: ARG002
        """Check the parameters. Nothing is learned.

        Raises
        ------
        ValueError
            If `how` is unknown.
        """
        if self.how not in POOLINGS:
            raise ValueError(f"how must be one of {POOLINGS}, not {self.how!r}")
        shape = X.shape if isinstance(X, LazyEmbeddings) else _as_array(X).shape
        if len(shape) == 2 and not isinstance(X, LazyEmbeddings):
            validate_data(self, X, dtype=[np.float32, np.float64])
        vectors = {"average": 1, "max": 1, "average+max": 2, "pyramid": 1 + PYRAMID_SIDE**2}
        if len(shape) == 4:
            cells = int(np.prod(shape[1:3]))
            self._n_features_out = vectors.get(self.how, cells) * shape[3]
        else:
            self._n_features_out = shape[1]
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Pool.

        Parameters
        ----------
        X : array of shape (images, rows, columns, channels) or (images, features)
            Embeddings. `LazyEmbeddings` are read and pooled shard by shard.

        Returns
        -------
        ndarray of shape (images, vectors * channels), dtype float32
            One vector of channels for ``average`` and ``max``, two for both, ten for ``pyramid``,
            one of every cell for ``flatten``. Inputs that are vectors keep their values and dtype.
        """
        if isinstance(X, LazyEmbeddings):
            return self._by_shard(X)
        grid = _as_array(X)
        if grid.ndim == 2:
            return np.asarray(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        if self.how == "flatten":  # one vector, which is standardized as a whole
            vectors = grid.reshape(len(grid), 1, -1).astype(np.float32)
        else:
            # One conversion: means of float16 convert each cell again and take five times as long.
            vectors = np.stack(self._vectors(grid.astype(np.float32, copy=False)), axis=1)
        if self.standardize:
            vectors -= vectors.mean(axis=2, keepdims=True)
            vectors /= vectors.std(axis=2, keepdims=True) + np.float32(STANDARDIZE_EPSILON)
        return vectors.reshape(len(vectors), -1)

    def _by_shard(self, X: LazyEmbeddings) -> NDArray[np.floating]:
        """Hold the pooled vectors and one shard in memory."""
        pooled: NDArray[np.floating] | None = None
        for where, block in X.blocks():
            part = self.transform(block)
            if pooled is None:
                pooled = np.empty((len(X), part.shape[1]), part.dtype)
            pooled[where] = part
        return pooled if pooled is not None else np.empty((0, 0), np.float32)

    def _vectors(self, grid: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """Pool (images, rows, columns, channels) into one or more (images, channels)."""
        vectors = []
        if self.how in ("average", "average+max", "pyramid"):
            vectors.append(grid.mean(axis=(1, 2), dtype=np.float32))
        if self.how in ("max", "average+max"):
            vectors.append(grid.max(axis=(1, 2)).astype(np.float32))
        if self.how == "pyramid":
            for rows in regions(grid.shape[1]):
                for columns in regions(grid.shape[2]):
                    vectors.append(grid[:, rows, columns].mean(axis=(1, 2), dtype=np.float32))
        return vectors

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.requires_fit = False
        return tags


def _as_array(X: ArrayLike) -> NDArray[np.floating]:
    """Check for numbers of any kind that an embedding may have."""
    array: NDArray[np.floating] = check_array(
        X, allow_nd=True, dtype=[np.float16, np.float32, np.float64]
    )
    return array


def regions(cells: int) -> list[slice]:
    """Divide an axis into three regions. They overlap if the number of cells isn't divisible."""
    side = PYRAMID_SIDE
    return [slice(i * cells // side, -(-(i + 1) * cells // side)) for i in range(side)]
