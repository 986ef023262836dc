"""The pipeline of one extraction: decoding ahead in threads, one forward pass, writing behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.extraction.plan import ImageTask, RowKey
from featx.extraction.spec import ExtractionSpec
from featx.images import UnreadableImageError, decode, make_copy
from featx.progress import Advance
from featx_cache import RowKeys, shard_name, write_shard

DECODERS = 2
SHARDS_BEING_WRITTEN = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image's copies, ready for the network, or the reason why there are none."""

    task: ImageTask
    copies: list[NDArray[np.float32]]
    error: UnreadableImageError | None


class Pipeline:
    """Turn packed tasks into shards.

    Parameters
    ----------
    root
        What the tasks' paths are relative to.
    shards
        Folder of the shards.
    backbone, spec
        What makes the embeddings.
    batch_size
        Rows in one forward pass. A shard's last batch may be shorter.
    compression
        Of the shards; None for none.
    """

    def __init__(
        self,
        root: Path,
        shards: Path,
        backbone: Backbone,
        spec: ExtractionSpec,
        batch_size: int,
        compression: str | None,
    ) -> None:
        self._root, self._shards = root, shards
        self._backbone, self._spec = backbone, spec
        self._batch_size, self._compression = batch_size, compression

    def run(
        self, packs: list[list[ImageTask]], advance: Advance
    ) -> Iterator[tuple[str, list[RowKey]] | UnreadableImageError]:
        """Embed and write every pack; yield each finished shard and each unreadable image.

        Yields
        ------
        (name, keys)
            A shard that is safely on disk, and what its rows are.
        UnreadableImageError
            An image that was left out of its shard.
        """
        writes: deque[tuple[Future[None], str, list[RowKey]]] = deque()
        with ThreadPoolExecutor(1) as writer, ThreadPoolExecutor(DECODERS) as decoders:
            try:
                images = self._decode_ahead([task for pack in packs for task in pack], decoders)
                for pack in packs:
                    decoded = (next(images) for _ in pack)
                    keys, embeddings, errors = self._embed(decoded, advance)
                    yield from errors
                    if keys:
                        writes.append(self._write(keys, embeddings, writer))
                    while len(writes) >= SHARDS_BEING_WRITTEN:
                        yield _finished(writes)
                while writes:
                    yield _finished(writes)
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _decode_ahead(
        self, tasks: list[ImageTask], decoders: ThreadPoolExecutor
    ) -> Iterator[Decoded]:
        """Decode in order, a few batches ahead of the network and no more."""
        ahead = 4 * self._batch_size
        waiting: deque[Future[Decoded]] = deque()
        for task in tasks:
            waiting.append(decoders.submit(self._decode, task))
            # What is ahead is counted in rows, since each image brings all its copies along.
            if len(waiting) * len(task.copies) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _decode(self, task: ImageTask) -> Decoded:
        try:
            pixels = decode(self._root / task.path, self._spec.backbone.input_size)
        except UnreadableImageError as error:
            return Decoded(task, [], error)
        augmentation = self._spec.augmentation
        copies = [make_copy(pixels, augmentation, task.sha256, copy) for copy in task.copies]
        return Decoded(task, copies, None)

    def _embed(
        self, images: Iterator[Decoded], advance: Advance
    ) -> tuple[list[RowKey], NDArray[np.floating], list[UnreadableImageError]]:
        """Run the network over the rows of one shard."""
        keys: list[RowKey] = []
        errors: list[UnreadableImageError] = []
        batch: list[NDArray[np.float32]] = []
        done: list[NDArray[np.floating]] = []

        def flush() -> None:
            if batch:
                embedded = self._backbone.embed(stack(batch))
                done.append(to_storage(embedded, self._spec.storage_dtype))
                advance(len(batch))
                batch.clear()

        for image in images:
            if image.error is not None:
                errors.append(image.error)
                advance(len(image.task.copies))
                continue
            for copy, pixels in zip(image.task.copies, image.copies, strict=True):
                keys.append((image.task.sha256, copy))
                batch.append(pixels)
                if len(batch) == self._batch_size:
                    flush()
        flush()
        shape = (0, *self._backbone.embedding_shape)
        return keys, np.concatenate(done) if done else np.empty(shape, np.float16), errors

    def _write(
        self, keys: list[RowKey], embeddings: NDArray[np.floating], writer: ThreadPoolExecutor
    ) -> tuple[Future[None], str, list[RowKey]]:
        rows = RowKeys.of(keys)
        name = shard_name(self._spec.fingerprint, rows)
        future = writer.submit(
            write_shard,
            self._shards / name,
            embeddings,
            rows,
            spec=self._spec.canonical_json(),
            compression=self._compression,
        )
        return future, name, keys


def stack(images: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Make one batch; grey images are tripled only when a colour image is in the same batch.

    Returns
    -------
    ndarray of shape (rows, size, size, 1 or 3), dtype float32
    """
    if len({image.shape[-1] for image in images}) > 1:
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    return np.stack(images)


def to_storage(embeddings: NDArray[np.float32], dtype: str) -> NDArray[np.floating]:
    """Convert for the disk; values beyond float16's range become its largest, not infinite."""
    if dtype == "float32":
        return embeddings
    limit = float(np.finfo(np.float16).max)
    return embeddings.clip(-limit, limit).astype(np.float16)


def _finished(
    writes: deque[tuple[Future[None], str, list[RowKey]]],
) -> tuple[str, list[RowKey]]:
    future, name, keys = writes.popleft()
    future.result()
    return name, keys
