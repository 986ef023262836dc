"""Out-of-fold scores: each image scored by a head that saw none of its patient's images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from featx.errors import InputError
from featx.heads import SVM_COMPONENTS, HeadSpec, KerasHead, build, pooling_of
from featx.progress import SILENT, Advance, Progress
from featx_cache import Cache

FOLDS = 5
FITTED_SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a head is fitted on.

    Attributes
    ----------
    X : ndarray of shape (rows, ...)
        Embeddings, or pooled feature vectors; copies included.
    y : ndarray of shape (rows,), dtype int64
        1 for the positive class.
    table : DataFrame
        One line a row: path, sha256, label, split, group, copy.
    image : ndarray of shape (rows,)
        Which image a row belongs to.
    """

    X: NDArray[Any]
    y: NDArray[np.int64]
    table: pd.DataFrame
    image: NDArray[np.int64]

    @property
    def originals(self) -> NDArray[np.intp]:
        """Rows of untouched images."""
        return np.flatnonzero(self.table["copy"].to_numpy() == 0)

    @property
    def groups(self) -> NDArray[Any]:
        """The patient of each row."""
        return np.asarray(self.table["group"].to_numpy(), dtype=object)


def load_training_data(
    cache: Cache, spec: HeadSpec, *, use_copies: bool, progress: Progress = SILENT
) -> TrainingData:
    """Read the train and val rows of a cache, pooled while reading where the head pools.

    Raises
    ------
    InputError
        When a class is missing from train and val, or embeddings are not finite.
    """
    rows = cache.row_numbers(splits=FITTED_SPLITS, copies=use_copies)
    table = cache.table(rows)
    y = (table["label"] == cache.classes[1]).to_numpy().astype(np.int64)
    if len(np.unique(y)) < 2:
        raise InputError(
            f"the training and validation images in {cache.path} are all {table['label'].iloc[0]}",
            "A head needs both classes.",
        )
    pooling = pooling_of(build(spec))
    parts: list[tuple[NDArray[np.intp], NDArray[Any]]] = []
    with progress.task("Reading embeddings", len(rows), "row") as advance:
        for positions, embeddings in cache.blocks(rows):
            if not np.isfinite(embeddings).all():
                raise InputError(
                    f"the cache {cache.path} holds embeddings that are not finite numbers",
                    "Extract it again with --precision float32 --storage-dtype float32.",
                )
            part = embeddings if pooling is None else pooling.transform(embeddings)
            parts.append((positions, part))
            advance(len(positions))
    X = np.empty((len(rows), *parts[0][1].shape[1:]), parts[0][1].dtype)
    for positions, part in parts:
        X[positions] = part
    image = cache.rows["image"].to_numpy()[rows]
    return TrainingData(X, y, table, image)


def fit_head(
    spec: HeadSpec,
    data: TrainingData,
    rows: NDArray[np.intp],
    advance: Advance = lambda _: None,
) -> Any:
    """Fit a new head on some rows of the training data, counting its `fit_units`.

    Raises
    ------
    InputError
        When the svm has too few patients to be calibrated.
    """
    folds = _folds(data.y[rows], data.groups[rows])
    if spec.name == "svm" and folds < 2:
        raise InputError(
            "the svm needs three patients of each class: one to hold out, two to calibrate on",
            "Add images of more patients, or take --head logreg.",
        )
    components = min(SVM_COMPONENTS, len(rows), data.X.shape[1])
    head = build(spec, calibration_folds=folds, components=components)
    if isinstance(head, KerasHead):
        images = data.image[rows]
        return head.fit(data.X[rows], data.y[rows], images=images, on_epoch=lambda _: advance(1))
    with sklearn.config_context(enable_metadata_routing=True):
        groups = {"groups": data.groups[rows]} if spec.name == "svm" else {}
        head.fit(data.X[rows], data.y[rows], **groups)
    advance(1)
    return head


def fit_units(spec: HeadSpec) -> tuple[int, str]:
    """Return how many units of progress one fit has, and what they are."""
    return (spec.epochs, "epoch") if spec.name == "keras" else (1, "fit")


def out_of_fold(
    spec: HeadSpec, data: TrainingData, *, seed: int, progress: Progress = SILENT
) -> tuple[pd.DataFrame, int]:
    """Score every untouched image by a head fitted on the other patients.

    Returns
    -------
    scores : DataFrame
        One line an image: path, label, group, fold, score.
    folds : int
        How many there were: five, or as many as the rarer class has patients.

    Raises
    ------
    InputError
        When a class has fewer than two patients.
    """
    originals = data.originals
    y, groups = data.y[originals], data.groups[originals]
    folds = _folds(y, groups)
    if folds < 2:
        raise InputError(
            "a class has images of one patient only, so no patient can be held out",
            "Add images of more patients, or check --group-regex.",
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold_of, scores = np.empty(len(originals), np.int64), np.empty(len(originals))
    units, unit = fit_units(spec)
    with progress.task(f"Out-of-fold scores ({spec.name})", folds * units, unit) as advance:
        for fold, (_, held_out) in enumerate(splitter.split(originals, y, groups)):
            kept = ~np.isin(data.groups, groups[held_out])
            head = fit_head(spec, data, np.flatnonzero(kept), advance)
            scores[held_out] = head.predict_proba(data.X[originals[held_out]])[:, 1]
            fold_of[held_out] = fold
    table = data.table.iloc[originals][["path", "label", "group"]].reset_index(drop=True)
    return table.assign(fold=fold_of, score=scores), folds


def _folds(y: NDArray[np.int64], groups: NDArray[Any]) -> int:
    """Five, or as many as the rarer class has patients, so that each fold can have one of each."""
    return min(FOLDS, *(len(set(groups[y == label])) for label in (0, 1)))
