"""What a head is fitted on: pooled vectors, embeddings in memory, or embeddings on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import SILENT, Progress
from featx.data._links import merged_groups
from featx.errors import InputError
from featx.heads import HeadSpec, build, pooling_of
from featx.training._memory import available_memory
from featx_cache import Cache, LazyEmbeddings
from featx_cache._embeddings import all_finite

FITTED_SPLITS = ("train", "val")

KERAS_SHARE, POOLED_SHARE = 2.5, 4.0
"""Memory that a fit takes, in multiples of its embeddings or pooled vectors: a fold, its scaled
copy, and room to work."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The train and val rows of a cache.

    Attributes
    ----------
    X : ndarray or LazyEmbeddings of shape (rows, ...)
        Embeddings, or pooled feature vectors; copies included where they are fitted on or averaged.
    y : ndarray of shape (rows,), dtype int64
        1 for the positive class.
    table : DataFrame
        One line a row: path, sha256, label, split, group, copy.
    image : ndarray of shape (rows,)
        Which image a row belongs to.
    use_copies
        Whether copies are fitted on.
    reduced
        Preparations that were fitted on some rows, and what came out; heads share them.
    """

    X: NDArray[Any] | LazyEmbeddings
    y: NDArray[np.int64]
    table: pd.DataFrame
    image: NDArray[np.int64]
    use_copies: bool = True
    reduced: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def copy(self) -> NDArray[np.int64]:
        """Number of each row's copy; 0 is the untouched image."""
        return self.table["copy"].to_numpy(np.int64)

    @property
    def originals(self) -> NDArray[np.intp]:
        """Rows of untouched images."""
        return np.flatnonzero(self.copy == 0)

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """Rows that a head may be fitted on."""
        return np.ones(len(self.y), bool) if self.use_copies else self.copy == 0

    @property
    def copies(self) -> int:
        """Augmented copies of a training image that are fitted on, at most."""
        return int(self.copy[self.fitted].max())

    @property
    def groups(self) -> NDArray[Any]:
        """The patient of each row."""
        return np.asarray(self.table["group"].to_numpy(), dtype=object)

    def rows(self, rows: NDArray[np.intp]) -> NDArray[Any] | LazyEmbeddings:
        """Embeddings or vectors of some rows."""
        return self.X.take(rows) if isinstance(self.X, LazyEmbeddings) else self.X[rows]

    def part(self, kept: NDArray[np.bool_]) -> TrainingData:
        """Return some of the rows as training data of their own."""
        rows = np.flatnonzero(kept)
        table = self.table.iloc[rows].reset_index(drop=True)
        return TrainingData(self.rows(rows), self.y[rows], table, self.image[rows], self.use_copies)


def load_training_data(
    cache: Cache,
    spec: HeadSpec,
    *,
    use_copies: bool,
    tta: bool = False,
    progress: Progress = SILENT,
) -> TrainingData:
    """Read the train and val rows of a cache, pooled while reading where the head pools.

    Embeddings that don't fit in memory stay on disk and are read again in every epoch.

    Parameters
    ----------
    cache, spec
        Which embeddings, for which head.
    use_copies
        Whether copies are to be fitted on.
    tta
        Whether scores are to be averaged over copies: they are read, too.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When a class is missing from train and val, embeddings are not finite, pooled vectors don't
        fit in memory, or `tta` is asked of images without copies.
    """
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=use_copies or tta)
    table = cache.table(rows)
    # Byte-identical images under two names would be learnt in one fold and held out in another.
    table = table.assign(group=merged_groups(table["group"], table["sha256"]))
    y = (table["label"] == cache.classes[1]).to_numpy().astype(np.int64)
    if len(np.unique(y)) < 2:
        raise InputError(
            f"the training and validation images in {cache.path} are all {table['label'].iloc[0]}",
            "A head needs both classes.",
        )
    image = cache.rows["image"].to_numpy()[rows]
    if tta:
        require_copies(cache, rows)
    lazy = LazyEmbeddings(cache, rows)
    X: NDArray[Any] | LazyEmbeddings
    pooling = pooling_of(build(spec))
    if pooling is None and lazy.nbytes * KERAS_SHARE > available_memory():
        progress.note(
            f"The embeddings ({lazy.nbytes / 1e9:.1f} GB) don't fit in memory: each epoch reads "
            "them from disk."
        )
        X = lazy
    else:
        X = _read(lazy, pooling, progress)
    return TrainingData(X, y, table, image, use_copies)


def require_copies(cache: Cache, rows: NDArray[np.intp]) -> int:
    """Return how many copies each image has besides itself, when all have the same number.

    Raises
    ------
    InputError
        When some have none, or fewer than others.
    """
    table = cache.table(rows)
    counts = np.bincount(cache.rows["image"].to_numpy()[rows])
    of_image = counts[counts > 0]
    if of_image.min() < 2 or of_image.min() != of_image.max():
        fewest = np.flatnonzero(counts == of_image.min())
        split = cache.images["split"].iloc[int(fewest[0])]
        raise InputError(
            f"`tta=True` averages over stored copies, and {len(fewest)} of {len(of_image)} images "
            f"have {'none' if of_image.min() < 2 else 'fewer than others'} (split {split})",
            "Extract again into the same cache with `copies_of` all; what is there is kept.",
        )
    return int(table["copy"].max())


def _read(lazy: LazyEmbeddings, pooling: Any, progress: Progress) -> NDArray[Any]:
    """Read shard by shard into one array, pooled on the way."""
    X: NDArray[Any] | None = None
    with progress.task("Reading embeddings", len(lazy), "row") as advance:
        for positions, embeddings in lazy.blocks():
            if not all_finite(embeddings):
                raise InputError(
                    f"the cache {lazy.cache.path} holds embeddings that are not finite numbers",
                    "Extract it again with `precision` float32 `storage_dtype` float32.",
                )
            part = embeddings if pooling is None else pooling.transform(embeddings)
            if X is None:
                X = _room(len(lazy), part, pooling is not None)
            X[positions] = part
            advance(len(positions))
    assert X is not None
    return X


def _room(rows: int, part: NDArray[Any], pooled: bool) -> NDArray[Any]:
    needed = rows * part[0].nbytes
    if pooled and needed * POOLED_SHARE > available_memory():
        raise InputError(
            f"{rows:,} vectors of {part.shape[1]:,} features need {needed * POOLED_SHARE / 1e9:.1f}"
            f" GB to fit a head on, and {available_memory() / 1e9:.1f} GB are free",
            "Take a shorter representation (`set` representation=average), or `head` keras, which "
            "reads from disk.",
        )
    return np.empty((rows, *part.shape[1:]), part.dtype)
