"""The pipeline that makes shards: decoding ahead in threads, forward passes, writing behind."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx._progress import Advance
from featx.backbones import Backbone
from featx.backbones._device import cpu_threads
from featx.errors import DamagedShardError, OutOfMemoryError
from featx.extraction._plan import ImageTask, RowKey
from featx.extraction._shard_tasks import ShardTask
from featx.extraction._spec import ExtractionSpec
from featx.images import UnreadableImageError, decode, make_copy
from featx_cache._index import SHARDS_NAME
from featx_cache._shards import RowKeys, verify_shard, write_shard
from featx_cache.files import Claims, storage_errors

MIN_DECODERS, MAX_DECODERS = 2, 8
"""Threads that decode. Each holds an image of full size."""
SHARDS_BEING_WRITTEN = 2
BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Job:
    """Settings that all shards of an extraction have in common.

    Folders are absolute, since other machines may work on the job. A shard's last batch is filled
    up. `fail_fast` makes an unreadable image an error. Otherwise it is left out.
    """

    root: Path
    cache: Path
    spec: ExtractionSpec
    batch_size: int
    compression: str | None
    fail_fast: bool = False


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Result of a shard: its rows on disk, and the path and reason of each unreadable image.

    `keys` are None if no image of the shard can be read, or if someone else is making it (`busy`).
    `computed` counts the rows that were computed here.
    """

    task: ShardTask
    keys: RowKeys | None = None
    computed: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    busy: bool = False


@dataclass(frozen=True, slots=True)
class _Decoded:
    """An image's copies, ready for the network, or the reason why there are none."""

    shard: ShardTask
    image: ImageTask
    copies: list[NDArray[np.float32]]
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Threads:
    """Threads of the forward passes and of writing, and the number of passes that may wait."""

    network: ThreadPoolExecutor
    passes: int
    writer: ThreadPoolExecutor


class Pipeline:
    """Makes shards one after another, except those that somebody else is making."""

    def __init__(self, job: Job, backbone: Backbone) -> None:
        self._job, self._backbone = job, backbone
        self._batch_size = job.batch_size
        self._claims = Claims(job.cache / SHARDS_NAME)
        self._aside: deque[ShardResult] = deque()
        self._writes: deque[tuple[Future[None], ShardResult]] = deque()

    def run(
        self, tasks: Iterable[ShardTask], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Embed and write every shard that isn't claimed, and yield the result of each.

        Parameters
        ----------
        tasks
            Shards to make. Decoding runs ahead from one into the next.
        advance
            Function that is called with numbers of finished rows.
        """
        # On a GPU one batch travels there while the other is computed. Where each core has an image
        # of its own, it takes one of the next batch when this one has none left.
        alone = self._backbone.device == "cpu" and self._backbone.depends_on_batch
        passes = 1 if alone else 2
        with (
            contextlib.ExitStack() as stack,
            ThreadPoolExecutor(1) as writer,
            ThreadPoolExecutor(decoder_threads()) as decoders,
            ThreadPoolExecutor(passes) as network,
        ):
            stack.callback(self._claims.release_all)
            try:
                decoded = self._decode_ahead(self._claimed(tasks), decoders)
                for task, images in groupby(decoded, attrgetter("shard")):
                    self._make(task, images, _Threads(network, passes, writer), advance)
                    while len(self._writes) >= SHARDS_BEING_WRITTEN:
                        yield self._written()
                    yield from self._set_aside(advance)
                while self._writes:
                    yield self._written()
                yield from self._set_aside(advance)
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _claimed(self, tasks: Iterable[ShardTask]) -> Iterator[ShardTask]:
        """Pass on the shards that are to be made here, and set the others aside."""
        for task in tasks:
            if not self._claims.take(task.name):
                self._aside.append(ShardResult(task, busy=True))
                continue
            path = self._job.cache / SHARDS_NAME / task.name
            try:
                # Someone else may have made it since this process looked.
                keys = verify_shard(path)[0] if path.exists() else None
            except DamagedShardError:
                keys = None
            if keys is None:
                yield task
            else:
                self._claims.release(task.name)
                self._aside.append(ShardResult(task, keys))

    def _set_aside(self, advance: Advance) -> Iterator[ShardResult]:
        """Pass on the results of shards that weren't made here."""
        while self._aside:
            result = self._aside.popleft()
            if result.keys is not None:  # made by someone else
                advance(result.task.rows)
            yield result

    def _decode_ahead(
        self, tasks: Iterable[ShardTask], decoders: ThreadPoolExecutor
    ) -> Iterator[_Decoded]:
        """Decode in order, a few batches ahead of the network and no more."""
        waiting: deque[Future[_Decoded]] = deque()
        rows, threads = 0, decoder_threads()
        for task in tasks:
            for image in task.images:
                waiting.append(decoders.submit(self._decode, task, image))
                # Work ahead is counted in rows, because an image comes with all its copies.
                rows += len(image.copies)
                while rows > BATCHES_AHEAD * self._job.batch_size and len(waiting) > threads:
                    decoded = waiting.popleft().result()
                    rows -= len(decoded.image.copies)
                    yield decoded
        while waiting:
            yield waiting.popleft().result()

    def _decode(self, task: ShardTask, image: ImageTask) -> _Decoded:
        spec = self._job.spec
        try:
            pixels = decode(
                self._job.root / image.path,
                spec.backbone.input_size,
                spec=spec.decoding,
                sha256=image.sha256,
            )
        except UnreadableImageError as error:
            return _Decoded(task, image, [], error.reason)
        copies = [make_copy(pixels, spec.augmentation, image.sha256, c) for c in image.copies]
        return _Decoded(task, image, copies)

    def _make(
        self,
        task: ShardTask,
        images: Iterator[_Decoded],
        threads: _Threads,
        advance: Advance,
    ) -> None:
        """Run the network over the rows of one shard and hand them to the writer."""
        keys: list[RowKey] = []
        unreadable: list[tuple[str, str]] = []
        batch: list[NDArray[np.float32]] = []
        done: list[NDArray[np.floating]] = []
        running: deque[Future[NDArray[np.floating]]] = deque()

        def flush(most: int) -> None:
            if batch:
                running.append(threads.network.submit(self._embed, batch.copy()))
                batch.clear()
            while len(running) > most:
                done.append(running.popleft().result())
                advance(len(done[-1]))

        for decoded in images:
            if decoded.error:
                if self._job.fail_fast:
                    raise UnreadableImageError(self._job.root / decoded.image.path, decoded.error)
                unreadable.append((decoded.image.path, decoded.error))
                advance(len(decoded.image.copies))
                continue
            for copy, pixels in zip(decoded.image.copies, decoded.copies, strict=True):
                keys.append((decoded.image.sha256, copy))
                batch.append(pixels)
                if len(batch) >= self._batch_size:
                    flush(threads.passes)
        flush(0)
        if not keys:
            self._claims.release(task.name)
            self._aside.append(ShardResult(task, unreadable=unreadable))
            return
        rows = RowKeys.of(keys)
        future = threads.writer.submit(
            write_shard,
            self._job.cache / SHARDS_NAME / task.name,
            np.concatenate(done),
            rows,
            spec=self._job.spec.canonical_json(),
            compression=self._job.compression,
        )
        self._writes.append((future, ShardResult(task, rows, len(keys), unreadable)))

    def _embed(self, images: list[NDArray[np.float32]]) -> NDArray[np.floating]:
        """Embed a batch. If the device's memory is too small, halve the batches from then on."""
        rows = self._batch_size
        try:
            parts = [
                embed_filled(self._backbone, images[start : start + rows], rows)
                for start in range(0, len(images), rows)
            ]
        except OutOfMemoryError:
            if rows == 1:
                raise
            self._batch_size = min(self._batch_size, (rows + 1) // 2)
            return self._embed(images)
        return to_storage(np.concatenate(parts), self._job.spec.storage_dtype)

    def _written(self) -> ShardResult:
        """Wait for the oldest shard to be on disk."""
        future, result = self._writes.popleft()
        with storage_errors(self._job.cache / SHARDS_NAME / result.task.name):
            future.result()
        self._claims.release(result.task.name)
        return result


def decoder_threads() -> int:
    """Return the number of threads that decode: one a core, from 2 to 8."""
    return min(max(cpu_threads(), MIN_DECODERS), MAX_DECODERS)


def stack(images: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Make one batch of shape (rows, size, size, 1 or 3).

    Grey images are tripled only if a color image is in the same batch.
    """
    if len({image.shape[-1] for image in images}) > 1:
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    return np.stack(images)


def embed_filled(
    backbone: Backbone, images: list[NDArray[np.float32]], rows: int
) -> NDArray[np.float32]:
    """Embed images as a batch of `rows`, which are as many as the images or more.

    The size of a batch decides how oneDNN and cuDNN compute: in float32, a batch of one has other
    last digits than a batch of two. With empty images behind it, an image has the same embedding
    alone as among others. In runtimes where a batch doesn't matter, nothing is filled.
    """
    kinds = {image.shape[-1] for image in images}
    if len(kinds) > 1 and backbone.channels == 1:
        # Tripled, a grey image would come back as a luminance of other last digits.
        found = np.empty((len(images), *backbone.embedding_shape), np.float32)
        for channels in kinds:
            where = [place for place, each in enumerate(images) if each.shape[-1] == channels]
            found[where] = embed_filled(backbone, [images[place] for place in where], rows)
        return found
    batch = stack(images)
    if (empty := rows - len(images)) and backbone.depends_on_batch:
        batch = np.concatenate([batch, np.zeros((empty, *batch.shape[1:]), np.float32)])
    return backbone.embed(batch)[: len(images)]


def same_alone(backbone: Backbone, rows: int) -> bool:
    """Try out whether an image has the same embedding in a batch of one as in one of `rows`.

    A library chooses how to compute by the shapes of its arrays, not by their values. So one image
    of noise tells it of all images.
    """
    if not backbone.depends_on_batch:
        return True
    size = backbone.spec.input_size
    noise = np.random.default_rng(0).uniform(0.0, 255.0, (rows, size, size, backbone.channels))
    images = noise.astype(np.float32)
    return np.array_equal(backbone.embed(images[:1]), backbone.embed(images)[:1])


def to_storage(embeddings: NDArray[np.float32], dtype: str) -> NDArray[np.floating]:
    """Convert for the disk. Values beyond float16's range become its largest, not infinite."""
    if dtype == "float32":
        return embeddings
    limit = float(np.finfo(np.float16).max)
    return embeddings.clip(-limit, limit).astype(np.float16)
