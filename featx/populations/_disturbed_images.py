"""Disturbed images of held-out patients, scored by heads that don't know them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Progress
from featx.backbones import Backbone
from featx.extraction._batch_size import DEFAULT_BATCH_SIZE
from featx.extraction._pipeline import decoder_threads, embed_filled, to_storage
from featx.heads import Head
from featx.images import AugmentationSpec, UnreadableImageError, decode, make_copy
from featx.runs._fitted import FittedRun

IMAGES_AHEAD = 4
NOT_FINITE = "its embedding is not of finite numbers"


@dataclass(frozen=True, slots=True)
class DisturbedScores:
    """Scores of disturbed images.

    Attributes
    ----------
    scores : ndarray of shape (images, augmentations), dtype float64
        Scores of the run's kind. NaN for an image that was left out.
    left_out
        Path of an image -> reason why it has no scores.
    """

    scores: NDArray[np.float64]
    left_out: dict[str, str]


def choose_images(table: pd.DataFrame, images: int | None, seed: int) -> NDArray[np.intp]:
    """Draw images, one a patient, with the classes' shares of all images.

    An image's place in the draw depends on its content and the seed alone, not on its place in the
    table.

    Parameters
    ----------
    table
        One row an image: path, sha256, label, group.
    images
        Number of images. None takes all, all of a patient's among them.
    seed
        Seed of the draw.

    Returns
    -------
    ndarray
        Positions in the table, in ascending order. They are fewer if there are fewer patients.
    """
    if images is None:
        return np.arange(len(table))
    drawn = [hashlib.sha256(f"{seed}:{sha256}".encode()).digest() for sha256 in table["sha256"]]
    order = table.reset_index(drop=True).assign(drawn=drawn).sort_values(["drawn", "path"])
    firsts = order.drop_duplicates("group")
    shares = table["label"].value_counts(normalize=True)
    chosen = [
        firsts.index[firsts["label"] == label][: max(2, round(images * float(share)))]
        for label, share in shares.items()
    ]
    return np.sort(np.concatenate(chosen)).astype(np.intp)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A run, its heads of the folds, and the fold in which each image was held out.

    Attributes
    ----------
    run
        Run that says how images are decoded, embedded and averaged over copies.
    heads
        Head of each fold.
    fold : ndarray of shape (images,)
        Fold of each image.
    """

    run: FittedRun
    heads: Sequence[Head]
    fold: NDArray[np.int64]


def score_disturbed(
    held_out: Sequence[HeldOut],
    backbone: Backbone,
    images: pd.DataFrame,
    augmentations: Sequence[AugmentationSpec],
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Progress,
) -> list[DisturbedScores]:
    """Score images under each augmentation by the head of the fold that held their patient out.

    Memory holds a few images and a batch, however many there are. An image's scores don't depend on
    the others. Images are embedded once for all runs.

    Parameters
    ----------
    held_out
        Runs that embed alike and average over equally many copies, with their heads.
    backbone
        The runs' backbone.
    images
        One row an image: file, path, sha256.
    augmentations
        Augmentations, of which copy 1 is scored.
    batch_size
        Number of rows in a forward pass.
    progress
        Progress that is shown.
    """
    run = held_out[0].run
    each = run.record.tta + 1
    rows = len(augmentations) * each
    found = np.full((len(held_out), len(images), rows), np.nan)
    left_out: dict[str, str] = {}
    paths = images["path"].tolist()

    def score(batch: list[tuple[int, int, NDArray[np.float32]]]) -> None:
        embeddings = embed_filled(backbone, [pixels for _, _, pixels in batch], batch_size)
        stored = to_storage(embeddings, run.extraction.storage_dtype)
        finite = np.isfinite(stored.reshape(len(stored), -1)).all(axis=1)
        # A head's last digits, too, depend on how many rows it is given.
        full = np.zeros((batch_size, *stored.shape[1:]), stored.dtype)
        full[: len(stored)][finite] = stored[finite]
        numbers = np.array([number for number, _, _ in batch])
        places = np.array([place for _, place, _ in batch])
        for one, of_run in zip(held_out, found, strict=True):
            for fold in np.unique(one.fold[numbers]):
                scores = np.asarray(one.heads[fold].predict_proba(full)[: len(batch), 1], float)
                own = finite & (one.fold[numbers] == fold)
                of_run[numbers[own], places[own]] = scores[own]

    batch: list[tuple[int, int, NDArray[np.float32]]] = []
    with progress.task("Disturbed images", len(images) * rows, "image") as advance:
        for number, copies, reason in _copies_ahead(run, images, augmentations):
            if reason:
                left_out[paths[number]] = reason
                advance(rows)
            for place, pixels in enumerate(copies):
                batch.append((number, place, pixels))
                if len(batch) == batch_size:
                    score(batch)
                    advance(len(batch))
                    batch = []
        if batch:
            score(batch)
            advance(len(batch))
    return [
        _scores_of(one.run, of_run.reshape(len(images), len(augmentations), each), paths, left_out)
        for one, of_run in zip(held_out, found, strict=True)
    ]


def _scores_of(
    run: FittedRun, found: NDArray[np.float64], paths: Sequence[str], unread: Mapping[str, str]
) -> DisturbedScores:
    """Return a run's scores from those of (images, augmentations, copies)."""
    left_out = dict(unread)
    for image in map(int, np.flatnonzero(~np.isfinite(found).all(axis=(1, 2)))):
        left_out.setdefault(paths[image], NOT_FINITE)
        found[image] = np.nan
    means = found.mean(axis=2)
    return DisturbedScores(run.recalibrated(means.ravel()).reshape(means.shape), left_out)


Copies = tuple[int, list[NDArray[np.float32]], str]
"""Position of an image, its disturbed copies, and the reason if there are none."""


def _copies_ahead(
    run: FittedRun, images: pd.DataFrame, augmentations: Sequence[AugmentationSpec]
) -> Iterator[Copies]:
    """Decode and disturb images in order, a few ahead of the network."""
    waiting: deque[Future[Copies]] = deque()
    with ThreadPoolExecutor(decoder_threads()) as decoders:
        try:
            for number, (file, sha256) in enumerate(
                zip(images["file"], images["sha256"], strict=True)
            ):
                waiting.append(decoders.submit(_copies, run, number, file, sha256, augmentations))
                if len(waiting) >= IMAGES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)


def _copies(
    run: FittedRun,
    number: int,
    file: Path,
    sha256: str,
    augmentations: Sequence[AugmentationSpec],
) -> Copies:
    extraction = run.extraction
    try:
        size = extraction.backbone.input_size
        pixels = decode(file, size, spec=extraction.decoding, sha256=sha256)
    except UnreadableImageError as error:
        return number, [], error.reason
    disturbed = [make_copy(pixels, augmentation, sha256, 1) for augmentation in augmentations]
    copies = range(run.record.tta + 1)
    own = extraction.augmentation
    return number, [make_copy(each, own, sha256, copy) for each in disturbed for copy in copies], ""
