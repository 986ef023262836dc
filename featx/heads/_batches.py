"""Batches for the Keras head: which rows in which order, from memory or from disk."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featx_cache import LazyEmbeddings
from featx_cache._embeddings import all_finite

BUFFER_BYTES = 192 * 2**20
"""Of the rows that are shuffled together when they are read from disk; there are two at a time."""

Embeddings = NDArray[Any] | LazyEmbeddings


@dataclass(frozen=True, slots=True)
class Batches:
    """The rows of each epoch, in an order that depends on the seed and the epoch alone.

    In memory all rows are shuffled. On disk shards are: as many as fill a buffer are read together
    and the buffer's rows are shuffled, while the next buffer is being read.

    Attributes
    ----------
    X
        Embeddings of shape (rows, ...).
    targets, weights : ndarray of shape (rows,), dtype float32
        0 or 1, and what the row counts for.
    images
        The rows of each image.
    copies
        ``one`` row of each image an epoch, drawn at random, or ``all``.
    batch_size
        Rows a batch.
    seed
        Of the order.
    failures
        What went wrong while Keras was being fed: it doesn't pass errors on as they were.
    """

    X: Embeddings
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    images: list[NDArray[np.intp]]
    copies: Literal["one", "all"]
    batch_size: int
    seed: int
    failures: list[Exception] = field(default_factory=list)

    @property
    def rows_an_epoch(self) -> int:
        """How many rows an epoch has."""
        return len(self.images) if self.copies == "one" else sum(map(len, self.images))

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-self.rows_an_epoch // self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield embeddings, targets and weights of each batch of an epoch."""
        random = np.random.default_rng((self.seed, number))
        rows = self._drawn(random)
        if isinstance(self.X, LazyEmbeddings):
            parts = self._buffers(self.X, rows, random)
        else:
            parts = ((part, self.X[part]) for part in self._cut(random.permutation(rows)))
        for batch, embeddings in parts:
            yield embeddings, self.targets[batch], self.weights[batch]

    def forever(self, first_epoch: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield the batches of all epochs from `first_epoch` on."""
        try:
            for number in itertools.count(first_epoch):
                yield from self.epoch(number)
        except Exception as error:
            self.failures.append(error)
            raise

    def _drawn(self, random: np.random.Generator) -> NDArray[np.intp]:
        if self.copies == "all":
            return np.concatenate(self.images)
        return np.array([rows[random.integers(len(rows))] for rows in self.images])

    def _cut(self, rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]

    def _buffers(
        self, X: LazyEmbeddings, rows: NDArray[np.intp], random: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
        """Read buffers of whole shards in random order; cut batches across their borders."""
        shards = np.unique(X.shard)
        place = np.empty(shards.max() + 1, np.intp)
        place[random.permutation(shards)] = np.arange(len(shards))
        ordered = rows[np.argsort(place[X.shard[rows]], kind="stable")]
        row_bytes = max(1, X.nbytes // max(1, len(X)))
        # Whole batches, so that none lies across two buffers.
        size = max(1, BUFFER_BYTES // row_bytes // self.batch_size) * self.batch_size
        buffers = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        orders = [random.permutation(len(buffer)) for buffer in buffers]
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(X.__getitem__, buffers[0])
            for number, (buffer, order) in enumerate(zip(buffers, orders, strict=True)):
                block = following.result()
                if number + 1 < len(buffers):
                    following = reader.submit(X.__getitem__, buffers[number + 1])
                if not all_finite(block):
                    raise ValueError("Input X contains NaN or infinity.")
                for part in self._cut(order):
                    yield buffer[part], block[part]


def rows_of_images(images: NDArray[Any]) -> list[NDArray[np.intp]]:
    """List the rows of each image, images ascending."""
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(order, starts)


@contextlib.contextmanager
def feeding(
    batches: Callable[[], Iterator[tuple[NDArray[Any], ...]]],
    *signature: tuple[Any, Any],
    steps: int | None = None,
) -> Iterator[Any]:
    """Give a `tf.data.Dataset` of batches, a little ahead of who takes them.

    TensorFlow never lets go of the function that it was given, so that function lets go of the
    embeddings when the block ends: else each fold's would stay in memory.

    Parameters
    ----------
    batches
        Makes an iterator over batches.
    *signature : pairs of shape and dtype
        Of the arrays in a batch.
    steps
        How many batches there are; None for no end.
    """
    import tensorflow as tf

    source = [batches]
    dataset = tf.data.Dataset.from_generator(
        lambda: source[0](),
        output_signature=tuple(tf.TensorSpec(shape, dtype) for shape, dtype in signature),
    )
    if steps is not None:  # else Keras counts, and warns when it has come to the end
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    try:
        yield dataset.prefetch(2)
    finally:
        source.clear()
