"""Image files become scores: decoded ahead in threads, embedded in batches, scored by the head."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.backbones._parts import main_part
from featx.evaluation import average_over_grid
from featx.extraction._pipeline import DECODERS, embed_filled, to_storage
from featx.images import UnreadableImageError, decode, make_copy
from featx.runs._fitted import FittedRun
from featx_cache.files import open_regular

BATCH_SIZE = 8
BATCHES_AHEAD = 2
NO_NUMBER_REASON = "its score is not a number, so there is no verdict on it"


@dataclass(frozen=True, slots=True, eq=False)
class ScoredImage:
    """Result of a run for one image file.

    Attributes
    ----------
    path
        File as it was given.
    score
        Run's score of the positive class, 0..1: averaged over copies and recalibrated where the run
        does that. None without a score.
    embedding : ndarray of shape (*embedding_shape) or None
        Embedding of the untouched image, rounded as a cache would store it. None without a score.
    vector : ndarray of shape (channels,), dtype float32, or None
        The embedding, averaged over the grid: of the deepest layer, if it is of several.
    error
        Reason why there is no score. Empty if there is one.

    Examples
    --------
    >>> ScoredImage("a.png", error="the file is empty").score is None
    True
    """

    path: str
    score: float | None = None
    embedding: NDArray[np.floating] | None = None
    vector: NDArray[np.float32] | None = None
    error: str = ""


class _Decoded(NamedTuple):
    """Pixels of an image file, followed by its copies if the run averages over them."""

    path: Path
    copies: list[NDArray[np.float32]]
    error: str = ""


class _Rows(NamedTuple):
    """Results for a batch, one row a copy. The score of a bad embedding is not a number."""

    scores: NDArray[np.float64]
    embeddings: NDArray[np.floating]
    vectors: NDArray[np.float32]


class ImageScorer:
    """Scores image files with a run. Memory holds a few batches, however many files there are.

    Parameters
    ----------
    run
        Run whose head scores. The head is loaded and checked here, before the first image.
    backbone
        The run's backbone, if it is loaded already.

    Raises
    ------
    InputError
        If a file of the run is missing or damaged.
    SpecMismatchError, WeightsError
        See `FittedRun.backbone`.

    Examples
    --------
    >>> scorer = ImageScorer(run)  # doctest: +SKIP
    >>> for image in scorer.score(["a.png", "b.dcm"]):  # doctest: +SKIP
    ...     print(image.path, image.score, image.error)
    """

    def __init__(self, run: FittedRun, backbone: Backbone | None = None) -> None:
        _ = run.head
        self.run, self.backbone = run, backbone or run.backbone()

    def score(self, paths: Iterable[str | Path]) -> Iterator[ScoredImage]:
        """Yield one result for each file, in their order. An unreadable file has an error.

        Files are taken from `paths` as they are needed, a few batches ahead.
        """
        batch: list[_Decoded] = []
        for decoded in self._decode_ahead(paths):
            batch.append(decoded)
            if sum(len(image.copies) for image in batch) >= BATCH_SIZE:
                yield from self._score(batch)
                batch = []
        yield from self._score(batch)

    def _decode_ahead(self, paths: Iterable[str | Path]) -> Iterator[_Decoded]:
        ahead = max(DECODERS, BATCHES_AHEAD * BATCH_SIZE // (self.run.record.tta + 1))
        waiting: deque[Future[_Decoded]] = deque()
        with ThreadPoolExecutor(DECODERS) as decoders:
            try:
                for path in paths:
                    waiting.append(decoders.submit(self._decode, Path(path)))
                    if len(waiting) >= ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _decode(self, path: Path) -> _Decoded:
        extraction, tta = self.run.record.extraction, self.run.record.tta
        try:
            pixels = decode(path, self.backbone.spec.input_size, spec=extraction.decoding)
            if not tta:
                return _Decoded(path, [pixels])
            with open_regular(path) as file:
                sha256 = hashlib.sha256(file.read()).hexdigest()
        except UnreadableImageError as error:
            return _Decoded(path, [], error.reason)
        except OSError as error:  # the file vanished between the two reads
            return _Decoded(path, [], (error.strerror or str(error)).lower())
        copies = range(tta + 1)
        return _Decoded(
            path, [make_copy(pixels, extraction.augmentation, sha256, copy) for copy in copies]
        )

    def _score(self, batch: list[_Decoded]) -> Iterator[ScoredImage]:
        copies = [copy for image in batch for copy in image.copies]
        parts = [
            self._embed(copies[start : start + BATCH_SIZE])
            for start in range(0, len(copies), BATCH_SIZE)
        ]
        rows = _Rows(*map(np.concatenate, zip(*parts, strict=True))) if parts else None
        start = 0
        for image in batch:
            untouched, start = start, start + len(image.copies)
            if image.error or rows is None:
                yield ScoredImage(str(image.path), error=image.error)
                continue
            scores = rows.scores[untouched:start]
            score = float(self.run.recalibrated(scores.mean(keepdims=True))[0])
            if not np.isfinite(score):
                yield ScoredImage(str(image.path), error=NO_NUMBER_REASON)
            else:
                yield ScoredImage(
                    str(image.path), score, rows.embeddings[untouched], rows.vectors[untouched]
                )

    def _embed(self, copies: list[NDArray[np.float32]]) -> _Rows:
        embeddings = embed_filled(self.backbone, copies, BATCH_SIZE)
        stored = to_storage(embeddings, self.run.record.extraction.storage_dtype)
        # Heads refuse a batch with one bad value in it, and the others are good.
        finite = np.isfinite(stored.reshape(len(stored), -1)).all(axis=1)
        # A head's last digits, too, depend on how many rows it is given.
        full = np.zeros((BATCH_SIZE, *stored.shape[1:]), stored.dtype)
        full[: len(stored)][finite] = stored[finite]
        scores = self.run.head_scores(full)[: len(stored)]
        return _Rows(
            np.where(finite, scores, np.nan),
            full[: len(stored)],
            average_over_grid(main_part(full, self.backbone.spec.part_shapes))[: len(stored)],
        )
