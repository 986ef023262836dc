"""Out-of-fold scores: each image scored by a head that saw none of its patient's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx._progress import SILENT, Advance, Progress
from featx.errors import InputError
from featx.heads import HeadSpec, KerasHead, PatientFolds, build, fit_arguments
from featx.training._data import TrainingData
from featx.training._history import History

FOLDS = 5


class Watch(Protocol):
    """Someone who looks at a training after each epoch; may raise to end it."""

    def __call__(self, epoch: int, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        """See labels and scores of the held-out images after an epoch, counted from 1."""


def fit_head(
    spec: HeadSpec,
    data: TrainingData,
    rows: NDArray[np.intp],
    advance: Advance = lambda _: None,
    *,
    accuracy_floor: float = 0.9,
    workplace: Path | None = None,
    callbacks: Sequence[Any] = (),
) -> Any:
    """Fit a new head on some rows of the training data, counting its `fit_units`.

    Parameters
    ----------
    spec, data, rows
        Which head, on what.
    advance
        Counts units done.
    accuracy_floor
        What the Keras head's stopping rule falls back on.
    workplace
        Where the Keras head keeps its state, so that it can go on after a kill.
    callbacks
        Of Keras, for a Keras head that isn't calibrated.

    Raises
    ------
    InputError
        When there are too few patients to hold some out, or values are not finite.
    """
    folds = PatientFolds(FOLDS).get_n_splits(None, data.y[rows], data.groups[rows])
    if spec.calibration is not None and folds < 2:
        raise InputError(
            f"a calibrated {spec.name} needs three patients of each class: one to hold out, two to "
            "calibrate on",
            "Add images of more patients, or take `head` logreg.",
        )
    head = build(spec, accuracy_floor=accuracy_floor)
    y = data.y[rows]
    known = {"groups": data.groups[rows], "images": data.image[rows], "copies": data.copy[rows]}
    try:
        if isinstance(head, KerasHead):
            X = data.rows(rows)
            return head.fit(
                X,
                y,
                **known,
                on_epoch=lambda _: advance(1),
                workplace=workplace,
                callbacks=callbacks,
            )
        if spec.baseline is not None and spec.baseline.components is not None:
            head = _fit_reduced(spec, head, data, rows, known)
        else:
            head.fit(data.rows(rows), y, **fit_arguments(spec, **known))
    except ValueError as error:
        raise InputError(
            f"the {spec.name} head can't be fitted: {str(error).splitlines()[0]}",
            "Add images of more patients, or choose other settings (`featx heads`).",
        ) from error
    advance(1)
    return head


def _fit_reduced(
    spec: HeadSpec,
    head: Pipeline,
    data: TrainingData,
    rows: NDArray[np.intp],
    known: dict[str, NDArray[Any]],
) -> Pipeline:
    """Fit a pipeline whose first steps another head may have fitted on the same rows.

    Finding the principal components takes longer than all that comes after them.
    """
    assert spec.baseline is not None
    *first, (name, classifier) = head.steps
    key = (spec.baseline.components, spec.seed, rows.tobytes())
    if key not in data.reduced:
        preparation = Pipeline(first)
        data.reduced[key] = (preparation, preparation.fit_transform(data.rows(rows)))
    preparation, features = data.reduced[key]
    arguments = {
        argument.removeprefix(f"{name}__"): value
        for argument, value in fit_arguments(spec, **known).items()
    }
    classifier.fit(features, data.y[rows], **arguments)
    return Pipeline([*preparation.steps, (name, classifier)])


def fit_units(spec: HeadSpec) -> tuple[int, str]:
    """Return how many units of progress one fit has, and what they are."""
    if spec.keras is not None and spec.calibration is None:
        return spec.keras.epochs * spec.keras.ensemble, "epoch"
    return 1, "fit"


def out_of_fold(
    spec: HeadSpec,
    data: TrainingData,
    *,
    seed: int,
    folds: int = FOLDS,
    tta: bool = False,
    accuracy_floor: float = 0.9,
    workplace: Path | None = None,
    watch: Watch | None = None,
    progress: Progress = SILENT,
) -> tuple[pd.DataFrame, int, History]:
    """Score every untouched image by a head fitted on the other patients.

    Parameters
    ----------
    spec, data
        Which head, on what.
    seed
        Of the folds.
    folds
        Number of folds, at most.
    tta
        Average each score over the image's copies.
    accuracy_floor, workplace
        See `fit_head`.
    watch
        Is told after each epoch of the first fold's training, where it has epochs: the epoch, from
        1, and labels and scores of the held-out images. It may raise to end it all.
    progress
        Shows how far it got.

    Returns
    -------
    scores : DataFrame
        One line an image: path, label, group, fold, score.
    folds : int
        Number of folds: as many as were asked for, or as the rarer class has patients.
    history : History
        Of each fold's training, where it has epochs.

    Raises
    ------
    InputError
        When a class has fewer than two patients.
    """
    originals = data.originals
    y, groups = data.y[originals], data.groups[originals]
    splitter = PatientFolds(folds, seed)
    folds = splitter.get_n_splits(None, y, groups)
    if folds < 2:
        raise InputError(
            "a class has images of one patient only, so no patient can be held out",
            "Add images of more patients, or check `group_regex`.",
        )
    fold_of, scores = np.empty(len(originals), np.int64), np.empty(len(originals))
    history = History()
    units, unit = fit_units(spec)
    with progress.task(f"Out-of-fold scores ({spec.name})", folds * units, unit) as advance:
        for fold, (_, held_out) in enumerate(splitter.split(originals, y, groups)):
            kept = ~np.isin(data.groups, groups[held_out]) & data.fitted
            head = fit_head(
                spec,
                data,
                np.flatnonzero(kept),
                advance,
                accuracy_floor=accuracy_floor,
                workplace=workplace / f"fold-{fold + 1}" if workplace is not None else None,
                callbacks=_watching(spec, data, originals[held_out], watch) if fold == 0 else (),
            )
            history.add(f"fold {fold + 1}", head)
            scores[held_out] = _score(head, data, originals[held_out], tta)
            fold_of[held_out] = fold
    table = data.table.iloc[originals][["path", "label", "group"]].reset_index(drop=True)
    return table.assign(fold=fold_of, score=scores), folds, history


def _watching(
    spec: HeadSpec, data: TrainingData, held_out: NDArray[np.intp], watch: Watch | None
) -> tuple[Any, ...]:
    """Make the callbacks of a training that someone watches."""
    if watch is None or spec.keras is None or spec.calibration is not None:
        return ()
    from featx.heads._callbacks import ScoresEachEpoch

    truth = data.y[held_out] == 1
    return (
        ScoresEachEpoch(data.rows(held_out), lambda epoch, scores: watch(epoch, truth, scores)),
    )


def _score(
    head: Any, data: TrainingData, originals: NDArray[np.intp], tta: bool
) -> NDArray[np.float64]:
    """Score untouched images, or their copies too and take the mean."""
    if not tta:
        return np.asarray(head.predict_proba(data.rows(originals))[:, 1], np.float64)
    rows = np.flatnonzero(np.isin(data.image, data.image[originals]))
    return mean_by_image(
        head.predict_proba(data.rows(rows))[:, 1], data.image[rows], data.image[originals]
    )


def mean_by_image(
    scores: NDArray[Any], images: NDArray[Any], wanted: NDArray[Any]
) -> NDArray[np.float64]:
    """Average the scores of each image's rows; one value for each image in `wanted`."""
    of_image = pd.Series(scores, dtype=np.float64).groupby(images).mean()
    return np.asarray(of_image.reindex(wanted), np.float64)
