"""Fitting: out-of-fold scores, the operating point, a refit on everything, a run on disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from sklearn.base import BaseEstimator

from featx._arguments import cache_of, require_whole
from featx._progress import Progress, progress_of
from featx.errors import InputError
from featx.extraction._spec import spec_of
from featx.fitting._write_run import (
    ChosenPoint,
    FitSettings,
    RunWriter,
    fit_final_head,
    search_record,
)
from featx.heads import HeadSpec, head_spec
from featx.runs import FittedRun
from featx.runs._folder import require_free
from featx.runs._unfinished import describe_training, unfinished
from featx.thresholds import Criterion, write_study
from featx.thresholds._choose import choose_by
from featx.training import TrainingData, load_training_data, out_of_fold
from featx.training._copies import copies_choice
from featx.training._data import ChooseOn
from featx.training._scoring import FOLDS
from featx.tuning._spec import JOURNAL_NAME
from featx_cache import Cache
from featx_cache._text import plural


def fit(  # noqa: PLR0913
    cache: Cache | str | Path,
    head: str | HeadSpec | BaseEstimator,
    run: str | Path,
    *,
    accuracy_floor: float | None = None,
    recall_floor: float | None = None,
    specificity_floor: float | None = None,
    cost: tuple[float, float] | None = None,
    youden: bool = False,
    folds: int = FOLDS,
    use_copies: bool = True,
    choose_on: ChooseOn | None = None,
    tta: bool = False,
    resume: bool = False,
    force: bool = False,
    trusted: Iterable[str] = (),
    progress: Progress | bool = True,
) -> FittedRun:
    """Fit a head on the train and val images of a cache and choose its operating point.

    Scores come out of fold (stratified, grouped by patient). The threshold is the best one on them
    by the criterion: usually the highest recall subject to accuracy at or above a floor. See
    `featx.choose_threshold`. The final head is fitted on train and val.

    Parameters
    ----------
    cache
        Cache of embeddings, or its folder. See `featx.load_cache`.
    head
        Name of a head, such as ``logreg``, a spec with its settings, or any unfitted classifier of
        scikit-learn. See `featx.heads.head_spec`.
    run
        Directory to write. It appears whole or not at all.
    accuracy_floor, recall_floor, specificity_floor
        Floors that the threshold must keep out of fold, between 0 and 1. If nothing of the
        criterion is given, accuracy must be 0.9. With a recall floor specificity is maximized.
    cost, youden
        Cost of a missed sick patient and of a false alarm, whose expectation is minimized. Or
        whether Youden's index is maximized.
    folds
        Number of folds, at least 2. There are fewer if a class has fewer patients.
    use_copies
        Whether the head is fitted on augmented copies too, if the cache has some. An image counts
        once, however many copies it has.
    choose_on
        Out-of-fold scores that the threshold is chosen on: of ``untouched`` images, of their
        ``copies``, which are disturbed as images are elsewhere, or of ``both``. None is ``both`` if
        the head is fitted on copies (see ``docs/results.md``), else ``untouched``.
    tta
        Whether each score is the mean over the image and its copies (test-time augmentation), here
        and wherever the run is used. Otherwise scores are those of the untouched images.
    resume
        Whether a Keras training that was interrupted goes on. It ends as it would have.
    force
        Whether a run that is there already is replaced.
    trusted
        Types in your own classifier that skops reads from a file only if they are trusted. The
        error of a fit lists them.
    progress
        Bars by default. False is silent. An object may show the progress, too.

    Returns
    -------
    FittedRun
        The run. ``run.record.metrics.out_of_fold`` has the metrics at the operating point. The
        threshold was chosen on the same scores: only the test split tells what to expect.

    Raises
    ------
    InputError
        If the run exists, a floor is out of range, or the cache lacks a class.
    NoFeasibleThresholdError
        If no threshold reaches the floors. No run is written.

    Examples
    --------
    >>> cache = featx.load_cache("embeddings")  # doctest: +SKIP
    >>> run = featx.fit(cache, "logreg", "runs/logreg", accuracy_floor=0.95)  # doctest: +SKIP
    >>> run.record.threshold, run.record.metrics.out_of_fold.recall  # doctest: +SKIP
    (0.412, 0.968)

    With a classifier of scikit-learn:

    >>> forest = sklearn.ensemble.ExtraTreesClassifier()  # doctest: +SKIP
    >>> tree = "sklearn.tree._tree.Tree"
    >>> featx.fit(cache, forest, "runs/forest", trusted=[tree])  # doctest: +SKIP
    """
    cache = cache_of(cache)
    choice = copies_choice(cache, use_copies=use_copies, choose_on=choose_on, tta=tta)
    settings = FitSettings(
        head=head_spec(head, trusted=trusted),
        run=Path(run),
        criterion=Criterion(
            accuracy_floor=accuracy_floor,
            recall_floor=recall_floor,
            specificity_floor=specificity_floor,
            cost=cost,
            youden=youden,
        ),
        folds=folds,
        choose_on=choice.choose_on,
        tta=tta,
        resume=resume,
        force=force,
    )
    check_folds(folds)
    require_free(settings.run, force)
    spec_of(cache)  # a cache that no run can describe is refused before the work
    shown = progress_of(progress)
    data = load_training_data(
        cache,
        settings.head,
        use_copies=choice.use_copies,
        score_copies=choice.score_copies,
        progress=shown,
    )
    return fit_on(data, cache, settings, shown)


def check_folds(folds: int) -> None:
    """Refuse a number of folds that leaves nobody to be held out."""
    require_whole("folds", folds)
    if folds < 2:
        raise InputError(
            f"{plural(folds, 'fold')} can't hold a patient out",
            "Give `folds` at least 2.",
            parameter="folds",
        )


def fit_on(
    data: TrainingData, cache: Cache, settings: FitSettings, progress: Progress
) -> FittedRun:
    """Fit a head on data that was read before. See `fit`."""
    spec, started = settings.head, time.perf_counter()
    _note_components(spec, data, progress)
    with _training_state(data, cache, settings, progress) as state:
        found = out_of_fold(
            spec,
            data,
            seed=spec.seed,
            folds=settings.folds,
            tta=settings.tta,
            accuracy_floor=settings.accuracy_floor,
            work_folder=state,
            progress=progress,
        )
        known = found.chosen_on(settings.choose_on, cache.classes)
        point = choose_by(settings.criterion, known)
        chosen = ChosenPoint(
            threshold=point.threshold,
            found=found,
            search=search_record(point.trials, note=point.note),
            seconds=time.perf_counter() - started,
            write_study=lambda folder: write_study(point, folder / JOURNAL_NAME),
        )
        history = found.history
        head = fit_final_head(data, settings, history, state=state, progress=progress)
        for outcome in history.outcomes:
            progress.note(outcome)
        return RunWriter(cache, data, settings, state).write(head, chosen)


def _training_state(
    data: TrainingData, cache: Cache, settings: FitSettings, progress: Progress
) -> contextlib.AbstractContextManager[Path | None]:
    """Give a folder for the state of a Keras head. The others are done in seconds."""
    if not settings.head.trains_in_epochs:
        return contextlib.nullcontext()
    training = describe_training(
        settings.head,
        spec_of(cache).fingerprint,
        data.table[data.fitted],
        accuracy_floor=settings.accuracy_floor,
        folds=settings.folds,
    )
    return unfinished(settings.run, training, resume=settings.resume, progress=progress)


def _note_components(spec: HeadSpec, data: TrainingData, progress: Progress) -> None:
    settings = spec.baseline
    if settings is not None and settings.components is not None:
        progress.note(
            f"{spec.name}: {data.X.shape[1]:,} features an image ({settings.representation}), "
            f"reduced to {min(settings.components, *data.X.shape)} principal components first"
        )
