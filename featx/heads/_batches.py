"""Batches for the Keras head: rows in a seeded order, from memory or from disk."""

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
"""Rows that are read from disk and shuffled together. There are two such buffers at a time."""

Embeddings = NDArray[Any] | LazyEmbeddings


@dataclass(frozen=True, slots=True)
class Batches:
    """The rows of each epoch, in an order that depends on the seed and the epoch alone.

    Rows in memory are all shuffled. Rows on disk are read in a random order of shards, a buffer at
    a time. The rows of a buffer are shuffled while the next one is being read.

    Attributes
    ----------
    X
        Embeddings of shape (rows, ...).
    targets, weights : ndarray of shape (rows,), dtype float32
        Class (0 or 1) and weight of each row.
    images
        Rows of each image.
    copies
        ``one`` row of each image an epoch, drawn at random, or ``all``.
    batch_size
        Rows in a batch.
    seed
        Seed of the order.
    failures
        Errors while Keras was reading batches. Keras itself doesn't pass them on as they were.
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
        """Number of rows in an epoch."""
        return len(self.images) if self.copies == "one" else sum(map(len, self.images))

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
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
        """Read buffers of shards in random order and cut them into batches."""
        shards = np.unique(X.shard)
        position = np.empty(shards.max() + 1, np.intp)
        position[random.permutation(shards)] = np.arange(len(shards))
        ordered = rows[np.argsort(position[X.shard[rows]], kind="stable")]
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
    """List the rows of each image, in ascending order of the images."""
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(order, starts)


def scores_of(network: Any, X: Embeddings, batch_size: int) -> NDArray[np.float32]:
    """Score embeddings batch by batch. Returns shape (images,)."""
    parts = [
        np.asarray(network(X[start : start + batch_size], training=False))
        for start in range(0, len(X), batch_size)
    ]
    scores: NDArray[np.float32] = np.concatenate(parts)[:, 0]
    return scores


@contextlib.contextmanager
def prefetched(
    batches: Callable[[], Iterator[tuple[NDArray[Any], ...]]],
    *signature: tuple[Any, Any],
    steps: int | None = None,
) -> Iterator[Any]:
    """Give a `tf.data.Dataset` of batches that reads two batches ahead.

    TensorFlow keeps the function that it was given forever. So that function drops the embeddings
    when the block ends. If it didn't, those of each fold would stay in memory.

    Parameters
    ----------
    batches
        Function that makes an iterator over batches.
    *signature : pairs of shape and dtype
        Shape and dtype of each array in a batch.
    steps
        Number of batches. None for no end.
    """
    import tensorflow as tf

    source = [batches]
    dataset = tf.data.Dataset.from_generator(
        lambda: source[0](),
        output_signature=tuple(tf.TensorSpec(shape, dtype) for shape, dtype in signature),
    )
    if steps is not None:  # Keras would warn at the end of a dataset of unknown length
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    try:
        yield dataset.prefetch(2)
    finally:
        source.clear()
