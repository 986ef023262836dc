"""Data that a head is fitted on: pooled vectors, embeddings in memory, or embeddings on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import SILENT, Progress
from featx.backbones._parts import Shape
from featx.data._links import merged_groups
from featx.errors import InputError
from featx.extraction._spec import parts_of
from featx.heads import HeadSpec, SpatialPooling, build
from featx.heads._building import pooling_of
from featx.training._memory import available_memory
from featx_cache import Cache, LazyEmbeddings
from featx_cache._embeddings import all_finite
from featx_cache._text import plural

FITTED_SPLITS = ("train", "val")

ChooseOn = Literal["untouched", "copies", "both"]
"""Scores that a threshold is chosen on: those of untouched images, of their copies, or of both."""

EMBEDDINGS_FACTOR, POOLED_FACTOR = 2.5, 4.0
"""Memory that a fit takes, as multiples of its embeddings or pooled vectors: a fold, its scaled
copy, and space to compute."""


@dataclass(frozen=True, slots=True, repr=False)
class TrainingData:
    """The train and val rows of a cache.

    Attributes
    ----------
    X : ndarray or LazyEmbeddings of shape (rows, ...)
        Embeddings, or pooled feature vectors, with copies if they are fitted on or averaged.
    y : ndarray of shape (rows,), dtype int64
        1 for the positive class.
    table : DataFrame
        One line a row: path, sha256, label, split, group, copy.
    image : ndarray of shape (rows,)
        Number of the image that a row belongs to.
    use_copies
        Whether copies are fitted on.
    parts
        Shapes of the parts of each row, the main one first, if rows are embeddings of several
        layers. Empty if they are anything else, as pooled vectors are.
    reduced
        First steps of pipelines, fitted on some rows, with the features that they made. Heads
        share them.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> table = pd.DataFrame({"group": ["a", "a", "b", "b"], "copy": [0, 1, 0, 1]})
    >>> data = TrainingData(np.zeros((4, 8)), np.array([0, 0, 1, 1]), table, np.array([0, 0, 1, 1]))
    >>> data
    TrainingData(4 rows of 2 images, 8)
    >>> data.originals.tolist(), data.copies
    ([0, 2], 1)
    """

    X: NDArray[Any] | LazyEmbeddings
    y: NDArray[np.int64]
    table: pd.DataFrame
    image: NDArray[np.int64]
    use_copies: bool = True
    parts: tuple[Shape, ...] = ()
    reduced: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.X.shape[1:]))
        images = plural(len(self.originals), "image")
        return f"TrainingData({plural(len(self.y), 'row')} of {images}, {shape})"

    @property
    def copy(self) -> NDArray[np.int64]:
        """Number of each row's copy. The untouched image is 0."""
        return self.table["copy"].to_numpy(np.int64)

    @property
    def originals(self) -> NDArray[np.intp]:
        """Rows of untouched images."""
        return np.flatnonzero(self.copy == 0)

    def chosen_on(self, which: ChooseOn) -> NDArray[np.intp]:
        """Rows that a threshold is chosen on."""
        wanted = {"untouched": self.copy == 0, "copies": self.copy > 0, "both": self.copy >= 0}
        return np.flatnonzero(wanted[which])

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """Rows that a head may be fitted on."""
        return np.ones(len(self.y), bool) if self.use_copies else self.copy == 0

    @property
    def copies(self) -> int:
        """Largest number of augmented copies of an image that are fitted on."""
        return int(self.copy[self.fitted].max())

    def weights(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Weights with which each image counts once, however many of its copies are in `rows`."""
        image = self.image[rows]
        return 1.0 / np.bincount(image)[image]

    @property
    def groups(self) -> NDArray[Any]:
        """Patient of each row."""
        return np.asarray(self.table["group"].to_numpy(), dtype=object)

    def rows(self, rows: NDArray[np.intp]) -> NDArray[Any] | LazyEmbeddings:
        """Embeddings or vectors of some rows."""
        return self.X.take(rows) if isinstance(self.X, LazyEmbeddings) else self.X[rows]

    def part(self, kept: NDArray[np.bool_]) -> TrainingData:
        """Return some of the rows as training data of their own."""
        rows = np.flatnonzero(kept)
        table = self.table.iloc[rows].reset_index(drop=True)
        X, y, image = self.rows(rows), self.y[rows], self.image[rows]
        return TrainingData(X, y, table, image, self.use_copies, self.parts)


def load_training_data(
    cache: Cache,
    spec: HeadSpec,
    *,
    use_copies: bool,
    score_copies: bool = False,
    progress: Progress = SILENT,
) -> TrainingData:
    """Read the train and val rows of a cache, pooled while reading if the head pools.

    Embeddings that don't fit in memory stay on disk and are read again in every epoch.

    Parameters
    ----------
    cache
        Cache of embeddings.
    spec
        Head that they are for.
    use_copies
        Whether copies are fitted on.
    score_copies
        Whether copies are scored. They are then read, too.
    progress
        Progress that is shown.

    Raises
    ------
    InputError
        If a class is missing from train and val, embeddings are not finite, or pooled vectors
        don't fit in memory.

    Examples
    --------
    >>> import featx
    >>> cache = featx.load_cache("embeddings")  # doctest: +SKIP
    >>> spec = featx.HeadSpec.choose("logreg")
    >>> load_training_data(cache, spec, use_copies=False).X.shape  # doctest: +SKIP
    (5232, 5120)
    """
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=use_copies or score_copies)
    table = cache.table(rows)
    # Byte-identical images under two names would be learned in one fold and held out in another.
    table = table.assign(group=merged_groups(table["group"], table["sha256"]))
    y = (table["label"] == cache.classes[1]).to_numpy().astype(np.int64)
    if len(np.unique(y)) < 2:
        raise InputError(
            f"the training and validation images in {cache.path} are all {table['label'].iloc[0]}",
            "A head needs both classes.",
        )
    image = cache.rows["image"].to_numpy()[rows]
    lazy = LazyEmbeddings(cache, rows)
    X: NDArray[Any] | LazyEmbeddings
    parts = tuple(part.shape for part in parts_of(cache))
    pooling = pooling_of(build(spec, parts=parts))
    if pooling is None and lazy.nbytes * EMBEDDINGS_FACTOR > available_memory():
        progress.note(
            f"The embeddings ({lazy.nbytes / 1e9:.1f} GB) don't fit in memory: each epoch reads "
            "them from disk."
        )
        X = lazy
    else:
        X = _read(lazy, pooling, progress)
    return TrainingData(X, y, table, image, use_copies, () if pooling is not None else parts)


def require_copies(cache: Cache, rows: NDArray[np.intp]) -> int:
    """Return the number of copies of each image."""
    table = cache.table(rows)
    counts = np.bincount(cache.rows["image"].to_numpy()[rows])
    of_image = counts[counts > 0]
    if of_image.min() < 2 or of_image.min() != of_image.max():
        fewest = np.flatnonzero(counts == of_image.min())
        split = cache.images["split"].iloc[int(fewest[0])]
        raise InputError(
            f"`tta=True` averages over stored copies, and {len(fewest)} of {len(of_image)} images "
            f"have {'none' if of_image.min() < 2 else 'fewer than others'} (split {split})",
            "Extract again into the same cache with `copies_of='all'`. What is there is kept.",
            parameter="tta",
        )
    return int(table["copy"].max())


def _read(lazy: LazyEmbeddings, pooling: SpatialPooling | None, progress: Progress) -> NDArray[Any]:
    """Read shard by shard into one array, pooled on the way."""
    X: NDArray[Any] | None = None
    with progress.task("Reading embeddings", len(lazy), "row") as advance:
        for positions, embeddings in lazy.blocks():
            if not all_finite(embeddings):
                raise InputError(
                    f"the cache {lazy.cache.path} holds embeddings that are not finite numbers",
                    "Extract it again with `precision='float32'` and `storage_dtype='float32'`.",
                )
            part = embeddings if pooling is None else pooling.transform(embeddings)
            if X is None:
                X = _empty(len(lazy), part, pooling is not None)
            X[positions] = part
            advance(len(positions))
    assert X is not None
    return X


def _empty(rows: int, part: NDArray[Any], pooled: bool) -> NDArray[Any]:
    """Make the array for all rows, or say that pooled vectors don't fit in memory."""
    needed = rows * part[0].nbytes
    if pooled and needed * POOLED_FACTOR > available_memory():
        raise InputError(
            f"{rows:,} vectors of {part.shape[1]:,} features need "
            f"{needed * POOLED_FACTOR / 1e9:.1f} GB to fit a head on, and "
            f"{available_memory() / 1e9:.1f} GB are free",
            "Take a shorter representation, such as average, or `head='keras'`, which reads from "
            "disk.",
        )
    return np.empty((rows, *part.shape[1:]), part.dtype)
