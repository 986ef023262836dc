"""Tuning: a search, its best trial on fresh folds, and a run like any other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from featx._arguments import cache_of, wrong_type
from featx._progress import Progress, progress_of
from featx._scores import Scores
from featx.errors import FeatxError, SpecMismatchError
from featx.evaluation import Metrics, evaluate_scores
from featx.fitting._studies import study_folder
from featx.fitting._trial_figures import ARTIFACTS_NAME, TrialFigures, attach, write_note
from featx.fitting._write_run import (
    ChosenPoint,
    FitSettings,
    RunWriter,
    fit_final_head,
    search_record,
)
from featx.heads._head import Head
from featx.plots._style import new_axes, save_figure
from featx.plots._training import pareto_front
from featx.runs import FittedRun
from featx.runs._folder import require_free
from featx.runs._own_files import ARTIFACTS, STUDY, remove_own, require_own
from featx.runs._record_parts import (
    OptimismRecord,
    PromiseRecord,
    TuningRecord,
)
from featx.thresholds import Promise, candidate_thresholds, promise_threshold
from featx.training import TrainingData, out_of_fold
from featx.training._scoring import FOLDS
from featx.tuning import Budget, SearchSpec
from featx.tuning._best_trial import front_table
from featx.tuning._search import SearchResult, search_heads
from featx.tuning._storage import JOURNAL_NAME, StudyLocation, database_errors, drop_torn_line
from featx_cache import Cache
from featx_cache._spreadsheets import to_csv
from featx_cache.files import LOCK_WAIT_SECONDS, lock, make_folder

FRONT_NAME = "front"
BUSY_HINT = (
    "Wait for it. Or give another `run`, and the same `study` and `storage` to help with its "
    "trials."
)
_SEARCH_FILES = shutil.ignore_patterns("scores", "trials", "training-*", ".*", "*.lock", "*.rename")
"""Files that a search needs while it goes on, and a run doesn't."""


def tune(  # noqa: PLR0913
    cache: Cache | str | Path,
    search: SearchSpec,
    run: str | Path,
    *,
    budget: Budget | None = None,
    study: str | None = None,
    storage: str | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> FittedRun:
    """Search heads, settings and thresholds for the best operating point by a criterion.

    By default it is the one of highest recall with accuracy at or above a floor.

    The best trial is fitted again, scored out of fold on folds that were shuffled anew, and becomes
    a run. A search that was interrupted goes on when `tune` is called again.

    Parameters
    ----------
    cache
        Cache of embeddings. See `featx.load_cache`.
    search
        Heads, settings and operating point that are searched.
    run
        Directory to write. It appears whole or not at all. Until then the study lies beside it, in
        ``RUN.study``, and then in ``RUN/study``.
    budget
        Number of trials, time and method. None means 100 trials of TPE.
    study
        Name of the study. None means the run's.
    storage
        URL of a database. None means a journal file.
    force
        Whether a run that is there already is replaced, and a study beside it that searches
        something else.
    progress
        Bars by default. False is silent. An object may show the progress, too.

    Returns
    -------
    FittedRun
        The run. ``run.record.metrics.out_of_fold`` is measured on fresh folds, and
        ``run.record.tuning`` describes the search.

    Raises
    ------
    InputError
        If the run exists, or the search can't be meant.
    SpecMismatchError
        If a study of this name searches something else.
    StorageError
        If the storage can't be reached, or the run not be written.
    NoFeasibleThresholdError
        If no trial keeps the floors, or nothing can be promised. The study is kept.

    Examples
    --------
    >>> search = featx.SearchSpec(heads=(featx.HeadSpec(name="logreg"),))  # doctest: +SKIP
    >>> run = featx.tune(cache, search, "runs/tuned")  # doctest: +SKIP
    >>> run.record.tuning.optimism.recall  # doctest: +SKIP
    0.004
    """
    cache, target = cache_of(cache), Path(run)
    if not isinstance(search, SearchSpec):
        raise wrong_type("search", search, "a SearchSpec")
    budget, shown = budget or Budget(), progress_of(progress)
    require_free(target, force)
    folder = study_folder(target)
    location = StudyLocation(folder, storage, study or target.name)
    with lock(folder, wait=LOCK_WAIT_SECONDS, hint=BUSY_HINT), _kept(folder):
        require_free(target, force)  # another search may just have ended
        found = _search(cache, search, location, budget, force, shown)
        with database_errors(location):
            fitted = _BestTrialRun(cache, found, budget, target, force, shown).write()
        remove_own(folder, STUDY)
    return fitted


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Give the folder of a study. It stays as long as something was computed."""
    require_own(folder, STUDY, hint="Move it elsewhere, or give another `run`.")
    new = make_folder(folder)
    drop_torn_line(folder / JOURNAL_NAME)
    try:
        yield
    except FeatxError:
        if new and not any(folder.rglob("*.npz")):  # no scores, no state of a training
            remove_own(folder, STUDY)
        raise


def _search(
    cache: Cache,
    spec: SearchSpec,
    location: StudyLocation,
    budget: Budget,
    force: bool,
    progress: Progress,
) -> SearchResult:
    figures = TrialFigures(location.folder / ARTIFACTS_NAME, cache.classes, spec.criterion)

    def search() -> SearchResult:
        return search_heads(
            cache, spec, location, budget, draw=figures, on_start=write_note, progress=progress
        )

    try:
        return search()
    except SpecMismatchError:
        if not force or location.url is not None:
            raise
        progress.note(f"Starting over: {location.folder} had another search. Its scores are kept.")
        (location.folder / JOURNAL_NAME).unlink()
        remove_own(location.folder / ARTIFACTS_NAME, ARTIFACTS)
        return search()


@dataclass(frozen=True, slots=True)
class _BestTrialRun:
    """A run to be: the best trial of a search, on fresh folds."""

    cache: Cache
    found: SearchResult
    budget: Budget
    target: Path
    force: bool
    progress: Progress

    def write(self) -> FittedRun:
        """Score the best trial on fresh folds, fit it on everything, and promise what can be."""
        search, best, started = self.found.search, self.found.best, time.perf_counter()
        data, spec = search.scorer.data(best.spec), search.spec
        state = None
        if best.spec.trains_in_epochs:
            state = search.location.folder / f"training-{best.spec.fingerprint[:12]}"
        choose_on = search.scorer.copies.choose_on
        settings = FitSettings(
            best.spec, self.target, spec.criterion, FOLDS, choose_on, force=self.force
        )
        found = out_of_fold(
            best.spec,
            data.searched,
            seed=spec.seed + 1,
            accuracy_floor=settings.accuracy_floor,
            work_folder=state,
            progress=self.progress,
        )
        seconds = time.perf_counter() - started
        scores = found.chosen_on(choose_on, self.cache.classes)
        metrics = evaluate_scores(scores, best.threshold, seed=spec.seed)
        tuning = self._tuning(metrics)
        head = fit_final_head(
            data.searched, settings, found.history, state=state, progress=self.progress
        )
        promise = None
        if data.set_aside is not None:
            promise = self._promise(head.classifier, data.set_aside, scores)
            metrics = evaluate_scores(scores, promise.threshold, seed=spec.seed)
        self._illustrate(metrics)
        trials = self.found.trials
        point = ChosenPoint(
            threshold=metrics.threshold,
            found=found,
            search=search_record(
                trials["complete"] + trials["pruned"],
                snapped=best.snapped,
                note=best.note if promise is None else "",
            ),
            seconds=seconds,
            write_study=partial(shutil.copytree, search.location.folder, ignore=_SEARCH_FILES),
            tuning=tuning,
            promise=PromiseRecord.of(promise) if promise is not None else None,
            images=_images(data.set_aside),
        )
        return RunWriter(self.cache, data.searched, settings, state).write(head, point)

    def _tuning(self, fresh: Metrics) -> TuningRecord:
        """Describe the search for ``run.json``. Passwords stay out of it."""
        search, best, location = self.found.search, self.found.best, self.found.search.location
        return TuningRecord(
            study=location.name,
            storage=location.shown if location.url is not None else JOURNAL_NAME,
            search=search.spec.model_dump(mode="json", exclude={"heads"}),
            heads=tuple(head.name for head in search.spec.heads),
            sampler=self.budget.sampler,
            pruner=self.budget.pruner,
            trials=self.found.trials,
            winner=best.number,
            threshold=best.threshold,
            recall=best.recall,
            accuracy=best.accuracy,
            optimism=OptimismRecord(
                recall=best.recall - fresh.recall, accuracy=best.accuracy - fresh.accuracy
            ),
            seconds_saved_by_pruning=self.found.seconds_saved,
        )

    def _promise(self, head: Head, set_aside: TrainingData, known: Scores) -> Promise:
        """Calibrate a promise on patients whom neither the search nor the head has seen."""
        search = self.found.search
        rows, spec = set_aside.chosen_on(search.scorer.copies.choose_on), search.spec
        assert spec.guarantee is not None
        return promise_threshold(
            Scores.from_arrays(
                set_aside.y[rows] == 1,
                head.predict_proba(set_aside.rows(rows))[:, 1],
                set_aside.groups[rows],
            ),
            candidate_thresholds(known, spec.criterion),
            criterion=spec.criterion,
            confidence=spec.guarantee,
            seed=spec.seed,
        )

    def _illustrate(self, fresh: Metrics) -> None:
        """Give the study its figures, its table of the Pareto front, and its note."""
        search, best = self.found.search, self.found.best
        spec, study, folder = search.spec, search.study, search.location.folder
        artifacts = folder / ARTIFACTS_NAME
        figures = TrialFigures(artifacts, self.cache.classes, spec.criterion)
        figures(study, search.scorer.truth, search.scorer(best.spec).scores, best.threshold)
        if spec.objective == "pareto":
            front = front_table(study)
            trials = front_table(study, everything=True)
            chosen = best.recall, best.accuracy
            axes = pareto_front(trials, front, new_axes(), criterion=spec.criterion, chosen=chosen)
            attach(study, {"pareto-front": axes}, artifacts)
            to_csv(front, folder / f"{FRONT_NAME}.csv")
            for suffix in ("png", "svg"):
                save_figure(axes, folder / f"{FRONT_NAME}.{suffix}", dpi=150)
        write_note(
            search,
            f"**Best trial**: trial {best.number}, {best.spec.name} at threshold "
            f"{best.threshold:.6g}: recall {best.recall:.4f}, accuracy {best.accuracy:.4f}. On "
            f"fresh folds, at threshold {fresh.threshold:.6g}: recall {fresh.recall:.4f}, accuracy "
            f"{fresh.accuracy:.4f}.",
        )


def _images(data: TrainingData | None) -> tuple[str, ...]:
    return () if data is None else tuple(data.table.iloc[data.originals]["sha256"])
