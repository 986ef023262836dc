"""From 9x9x512 embeddings to one feature vector an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, validate_data

from featx.backbones._parts import Shape, is_pooled, split_shapes
from featx.backbones._pyramid import PYRAMID_VECTORS, pyramid
from featx.heads._estimators import PUBLIC
from featx_cache import LazyEmbeddings

Pooling = Literal["average", "max", "average+max", "pyramid", "flatten"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
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
    parts
        Shapes of an embedding's parts, if it is of several layers. An embedding is then the vector
        of them all. Each part is pooled by itself, and the features stand side by side. Grids
        (rows, columns, channels) are pooled as they would be alone. Of a part that was pooled at
        extraction, (10, channels), ``pyramid`` and ``flatten`` take all vectors. The others take
        its average: its maxima aren't kept. A part that is a vector stays as it is.

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

    Embeddings of two layers, of which the second was kept pooled:

    >>> vectors = np.zeros((2, 9 * 9 * 512 + 10 * 512))
    >>> SpatialPooling("pyramid", parts=((9, 9, 512), (10, 512))).fit_transform(vectors).shape
    (2, 10240)
    """

    __module__ = PUBLIC

    def __init__(
        self,
        how: Pooling = "average",
        *,
        standardize: bool = False,
        parts: Sequence[Sequence[int]] = (),
    ) -> None:
        self.how = how
        self.standardize = standardize
        self.parts = parts

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> SpatialPooling:  # noqa: ARG002
        """Check the parameters. Nothing is learned.

        Raises
        ------
        ValueError
            If `how` is unknown, or a part is neither a grid, nor ten vectors, nor one.
        """
        if self.how not in POOLINGS:
            raise ValueError(f"how must be one of {POOLINGS}, not {self.how!r}")
        if wrong := [shape for shape in self.part_shapes if not _is_part(shape)]:
            raise ValueError(f"a part of an embedding is a grid or a vector, not {wrong[0]}")
        shape = X.shape if isinstance(X, LazyEmbeddings) else _as_array(X).shape
        if len(shape) == 2 and not isinstance(X, LazyEmbeddings):
            validate_data(self, X, dtype=[np.float32, np.float64])
        shapes = self.part_shapes or (shape[1:],)
        self._n_features_out = sum(self.number_of_features(part) for part in shapes)
        return self

    @property
    def part_shapes(self) -> tuple[Shape, ...]:
        """Shapes of an embedding's parts. Empty if it has none."""
        return tuple(tuple(part) for part in self.parts)

    def number_of_features(self, shape: Shape) -> int:
        """Return the number of features of a part, or of an embedding without parts."""
        if is_pooled(shape):
            return shape[1] * (shape[0] if self.how in ("pyramid", "flatten") else 1)
        if len(shape) == 1:
            return shape[0]
        vectors = {"average": 1, "max": 1, "average+max": 2, "pyramid": PYRAMID_VECTORS}
        return vectors.get(self.how, shape[0] * shape[1]) * shape[2]

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Pool.

        Parameters
        ----------
        X : array of shape (images, rows, columns, channels) or (images, features)
            Embeddings. `LazyEmbeddings` are read and pooled shard by shard. Those of several parts
            have the shape (images, values).

        Returns
        -------
        ndarray of shape (images, vectors * channels), dtype float32
            One vector of channels for ``average`` and ``max``, two for both, ten for ``pyramid``,
            one of every cell for ``flatten``. Inputs that are vectors keep their values and dtype.

        Raises
        ------
        InputError
            If embeddings aren't as long as the parts together.
        """
        if isinstance(X, LazyEmbeddings):
            return self._by_shard(X)
        if self.part_shapes:
            found = [self._pooled(part) for part in split_shapes(_as_array(X), self.part_shapes)]
            return np.concatenate(found, axis=1, dtype=np.float32)
        grid = _as_array(X)
        if grid.ndim == 2:
            return np.asarray(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        return self._pooled(grid)

    def _pooled(self, part: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pool embeddings, or a part of them."""
        if part.ndim == 2:
            return part
        if self.how == "flatten":  # one vector, which is standardized as a whole
            vectors = part.reshape(len(part), 1, -1).astype(np.float32)
        elif self.parts and is_pooled(part.shape[1:]):
            kept = PYRAMID_VECTORS if self.how == "pyramid" else 1
            vectors = part[:, :kept].astype(np.float32)
        else:
            # One conversion: means of float16 convert each cell again and take five times as long.
            vectors = np.stack(self._vectors(part.astype(np.float32, copy=False)), axis=1)
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
        if self.how == "pyramid":
            return pyramid(grid, _average)
        vectors = []
        if self.how in ("average", "average+max"):
            vectors.append(_average(grid))
        if self.how in ("max", "average+max"):
            vectors.append(grid.max(axis=(1, 2)).astype(np.float32))
        return vectors

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of an earlier version, too, which had no parts."""
        super().__setstate__({"parts": ()} | state)

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


def _is_part(shape: Shape) -> bool:
    return len(shape) in (1, 3) or (is_pooled(shape) and shape[0] == PYRAMID_VECTORS)


def _average(grid: NDArray[np.floating]) -> NDArray[np.float32]:
    average: NDArray[np.float32] = grid.mean(axis=(1, 2), dtype=np.float32)
    return average
