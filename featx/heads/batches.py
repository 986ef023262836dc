"""Batches for the Keras head: which rows in which order, from memory or from disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featx_cache import LazyEmbeddings

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

    def dataset(self, first_epoch: int) -> Any:
        """Feed epochs without end to Keras, from `first_epoch` on, a little ahead of it."""
        import tensorflow as tf

        def forever() -> Iterator[tuple[NDArray[Any], ...]]:
            number = first_epoch
            try:
                while True:
                    yield from self.epoch(number)
                    number += 1
            except Exception as error:
                self.failures.append(error)
                raise

        signature = (
            tf.TensorSpec((None, *self.X.shape[1:]), self.X.dtype),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None,), tf.float32),
        )
        return tf.data.Dataset.from_generator(forever, output_signature=signature).prefetch(2)

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
                if not np.isfinite(block).all():
                    raise ValueError("Input X contains NaN or infinity.")
                for part in self._cut(order):
                    yield buffer[part], block[part]


def rows_of_images(images: NDArray[Any]) -> list[NDArray[np.intp]]:
    """List the rows of each image, images ascending."""
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(order, starts)
