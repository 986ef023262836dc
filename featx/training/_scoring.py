"""Out-of-fold scores: each image is scored by a head that saw none of its patient's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx._progress import SILENT, Advance, Progress
from featx._scores import Scores
from featx.errors import InputError
from featx.heads import Head, HeadSpec, KerasHead, PatientFolds, build
from featx.heads._building import fit_arguments, weight_argument
from featx.heads._settings import CUSTOM
from featx.heads._storage import readable_content
from featx.training._data import ChooseOn, TrainingData
from featx.training._history import History
from featx_cache._text import first_line

FOLDS = 5


class EpochCallback(Protocol):
    """A function that looks at a training after each epoch. It may raise to end it."""

    def __call__(self, epoch: int, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        """See labels and scores of the held-out images after an epoch, counted from 1."""


class OutOfFold(NamedTuple):
    """Scores of images by heads that saw none of their patients.

    Attributes
    ----------
    scores : DataFrame
        One line an image: path, label, group, fold, score.
    folds
        Number of folds: as many as were asked for, or as the rarer class has patients.
    history
        Epochs of each fold's training, if the head trains in epochs.
    copies : DataFrame
        One line a copy: path, label, group, fold, copy, score. Empty if there are none.

    Examples
    --------
    >>> import pandas as pd
    >>> from featx.training import History
    >>> table = pd.DataFrame({"label": [0, 1], "group": [7, 8], "score": [0.2, 0.9]})
    >>> found = OutOfFold(table, 2, History(), table.assign(score=[0.4, 0.6]))
    >>> found.chosen_on("both", (0, 1)).score.tolist()
    [0.2, 0.9, 0.4, 0.6]
    """

    scores: pd.DataFrame
    folds: int
    history: History
    copies: pd.DataFrame

    def chosen_on(self, which: ChooseOn, classes: tuple[str, str]) -> Scores:
        """Return the scores that a threshold is chosen on."""
        return scores_of(self.scores, self.copies, which, classes)


def scores_of(
    untouched: pd.DataFrame, copies: pd.DataFrame, which: ChooseOn, classes: tuple[str, str]
) -> Scores:
    """Take the scores of untouched images, of their copies, or of both."""
    tables = {"untouched": [untouched], "copies": [copies], "both": [untouched, copies]}
    origin = {"untouched": "", "copies": ", copies", "both": ", with copies"}[which]
    return Scores.from_table(pd.concat(tables[which]), classes, f"out of fold{origin}")


def fit_head(
    spec: HeadSpec,
    data: TrainingData,
    rows: NDArray[np.intp],
    advance: Advance = lambda _: None,
    *,
    accuracy_floor: float = 0.9,
    work_folder: Path | None = None,
    callbacks: Sequence[Any] = (),
) -> Head:
    """Fit a new head on some rows of the training data.

    Parameters
    ----------
    spec
        Head and its settings.
    data, rows
        Training data, and numbers of the rows that are fitted on.
    advance
        Function that counts finished units of `fit_units`.
    accuracy_floor
        Accuracy floor that the Keras head's stopping rule falls back on.
    work_folder
        Folder for the state of a head that trains in epochs, from which a killed fit resumes.
    callbacks
        Keras callbacks for a head that trains in epochs.

    Raises
    ------
    InputError
        If there are too few patients to hold some out, or values are not finite.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from featx.heads import HeadSpec
    >>> X, y = np.arange(20.0)[:, None], np.arange(20) // 10
    >>> table = pd.DataFrame({"group": range(20), "copy": 0})
    >>> data = TrainingData(X, y, table, np.arange(20))
    >>> head = fit_head(HeadSpec(name="logreg"), data, data.originals)
    >>> head.predict([[1.0], [18.0]])
    array([0, 1])
    """
    folds = PatientFolds(FOLDS).get_n_splits(None, data.y[rows], data.groups[rows])
    if spec.calibration is not None and folds < 2:
        raise InputError(
            f"a calibrated {spec.name} needs three patients of each class: one to hold out, two to "
            "calibrate on",
            "Add images of more patients, or take `head='logreg'`.",
        )
    head = build(spec, accuracy_floor=accuracy_floor, parts=data.parts)
    y = data.y[rows]
    known = {"groups": data.groups[rows], "images": data.image[rows], "copies": data.copy[rows]}
    arguments = fit_arguments(spec, **known) | weight_argument(head, data.weights(rows))
    try:
        if isinstance(head, KerasHead):
            fitted: Head = head.fit(
                data.rows(rows),
                y,
                **arguments,
                on_epoch=lambda _: advance(1),
                work_folder=work_folder,
                callbacks=callbacks,
            )
            return fitted
        if spec.baseline is not None and spec.baseline.components is not None:
            head = _fit_reduced(spec, head, data, rows, arguments)
        else:
            head.fit(data.rows(rows), y, **arguments)
    except ValueError as error:
        raise InputError(
            f"the {spec.name} head can't be fitted: {first_line(error)}",
            "Add images of more patients, or choose other settings.",
        ) from error
    advance(1)
    return head


def _fit_reduced(
    spec: HeadSpec,
    head: Any,
    data: TrainingData,
    rows: NDArray[np.intp],
    arguments: dict[str, NDArray[Any]],
) -> Head:
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
    own = {argument.removeprefix(f"{name}__"): given for argument, given in arguments.items()}
    classifier.fit(features, data.y[rows], **own)
    fitted: Head = Pipeline([*preparation.steps, (name, classifier)])
    return fitted


def fit_units(spec: HeadSpec) -> tuple[int, str]:
    """Return the number of units of progress in one fit, and what a unit is."""
    if spec.trains_in_epochs and spec.keras is not None:
        return spec.keras.epochs * spec.keras.ensemble, "epoch"
    return 1, "fit"


def out_of_fold(  # noqa: PLR0913
    spec: HeadSpec,
    data: TrainingData,
    *,
    seed: int,
    folds: int = FOLDS,
    tta: bool = False,
    accuracy_floor: float = 0.9,
    work_folder: Path | None = None,
    after_epoch: EpochCallback | None = None,
    progress: Progress = SILENT,
) -> OutOfFold:
    """Score every image, and its copies, by a head fitted on the other patients.

    Parameters
    ----------
    spec
        Head and its settings.
    data
        Training data.
    seed
        Seed of the folds.
    folds
        Number of folds, at most.
    tta
        Whether each score is averaged over the image's copies. They have no scores of their own
        then.
    accuracy_floor, work_folder
        See `fit_head`.
    after_epoch
        Function that sees the held-out scores after each epoch of the first fold, if the head
        trains in epochs. It may raise to end everything.
    progress
        Progress that is shown.

    Raises
    ------
    InputError
        If a class has fewer than two patients, or a classifier of the user's own holds types that
        aren't trusted.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from featx.heads import HeadSpec
    >>> X, y = np.arange(20.0)[:, None], np.arange(20) // 10
    >>> columns = {"path": "a.png", "label": y, "group": range(20), "copy": 0}
    >>> data = TrainingData(X, y, pd.DataFrame(columns), np.arange(20))
    >>> found = out_of_fold(HeadSpec(name="logreg"), data, seed=0)
    >>> found.folds, found.scores["score"].round().astype(int).tolist() == y.tolist()
    (5, True)
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
    scored = originals if tta else np.arange(len(data.y))
    fold_of, scores = np.empty(len(data.y), np.int64), np.empty(len(data.y))
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
                work_folder=work_folder / f"fold-{fold + 1}" if work_folder is not None else None,
                callbacks=_callbacks(spec, data, originals[held_out], after_epoch)
                if fold == 0
                else (),
            )
            if fold == 0 and spec.name == CUSTOM:  # not only after all folds
                readable_content(head, spec.trusted)
            history.add(f"fold {fold + 1}", head)
            rows = scored[np.isin(data.image[scored], data.image[originals[held_out]])]
            scores[rows] = _score(head, data, rows, tta)
            fold_of[rows] = fold
    table = data.table[["path", "label", "group"]].assign(
        fold=fold_of, copy=data.copy, score=scores
    )
    untouched = table.iloc[originals].drop(columns="copy").reset_index(drop=True)
    copies = table.iloc[np.setdiff1d(scored, originals)].reset_index(drop=True)
    return OutOfFold(untouched, folds, history, copies)


def _callbacks(
    spec: HeadSpec,
    data: TrainingData,
    held_out: NDArray[np.intp],
    after_epoch: EpochCallback | None,
) -> tuple[Any, ...]:
    """Make the callbacks of a training that is watched."""
    if after_epoch is None or not spec.trains_in_epochs:
        return ()
    from featx.heads._training import EpochScores

    truth = data.y[held_out] == 1
    return (
        EpochScores(data.rows(held_out), lambda epoch, scores: after_epoch(epoch, truth, scores)),
    )


def _score(
    head: Head, data: TrainingData, wanted: NDArray[np.intp], tta: bool
) -> NDArray[np.float64]:
    """Score rows, or average the scores of each image and its copies."""
    if not tta:
        return np.asarray(head.predict_proba(data.rows(wanted))[:, 1], np.float64)
    rows = np.flatnonzero(np.isin(data.image, data.image[wanted]))
    return mean_by_image(
        head.predict_proba(data.rows(rows))[:, 1], data.image[rows], data.image[wanted]
    )


def mean_by_image(
    scores: NDArray[Any], images: NDArray[Any], wanted: NDArray[Any]
) -> NDArray[np.float64]:
    """Average the scores of each image's rows. The result has one value for each in `wanted`."""
    of_image = pd.Series(scores, dtype=np.float64).groupby(images).mean()
    return np.asarray(of_image.reindex(wanted), np.float64)
