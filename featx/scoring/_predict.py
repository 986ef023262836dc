"""Image files to verdicts, one after another: decoded ahead in threads, embedded in batches."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from featx.backbones import Backbone
from featx.data import in_words, walk_images
from featx.errors import InputError
from featx.evaluation import FAR, average
from featx.extraction._pipeline import DECODERS, embed_filled, to_storage
from featx.images import UnreadableImageError, decode, make_copy
from featx_cache.files import open_regular

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun

PREDICT_BATCH = 8
BATCHES_AHEAD = 2
SURPRISE = 0.01
"""How unlikely so many images unlike the training set have to be before a warning is due."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one image file.

    Attributes
    ----------
    path
        As it was given.
    score
        Of the positive class, 0..1, what the threshold is compared with; None when there is none.
    probability
        The score as a calibrated probability; see `Run.probability`. None without a score.
    threshold
        The run's operating point.
    prediction
        A class name; empty without a score.
    uncertain
        Whether the score lies in the run's band around the threshold (`RunRecord.band`). None
        without a score, and from runs that have no band.
    unlike_training
        Whether `distance` is beyond that of all but 1 % of the training images; None without it.
    distance
        Mahalanobis distance of the image's averaged embedding to the training images; None without
        a score, and from runs of earlier versions, which don't know their training images.
    error
        Why there is no score; empty when there is one.
    """

    path: str
    score: float | None
    probability: float | None
    threshold: float
    prediction: str
    uncertain: bool | None = None
    unlike_training: bool | None = None
    distance: float | None = None
    error: str = ""


class _Decoded(NamedTuple):
    """An image file's pixels, with its copies where scores are averaged; or why it has none."""

    path: Path
    copies: list[NDArray[np.float32]]
    error: str = ""


class Predictor:
    """Scores image files with a run; memory holds a few batches, however many files there are.

    All that the run has for it is read, and checked, when this is made.

    Parameters
    ----------
    run
        Which run.
    backbone
        The run's own, loaded.

    Raises
    ------
    InputError
        When a file of the run is missing or damaged.
    """

    def __init__(self, run: FittedRun, backbone: Backbone) -> None:
        self._run, self._backbone = run, backbone
        # Runs of earlier versions have no such files; a new run that lacks them is damaged.
        self._reference = run.reference if run.record.files else None
        if self._reference is not None:
            _ = self._reference.limit
        _ = run.head, run.calibration

    def predict(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """Yield a prediction for each file, in their order."""
        batch: list[_Decoded] = []
        for decoded in self._decode_ahead(paths):
            batch.append(decoded)
            if sum(len(image.copies) for image in batch) >= PREDICT_BATCH:
                yield from self._verdicts(batch)
                batch = []
        yield from self._verdicts(batch)

    def _decode_ahead(self, paths: Iterable[str | Path]) -> Iterator[_Decoded]:
        """Decode in order, a few batches ahead of the network and no more."""
        ahead = max(DECODERS, BATCHES_AHEAD * PREDICT_BATCH // (self._run.record.tta + 1))
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
        extraction, tta = self._run.record.extraction, self._run.record.tta
        try:
            pixels = decode(path, self._backbone.spec.input_size, spec=extraction.decoding)
            if not tta:
                return _Decoded(path, [pixels])
            with open_regular(path) as file:
                sha256 = hashlib.sha256(file.read()).hexdigest()
        except UnreadableImageError as error:
            return _Decoded(path, [], error.reason)
        except OSError as error:  # it went away between the two reads
            return _Decoded(path, [], (error.strerror or str(error)).lower())
        copies = range(tta + 1)
        return _Decoded(
            path, [make_copy(pixels, extraction.augmentation, sha256, copy) for copy in copies]
        )

    def _verdicts(self, batch: list[_Decoded]) -> Iterator[Prediction]:
        threshold = self._run.record.threshold
        scores, vectors = self._embed([copy for image in batch for copy in image.copies])
        start = 0
        for image in batch:
            stop = start + len(image.copies)
            if image.error:
                yield Prediction(str(image.path), None, None, threshold, "", error=image.error)
            else:
                # The distance is that of the image itself, which comes before its copies.
                yield self._verdict(image.path, scores[start:stop], vectors[start])
            start = stop

    def _embed(
        self, copies: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
        """Return the head's score of each copy, and its embedding averaged over the grid."""
        scores: list[NDArray[np.float64]] = [np.empty(0)]
        vectors: list[NDArray[np.float32]] = []
        for start in range(0, len(copies), PREDICT_BATCH):
            part = copies[start : start + PREDICT_BATCH]
            embeddings = embed_filled(self._backbone, part, PREDICT_BATCH)
            stored = to_storage(embeddings, self._run.record.extraction.storage_dtype)
            # Heads refuse a batch with one bad value in it, and the others are good.
            finite = np.isfinite(stored.reshape(len(stored), -1)).all(axis=1)
            # A head's last digits, too, depend on how many rows it is given.
            full = np.zeros((PREDICT_BATCH, *stored.shape[1:]), stored.dtype)
            full[: len(stored)][finite] = stored[finite]
            scored = self._run.head_scores(full)[: len(stored)]
            scores.append(np.where(finite, scored, np.nan))
            vectors += list(average(full)[: len(stored)])
        return np.concatenate(scores), vectors

    def _verdict(
        self, path: Path, scores: NDArray[np.float64], vector: NDArray[np.float32]
    ) -> Prediction:
        record = self._run.record
        score = float(self._run.recalibrated(scores.mean(keepdims=True))[0])
        if not np.isfinite(score):
            error = "its score is not a number, so there is no verdict on it"
            return Prediction(str(path), None, None, record.threshold, "", error=error)
        distance = unlike = uncertain = None
        if self._reference is not None:
            distance = float(self._reference.distance(vector[None])[0])
            unlike = distance > self._reference.limit
        if record.band is not None:
            uncertain = record.band[0] <= score <= record.band[1]
        return Prediction(
            str(path),
            score,
            float(self._run.probability(np.array([score]))[0]),
            record.threshold,
            record.classes[int(score >= record.threshold)],
            uncertain,
            unlike,
            distance,
        )


def shift_warning(unlike: int, images: int) -> str:
    """Say so when more images are unlike the training set than chance explains.

    Of images of the training population 1 % are (see `featx.evaluation.Reference`). A binomial test
    (`scipy.stats.binomtest`, one-sided) at 1 % decides.

    Parameters
    ----------
    unlike, images
        How many of how many.

    Returns
    -------
    str
        One line; empty when there is nothing to say.
    """
    expected = 1.0 - FAR
    if unlike < 2 or binomtest(unlike, images, expected, "greater").pvalue >= SURPRISE:
        return ""
    return (
        f"{unlike} of {images} images are unlike those that the run was fitted on, where "
        f"{expected:.0%} would be expected: this looks like another population, on which its "
        "threshold may be wrong. See `featx evaluate` and `featx calibrate`."
    )


def find_images(
    paths: Iterable[str | Path], left_out: Counter[str] | None = None
) -> Iterator[Path]:
    """Find image files: files as given, folders with everything below them.

    All paths are looked at before the first image is given; folders are walked through as images
    are asked for.

    Parameters
    ----------
    paths
        Files and folders. A file that is named is given whatever it is.
    left_out
        Is told, while folders are walked through, how many files in them were left out for which
        reason; `featx.data.in_words` says it in a line.

    Returns
    -------
    iterator of Path
        Of a folder sorted.

    Raises
    ------
    InputError
        When a path doesn't exist or a folder has no images.
    """
    given = [Path(path) for path in paths]
    for path in given:
        if path.is_dir():
            others: Counter[str] = Counter()
            if next(walk_images(path, others), None) is None:
                said = f" ({in_words(others)})" if others else ""
                raise InputError(
                    f"no images in {path}{said}", "Give image files, or folders that have some."
                )
        elif not path.exists():
            raise InputError(f"there is no image or folder {path}", "Check the path.")
    return (
        image
        for path in given
        for image in (walk_images(path, left_out) if path.is_dir() else (path,))
    )
