"""Image files become scores: decoded ahead in threads, embedded in batches, scored by the head."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.backbones._parts import main_part
from featx.errors import InputError
from featx.evaluation import average_over_grid, plural
from featx.extraction import ExtractionSpec
from featx.extraction._pipeline import decoder_threads, embed_filled, same_alone, to_storage
from featx.extraction._spec import embedding_fields
from featx.images import DecodingSpec, UnreadableImageError, decode, make_copy
from featx.runs._fitted import FittedRun
from featx.scoring._view import NOTHING, Look, ViewCheck, changed, look
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
    view
        How an image that isn't an upright frontal chest X-ray looks. See `Prediction.view`.

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
    view: str | None = None


class _Decoded(NamedTuple):
    """Pixels of an image file, followed by its copies if runs average over them."""

    path: Path
    copies: list[NDArray[np.float32]]
    error: str = ""
    look: Look = NOTHING


class _Rows(NamedTuple):
    """Embeddings of a batch, one row a copy. A row that isn't finite is zeros here."""

    embeddings: NDArray[np.floating]
    vectors: NDArray[np.float32]
    finite: NDArray[np.bool_]


@dataclass(slots=True)
class _Kind:
    """A kind of embedding, and the number of augmented copies that its runs average over."""

    backbone: Backbone
    extraction: ExtractionSpec
    copies: int
    alone: bool = False
    """Whether an image alone may make a batch of one."""

    def serves(self, run: FittedRun, backbone: Backbone) -> bool:
        """Say whether the untouched image, and the copies if any, are what a run needs, too."""
        copies = bool(self.copies and run.record.tta)
        mine, other = (
            embedding_fields(spec.model_dump(mode="json"), copies=copies)
            for spec in (self.extraction, run.extraction)
        )
        return self.backbone is backbone and mine == other

    def embed(self, images: Sequence[_Decoded]) -> _Rows | None:
        """Embed all copies of images. None if there are none."""
        copies = [copy for image in images for copy in image.copies]
        parts = [
            self._embed(copies[start : start + BATCH_SIZE])
            for start in range(0, len(copies), BATCH_SIZE)
        ]
        return _Rows(*map(np.concatenate, zip(*parts, strict=True))) if parts else None

    def _embed(self, copies: list[NDArray[np.float32]]) -> _Rows:
        rows = 1 if self.alone and len(copies) == 1 else BATCH_SIZE
        embeddings = embed_filled(self.backbone, copies, rows)
        stored = to_storage(embeddings, self.extraction.storage_dtype)
        # Heads refuse a batch with one bad value in it, and the others are good.
        finite = np.isfinite(stored.reshape(len(stored), -1)).all(axis=1)
        full = np.zeros((BATCH_SIZE, *stored.shape[1:]), stored.dtype)
        full[: len(stored)][finite] = stored[finite]
        main = main_part(full, self.backbone.spec.part_shapes)
        return _Rows(full[: len(stored)], average_over_grid(main)[: len(stored)], finite)


class RunsScorer:
    """Scores image files with several runs. Memory holds a few batches, however many files.

    A file is decoded once, and embedded once for all runs that embed alike: with the same backbone,
    decoding and number format, and the same augmentation if they average over copies. The scores
    of a run are, bit for bit, what it gives alone.

    Parameters
    ----------
    runs
        Runs whose heads score. The heads are loaded and checked here, before the first image.
    backbones
        Backbone of each run, if they are loaded already. See `load_backbones`.
    views
        Whether images are marked that aren't upright frontal chest X-rays.
    try_alone
        Whether each network is tried out first, on nine images. If an embedding is the same in a
        batch of one, a single image is then embedded in a batch of one, which is faster.

    Attributes
    ----------
    runs : tuple of FittedRun
        The runs.
    backbones : tuple of Backbone
        Backbone of each run.

    Raises
    ------
    InputError
        If there is no run, not each has a backbone, or a file of a run is missing or damaged.
    SpecMismatchError, WeightsError
        See `FittedRun.backbone`.

    Examples
    --------
    >>> scorer = RunsScorer([logreg, svm])  # doctest: +SKIP
    >>> for one, other in scorer.score(["a.png", "b.dcm"]):  # doctest: +SKIP
    ...     print(one.path, one.score, other.score)
    """

    def __init__(
        self,
        runs: Sequence[FittedRun],
        backbones: Sequence[Backbone] | None = None,
        *,
        views: bool = True,
        try_alone: bool = False,
    ) -> None:
        for run in runs:
            _ = run.head
        self.runs = tuple(runs)
        self.backbones = tuple(load_backbones(runs) if backbones is None else backbones)
        if not 0 < len(self.runs) == len(self.backbones):
            raise InputError(
                f"{plural(len(self.runs), 'run')} and {plural(len(self.backbones), 'backbone')} "
                "are given",
                "Give one run or more, and the backbone of each.",
                parameter="backbones",
            )
        self._kinds: list[_Kind] = []
        self._kind_of_runs = list(map(self._kind_of, self.runs, self.backbones))
        if try_alone:
            for kind in self._kinds:
                kind.alone = same_alone(kind.backbone, BATCH_SIZE)
        self._checks = [
            ViewCheck(run.reference) if views and run.has_reference else None for run in self.runs
        ]

    def _kind_of(self, run: FittedRun, backbone: Backbone) -> int:
        """Return the number of the kind that serves a run. It is a new one if none did."""
        extraction, tta = run.extraction, run.record.tta
        for number, kind in enumerate(self._kinds):
            if kind.serves(run, backbone):
                if tta > kind.copies:
                    kind.extraction, kind.copies = extraction, tta
                return number
        self._kinds.append(_Kind(backbone, extraction, tta))
        return len(self._kinds) - 1

    def score(self, paths: Iterable[str | Path]) -> Iterator[tuple[ScoredImage, ...]]:
        """Yield the result of each run for each file, in their order.

        Files are taken from `paths` as they are needed, a few batches ahead.
        """
        fewest = min(kind.copies + 1 for kind in self._kinds)
        batch: list[list[_Decoded]] = []
        rows = 0
        for image in self._decode_ahead(paths):
            batch.append(image)
            rows += fewest * any(decoded.copies for decoded in image)
            if rows >= BATCH_SIZE:  # for every kind of embedding
                yield from self._score(batch)
                batch, rows = [], 0
        if batch:
            yield from self._score(batch)

    def _decode_ahead(self, paths: Iterable[str | Path]) -> Iterator[list[_Decoded]]:
        copies = sum(kind.copies + 1 for kind in self._kinds)
        ahead = max(decoder_threads(), BATCHES_AHEAD * BATCH_SIZE // copies)
        waiting: deque[Future[list[_Decoded]]] = deque()
        with ThreadPoolExecutor(decoder_threads()) as decoders:
            try:
                for path in paths:
                    waiting.append(decoders.submit(self._decode, Path(path)))
                    if len(waiting) >= ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _decode(self, path: Path) -> list[_Decoded]:
        """Decode a file for each kind of embedding. Those that decode alike get the same pixels."""
        known: dict[tuple[int, DecodingSpec], _Decoded] = {}
        found = []
        for kind in self._kinds:
            size, spec = kind.backbone.spec.input_size, kind.extraction.decoding
            if (size, spec) not in known:
                known[size, spec] = _decoded(path, size, spec)
            found.append(_with_copies(known[size, spec], kind))
        return found

    def _score(self, batch: list[list[_Decoded]]) -> Iterator[tuple[ScoredImage, ...]]:
        images = list(zip(*batch, strict=True))  # of each kind of embedding
        rows = [kind.embed(own) for kind, own in zip(self._kinds, images, strict=True)]
        scored = [
            _scored(run, images[kind], rows[kind])
            for run, kind in zip(self.runs, self._kind_of_runs, strict=True)
        ]
        after = [self._changed(kind, own, scored) for kind, own in enumerate(images)]
        viewed = [
            [_viewed(check, *pair, after[kind]) for pair in zip(images[kind], own, strict=True)]
            for check, kind, own in zip(self._checks, self._kind_of_runs, scored, strict=True)
        ]
        yield from zip(*viewed, strict=True)

    def _changed(
        self, kind: int, images: Sequence[_Decoded], scored: Sequence[Sequence[ScoredImage]]
    ) -> dict[Path, NDArray[np.float32]]:
        """Embed the images that a run doubts once more, inverted or turned as suits them best."""
        doubted = {
            image.path: image
            for check, number, own in zip(self._checks, self._kind_of_runs, scored, strict=True)
            for image, found in zip(images, own, strict=True)
            if check and number == kind and found.vector is not None
            if check.doubts(image.look, found.vector)
        }
        copies = [
            _Decoded(path, [changed(image.copies[0], image.look.change)])
            for path, image in doubted.items()
        ]
        rows = self._kinds[kind].embed(copies)
        if rows is None:
            return {}
        found = zip(doubted, rows.vectors, rows.finite, strict=True)
        return {path: vector for path, vector, finite in found if finite}


class ImageScorer:
    """Scores image files with a run. Memory holds a few batches, however many files there are.

    Parameters
    ----------
    run
        Run whose head scores. The head is loaded and checked here, before the first image.
    backbone
        The run's backbone, if it is loaded already.
    views
        Whether images are marked that aren't upright frontal chest X-rays.

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

    def __init__(
        self, run: FittedRun, backbone: Backbone | None = None, *, views: bool = True
    ) -> None:
        backbones = [backbone] if backbone is not None else None
        self._scorer = RunsScorer([run], backbones, views=views)
        self.run, self.backbone = run, self._scorer.backbones[0]

    def score(self, paths: Iterable[str | Path]) -> Iterator[ScoredImage]:
        """Yield one result for each file, in their order. An unreadable file has an error.

        Files are taken from `paths` as they are needed, a few batches ahead.
        """
        return (image for (image,) in self._scorer.score(paths))


def load_backbones(runs: Sequence[FittedRun], weights: str | None = None) -> list[Backbone]:
    """Load the backbone of each run. Runs of the same backbone share one.

    Parameters
    ----------
    runs
        Runs.
    weights
        Place of the weights of the first run's backbone. None looks where they were.

    Raises
    ------
    SpecMismatchError, WeightsError
        See `FittedRun.backbone`.

    Examples
    --------
    >>> one, other = load_backbones([logreg, svm])  # doctest: +SKIP
    """
    specs = [run.extraction.backbone for run in runs]
    loaded: list[Backbone] = []
    for number, (run, spec) in enumerate(zip(runs, specs, strict=True)):
        first = specs.index(spec)
        loaded.append(
            loaded[first] if first < number else run.backbone(weights if number == 0 else None)
        )
    return loaded


def _decoded(path: Path, size: int, spec: DecodingSpec) -> _Decoded:
    try:
        pixels = decode(path, size, spec=spec)
        return _Decoded(path, [pixels], look=look(pixels))
    except UnreadableImageError as error:
        return _Decoded(path, [], error.reason)


def _with_copies(image: _Decoded, kind: _Kind) -> _Decoded:
    """Add the augmented copies of an image that the runs of a kind average over."""
    path = image.path
    if image.error or not kind.copies:
        return image
    try:
        with open_regular(path) as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:  # the file vanished between the two reads
        return _Decoded(path, [], (error.strerror or str(error)).lower())
    augmentation, copies = kind.extraction.augmentation, range(kind.copies + 1)
    return image._replace(
        copies=[make_copy(image.copies[0], augmentation, sha256, copy) for copy in copies]
    )


def _scored(run: FittedRun, images: Sequence[_Decoded], rows: _Rows | None) -> list[ScoredImage]:
    """Return the results of a run. Of an image's copies it takes as many as it averages over."""
    if rows is None:
        return [ScoredImage(str(image.path), error=image.error) for image in images]
    readable = sum(not image.error for image in images)
    own = np.arange(len(rows.finite)).reshape(readable, -1)[:, : run.record.tta + 1]
    scores = iter(_head_scores(run, rows, own.ravel()).reshape(own.shape))
    untouched = iter(own[:, 0])
    found = []
    for image in images:
        path, error = str(image.path), image.error
        if not error:
            row = next(untouched)
            score = float(run.recalibrated(next(scores).mean(keepdims=True))[0])
            if np.isfinite(score):
                found.append(ScoredImage(path, score, rows.embeddings[row], rows.vectors[row]))
                continue
            error = NO_NUMBER_REASON
        found.append(ScoredImage(path, error=error))
    return found


def _viewed(
    check: ViewCheck | None,
    image: _Decoded,
    found: ScoredImage,
    after: Mapping[Path, NDArray[np.float32]],
) -> ScoredImage:
    """Say how an image looks to a run, if the run can tell."""
    if check is None or found.vector is None:
        return found
    return replace(found, view=check.view(image.look, found.vector, after.get(image.path)))


def _head_scores(run: FittedRun, rows: _Rows, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Score rows with a run's head. The score of a row that isn't finite is not a number."""
    found = []
    for start in range(0, len(chosen), BATCH_SIZE):
        part = chosen[start : start + BATCH_SIZE]
        # A head's last digits, too, depend on how many rows it is given.
        full = np.zeros((BATCH_SIZE, *rows.embeddings.shape[1:]), rows.embeddings.dtype)
        full[: len(part)] = rows.embeddings[part]
        found.append(np.where(rows.finite[part], run.head_scores(full)[: len(part)], np.nan))
    return np.concatenate(found)
