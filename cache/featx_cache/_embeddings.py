"""Rows of a cache as an array that is read when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Rows = NDArray[np.intp]


class _Cache(Protocol):
    """A `Cache`, as far as `LazyEmbeddings` need it."""

    path: Path
    dtype: np.dtype[np.generic]

    @property
    def embedding_shape(self) -> tuple[int, ...]: ...
    def shard_of(self, rows: Rows) -> NDArray[np.int32]: ...
    def read(self, rows: Rows) -> NDArray[np.floating]: ...
    def blocks(self, rows: Rows) -> Iterator[tuple[Rows, NDArray[np.floating]]]: ...


class LazyEmbeddings:
    """Embeddings of chosen rows of a cache, on disk until they are asked for.

    It has a shape, a dtype and a length, can be indexed along its first axis (which reads just
    those rows) and turned into an array (which reads all of them), so that scikit-learn takes it
    for an array and reads one fold at a time. `take` chooses rows without reading them.

    Parameters
    ----------
    cache
        Cache that the rows are in.
    rows : ndarray of shape (n,), dtype intp
        Row numbers in the cache.

    Examples
    --------
    >>> import numpy as np
    >>> from featx_cache import LazyEmbeddings, example_cache
    >>> X = LazyEmbeddings(example_cache(), np.arange(4))
    >>> X
    LazyEmbeddings((4, 2, 2, 8), float16)
    >>> X[1:3].shape, np.asarray(X).shape, len(X.take([0, 3]))
    ((2, 2, 2, 8), (4, 2, 2, 8), 2)

    A PyTorch data set needs two methods. ``DataLoader(EmbeddingDataset(cache), batch_size=32)``
    reads rows when a batch needs them:

    .. code-block:: python

        class EmbeddingDataset(torch.utils.data.Dataset):
            def __init__(self, cache, split="train"):
                self.X, self.y, _ = cache.as_arrays(split, copies=None)

            def __len__(self):
                return len(self.X)

            def __getitems__(self, rows):
                X = torch.from_numpy(self.X[rows]).permute(0, 3, 1, 2)
                return list(zip(X, torch.from_numpy(self.y[rows])))
    """

    def __init__(self, cache: _Cache, rows: Rows) -> None:
        self.cache = cache
        self.rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return (len(self.rows), *self.cache.embedding_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format of the cache, float16 or float32."""
        return self.cache.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the array takes in memory."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def shard(self) -> NDArray[np.int32]:
        """Number of the shard that each row lies in. Rows of one shard are read together."""
        return self.cache.shard_of(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Index as NumPy does, and read only the rows that the first axis names."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if not _names_rows(first) or not all(_is_plain(each) for each in rest):
            whole: NDArray[Any] = np.asarray(self)[key]
            return whole
        if isinstance(first, int | np.integer):
            one: NDArray[Any] = self.cache.read(self.rows[[int(first)]])[0][rest]
            return one
        return self.cache.read(self.rows[first])[(slice(None), *rest)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("embeddings on disk can't become an array without a copy")
        return self.cache.read(self.rows).astype(dtype or self.dtype, copy=False)

    def take(self, rows: ArrayLike) -> LazyEmbeddings:
        """Choose rows, by number or by mask, without reading them."""
        chosen = np.asarray(rows)
        return LazyEmbeddings(self.cache, self.rows[chosen if chosen.size else []])

    def blocks(self) -> Iterator[tuple[Rows, NDArray[np.floating]]]:
        """Read shard by shard: positions among these rows, and their embeddings."""
        return self.cache.blocks(self.rows)

    def __repr__(self) -> str:
        return f"LazyEmbeddings({self.shape}, {self.dtype})"


def _names_rows(key: Any) -> bool:
    """Say whether a key of the first axis is a number, a slice, or one list of rows or a mask."""
    if isinstance(key, slice):
        return True
    return not isinstance(key, bool) and key is not None and key is not ... and np.ndim(key) < 2


def _is_plain(key: Any) -> bool:
    """Say whether a key of a later axis leaves the first one alone."""
    return isinstance(key, int | np.integer | slice) or key is ...


def all_finite(embeddings: NDArray[np.floating]) -> bool:
    """Say whether no number is infinite or NaN.

    Looks at the exponent's bits, which takes a tenth of what `numpy.isfinite` takes on float16.
    """
    if not embeddings.size or embeddings.dtype not in (np.float16, np.float32):
        return bool(np.isfinite(embeddings).all())
    contiguous = np.ascontiguousarray(embeddings)
    if embeddings.dtype == np.float16:
        return int((contiguous.view(np.uint16) & 0x7FFF).max()) < 0x7C00
    return int((contiguous.view(np.uint32) & 0x7FFFFFFF).max()) < 0x7F800000
