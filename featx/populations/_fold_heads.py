"""Heads of the folds, each with the patients that it hasn't seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx._progress import Progress
from featx.errors import InputError
from featx.extraction._spec import parts_of
from featx.heads import Head, PatientFolds
from featx.heads._building import with_parts
from featx.runs._fitted import FittedRun
from featx.training import TrainingData, fit_head, fit_units, mean_by_image
from featx_cache import Cache


@dataclass(frozen=True, slots=True)
class FoldHeads:
    """Heads of the folds, and what they say of the training data.

    Attributes
    ----------
    heads
        Head of each fold, which takes embeddings as the run's own does.
    fold : ndarray of shape (rows,), dtype int64
        Fold in which a row's patient was held out.
    scores : ndarray of shape (rows,), dtype float64
        Score of each row, copies too, by the head of its fold, before any recalibration.
    """

    heads: tuple[Head, ...]
    fold: NDArray[np.int64]
    scores: NDArray[np.float64]


def fitted_rows(run: FittedRun, data: TrainingData) -> NDArray[np.bool_]:
    """Say which rows the run was fitted on: as many copies of an image as it took."""
    return data.copy <= run.record.copies


def fit_fold_heads(
    run: FittedRun, cache: Cache, data: TrainingData, progress: Progress
) -> FoldHeads:
    """Fit a head on each fold of the run, and score the patients held out.

    The folds are the run's own, so that the scores of untouched images are its out-of-fold scores.

    Raises
    ------
    InputError
        If a class has one patient only.
    """
    spec, originals = run.record.head, data.originals
    y, groups = data.y[originals], data.groups[originals]
    splitter = PatientFolds(max(run.record.folds, 2), spec.seed)
    folds = splitter.get_n_splits(None, y, groups)
    if folds < 2:
        raise InputError(
            "a class has images of one patient only, so no patient can be held out",
            "Give a cache with images of more patients.",
        )
    parts = tuple(part.shape for part in parts_of(cache))
    fold, scores = np.empty(len(data.y), np.int64), np.empty(len(data.y))
    heads = []
    # As the fit did, because last digits depend on how many rows a head is given.
    untouched = data.copy == 0
    together = run.record.tta or run.record.copies or run.record.choose_on != "untouched"
    kinds = (np.ones_like(untouched),) if together else (untouched, ~untouched)
    units, unit = fit_units(spec)
    with progress.task(f"Heads of the folds ({spec.name})", folds * units, unit) as advance:
        for number, (_, held_out) in enumerate(splitter.split(originals, y, groups)):
            unseen = np.isin(data.groups, groups[held_out])
            rows = np.flatnonzero(~unseen & fitted_rows(run, data))
            floor = run.record.criterion.stopping_floor
            head = fit_head(spec, data, rows, advance, accuracy_floor=floor)
            for kind in kinds:
                if (unseen & kind).any():
                    part = np.flatnonzero(unseen & kind)
                    scores[part] = row_scores(head, data, part)
            fold[unseen] = number
            heads.append(with_parts(head, parts))
    return FoldHeads(tuple(heads), fold, scores)


def row_scores(head: Head, data: TrainingData, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a head's scores of rows of the training data."""
    return np.asarray(head.predict_proba(data.rows(rows))[:, 1], np.float64)


def image_scores(
    run: FittedRun, data: TrainingData, rows: NDArray[np.intp], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the run's scores of untouched images from scores of the data's rows.

    They are averaged over as many copies as the run averages over, and recalibrated where it is.

    Parameters
    ----------
    run, data
        Run, and training data with the copies.
    rows : ndarray of shape (images,)
        Rows of the untouched images.
    scores : ndarray of shape (rows of the data,)
        Scores of all rows. Those of other images don't count.
    """
    if not run.record.tta:
        return run.recalibrated(scores[rows])
    averaged = data.copy <= run.record.tta
    return run.recalibrated(mean_by_image(scores[averaged], data.image[averaged], data.image[rows]))
