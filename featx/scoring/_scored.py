"""Embedded images that a run wasn't fitted on, and its scores of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Progress, progress_of
from featx._scores import Scores
from featx.backbones._parts import main_part
from featx.errors import InputError
from featx.evaluation import average_over_grid
from featx.runs._fitted import FittedRun
from featx.scoring._left_out import LeftOut, fresh_images, without_near
from featx.training._data import require_copies
from featx.training._scoring import mean_by_image
from featx_cache import Cache

ALL_SPLITS = "all"


@dataclass(frozen=True, eq=False)
class Scored:
    """Images that a run wasn't fitted on, and its scores of them.

    Attributes
    ----------
    split
        Name of the split, or ``all``.
    table : DataFrame
        One row an image: path, sha256, label, split, group, score, and the manifest's other
        columns.
    vectors : ndarray of shape (images, channels), dtype float32
        Embeddings of the untouched images, averaged over the grid. Those of several layers are the
        deepest layer's.
    classes
        Names of the negative and the positive class.
    left_out
        Images that aren't here, because the run was fitted on them or on their patients.
    data
        Name of the data that the images are from.

    Examples
    --------
    >>> table = pd.DataFrame({"label": ["ill", "well"], "score": [0.9, 0.2], "group": ["a", "b"]})
    >>> Scored("test", table, np.zeros((2, 8), np.float32), ("well", "ill")).scores
    Scores(2 images of 2 patients, 1 ill, test)
    """

    split: str
    table: pd.DataFrame
    vectors: NDArray[np.float32]
    classes: tuple[str, str]
    left_out: LeftOut = field(default_factory=LeftOut)
    data: str = ""

    @cached_property
    def scores(self) -> Scores:
        """Labels, scores and patients of the images."""
        return Scores.from_table(self.table, self.classes, self.split)

    @property
    def excluded(self) -> int:
        """Number of images that were left out."""
        return self.left_out.total

    def __repr__(self) -> str:
        return repr(self.scores)


def score_images(
    run: FittedRun,
    cache: Cache,
    split: str | None = "test",
    *,
    keep_known_patients: bool = False,
    progress: Progress | bool = True,
) -> Scored:
    """Score the images of a split that a run wasn't fitted on.

    Left out are images that are byte-identical to one that the run was fitted on, other images of
    the same patients (see `featx.scoring._left_out.known_patients`), and near duplicates (see
    `featx.evaluation.Reference.has`).

    Parameters
    ----------
    run
        Run that scores.
    cache
        Cache of embeddings by the run's own backbone.
    split
        Split to take. ``all`` takes every image. None takes the test split, or every image if there
        is none.
    keep_known_patients
        Whether images of the same patients and near duplicates are scored, too: for data in which
        other people have the same names.
    progress
        Bars by default. False is silent.

    Raises
    ------
    InputError
        If the split is empty, nothing is left of it, or a score isn't a number.
    SpecMismatchError
        If the embeddings are another backbone's.

    Examples
    --------
    >>> score_images(run, featx.load_cache("embeddings"))  # doctest: +SKIP
    Scores(62 images of 41 patients, 31 PNEUMONIA, test)
    """
    run.require_match(cache)
    split = choose_split(cache.images["split"], split, str(cache.path))
    rows = cache.row_numbers(splits=None if split == ALL_SPLITS else (split,), copies=False)
    table = cache.table(rows)
    fresh, known, left_out = fresh_images(run, cache, table, keep=keep_known_patients)
    rows, table = rows[fresh], table[fresh].reset_index(drop=True)
    image = cache.rows["image"].to_numpy()[rows]
    details = cache.details.iloc[image].reset_index(drop=True)
    scores, vectors = _scores(run, cache, rows, progress_of(progress))
    if wrong := int((~np.isfinite(scores)).sum()):
        first = table["path"][int(np.argmax(~np.isfinite(scores)))]
        raise InputError(
            f"{wrong} of {len(scores)} scores by the run {run.path} are not finite numbers "
            f"(the first is that of {first})",
            f"Look for damage in {cache.path} with `cache.verify`, or fit the run again.",
        )
    columns = [name for name in details.columns if name not in table.columns]
    table = table.drop(columns="copy").assign(score=scores).join(details[columns])
    if left_out.unchecked or not run.has_reference:
        return Scored(split, table, vectors, run.record.classes, left_out)
    near = run.reference.has(vectors)
    stays, left_out = without_near(run, near, known[fresh], left_out, keep=keep_known_patients)
    table = table[stays].reset_index(drop=True)
    return Scored(split, table, vectors[stays], run.record.classes, left_out)


def choose_split(splits: pd.Series[str], split: str | None, data: str) -> str:
    """Return the split to evaluate on.

    Parameters
    ----------
    splits
        Split of each image.
    split
        Split that was asked for. None takes ``test``, or ``all`` if no image is in that split.
    data
        Name of the images, for the message.
    """
    names = sorted(splits.unique())
    if split is None:
        return "test" if "test" in names else ALL_SPLITS
    if split != ALL_SPLITS and split not in names:
        raise InputError(
            f"{data} has no image in split {split!r}",
            f"Its splits are: {', '.join(names)}. `split=all` takes every image.",
            parameter="split",
        )
    return split


def _scores(
    run: FittedRun, cache: Cache, rows: NDArray[np.intp], progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the scores of untouched images, and their embeddings averaged over the grid.

    If the run averages over copies, so do the scores. The embeddings don't.
    """
    image, copy = (cache.rows[name].to_numpy() for name in ("image", "copy"))
    tta = run.record.tta
    if tta:
        scored = np.flatnonzero(np.isin(image, image[rows]) & (copy <= tta))
        if require_copies(cache, scored) != tta:
            raise InputError(
                f"the run {run.path} averages over {tta} copies of each image, and {cache.path} "
                "has fewer",
                f"Extract again with `copies={tta}` and `copies_of='all'`.",
            )
    else:
        scored = rows
    scores = np.empty(len(scored))
    parts = run.record.extraction.backbone.part_shapes
    channels = (parts[0] if parts else cache.embedding_shape)[-1]
    vectors = np.empty((len(scored), channels), np.float32)
    with progress.task("Scoring", len(scored), "row") as advance:
        for positions, embeddings in cache.blocks(scored):
            scores[positions] = run.head_scores(embeddings)
            vectors[positions] = average_over_grid(main_part(embeddings, parts))
            advance(len(positions))
    found = run.recalibrated(mean_by_image(scores, image[scored], image[rows]))
    return found, vectors[np.searchsorted(scored, rows)]
