"""Tuning: a search, its winner on fresh folds, and a run like any other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._progress import SILENT, Progress
from featx._scores import Scores
from featx.errors import FeatxError, InputError, SpecMismatchError
from featx.evaluation import Metrics, evaluate_scores
from featx.evaluation._figures import front_figure
from featx.fitting._final_fit import Chosen, Job, final_head, write_run
from featx.fitting._trial_figures import ARTIFACTS_NAME, TrialFigures, attach, write_note
from featx.runs._folder import require_free
from featx.runs._own_files import ARTIFACTS, STUDY, remove_own, require_own
from featx.runs._record import RECORD_NAME, STUDY_NAME, RunRecord, read_record
from featx.thresholds import Promise, candidate_thresholds, promise_threshold
from featx.training import TrainingData, out_of_fold
from featx.tuning import (
    Budget,
    Outcome,
    Search,
    SearchSpec,
    StudyPlace,
    front_table,
    search_heads,
)
from featx.tuning._score_cache import RESULT_NAME
from featx.tuning._storage import JOURNAL_NAME, database_errors, drop_torn_line, masked
from featx_cache import Cache
from featx_cache._spreadsheets import to_csv
from featx_cache.files import LOCK_WAIT_SECONDS, lock, make_folder

FRONT_NAME = "front"
HELP = (
    "Wait for it; or give another `run`, and the same `study` and `storage` to help with its "
    "trials."
)


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What `tune` did.

    Attributes
    ----------
    run
        The run directory.
    outcome
        The winner of the search.
    metrics
        At the run's threshold, out of fold on fresh folds.
    optimism
        Recall and accuracy on the folds of the search, less those on fresh folds, both at the
        search's threshold.
    promise
        What is promised of the threshold; None for nothing.
    record
        What was written to ``run.json``.
    """

    run: Path
    outcome: Outcome
    metrics: Metrics
    optimism: dict[str, float]
    promise: Promise | None
    record: RunRecord


def study_folder(run: Path) -> Path:
    """Return where the study of a run lies until the run is there: beside it."""
    return run.with_name(f"{run.name}.study")


def study_place(run: Path | None, storage: str | None) -> tuple[StudyPlace, Path]:
    """Find the study of a run that `tune` made, or is making.

    Parameters
    ----------
    run
        The run; None where only the storage is known.
    storage
        URL of the database, for a study that isn't in the run. It is never taken from the run,
        which may be a stranger's.

    Returns
    -------
    place : StudyPlace
        With an empty name where only the storage is known.
    artifacts : Path
        Folder of the trials' figures.

    Raises
    ------
    InputError
        When there is no study, or it is in a database and `storage` is None.
    """
    if run is None:
        if storage is None:
            raise InputError(
                "there is no study to show", "Give a RUN that `featx tune` made, or `storage` URL."
            )
        return StudyPlace(Path(), storage, ""), Path(ARTIFACTS_NAME)
    record = read_record(run) if (run / RECORD_NAME).is_file() else None
    folder = run / STUDY_NAME if record is not None else study_folder(run)
    tuning = (record.tuning or {}) if record is not None else {}
    if not folder.is_dir() or (record is not None and not tuning):
        raise InputError(
            f"{run} has no study", "`featx tune CACHE --head logreg --run RUN` makes one."
        )
    if os.path.lexists(folder / JOURNAL_NAME):
        storage = None  # which may be set for other studies
    elif storage is None:
        known = tuning.get("storage")
        known = masked(known) if isinstance(known, str) and known != JOURNAL_NAME else ""
        where = f"; the run says that it is in {known}" if known else ""
        raise InputError(
            f"the study of {run} isn't in the run{where}",
            "Give `storage` URL, or set FEATX_STORAGE: featx connects only where you say.",
        )
    return StudyPlace(folder, storage, str(tuning.get("study", run.name))), folder / ARTIFACTS_NAME


def tune(
    cache: Cache,
    spec: SearchSpec,
    run: str | Path,
    *,
    budget: Budget | None = None,
    study: str | None = None,
    storage: str | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> TuneReport:
    """Search heads, settings and thresholds for the highest recall under an accuracy floor.

    The winner is fitted again, scored out of fold on folds that were shuffled anew, and becomes a
    run. A search that was interrupted goes on when `tune` is called again.

    Parameters
    ----------
    cache
        See `featx_cache.open_cache`.
    spec
        What is searched.
    run
        Directory to write; it appears whole or not at all. Until then the study lies beside it, in
        ``RUN.study``; then it is in ``RUN/study``.
    budget
        How much is searched, and how; None takes 100 trials of TPE.
    study
        Name of the study; None takes the run's.
    storage
        URL of a database; None takes a journal file.
    force
        Replace a run that is there already, and a study beside it that searches something else.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When the run exists, or the search can't be meant.
    SpecMismatchError
        When a study of this name searches something else.
    StorageError
        When the storage can't be reached, or the run not be written.
    NoFeasibleThresholdError
        When no trial keeps the floor, or nothing can be promised; the study is kept.
    """
    target, budget = Path(run), budget or Budget()
    require_free(target, force)
    folder = study_folder(target)
    place = StudyPlace(folder, storage, study or target.name)
    with lock(folder, wait=LOCK_WAIT_SECONDS, hint=HELP), _kept(folder):
        require_free(target, force)  # another search may just have ended
        search, outcome = _search(cache, spec, place, budget, force, progress)
        with database_errors(place):
            report = _conclude(cache, search, outcome, budget, target, force, progress)
        remove_own(folder, STUDY)
    return report


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Give the folder of a study; it stays as long as something was computed."""
    require_own(folder, STUDY, hint="Move it elsewhere, or give another `run`.")
    new = make_folder(folder)
    drop_torn_line(folder / JOURNAL_NAME)
    try:
        yield
    except FeatxError:
        if new and not any(folder.rglob(RESULT_NAME)):  # nothing is lost with it
            remove_own(folder, STUDY)
        raise


def _search(
    cache: Cache,
    spec: SearchSpec,
    place: StudyPlace,
    budget: Budget,
    force: bool,
    progress: Progress,
) -> tuple[Search, Outcome]:
    figures = TrialFigures(place.folder / ARTIFACTS_NAME, cache.classes, spec.accuracy_floor)
    how: dict[str, Any] = {"illustrate": figures, "begun": _note, "progress": progress}
    try:
        return search_heads(cache, spec, place, budget, **how)
    except SpecMismatchError:
        if not force or place.url is not None:
            raise
        progress.note(f"Starting over: {place.folder} had another search. Its scores are kept.")
        (place.folder / JOURNAL_NAME).unlink()
        remove_own(place.folder / ARTIFACTS_NAME, ARTIFACTS)
        return search_heads(cache, spec, place, budget, **how)


def _conclude(
    cache: Cache,
    search: Search,
    outcome: Outcome,
    budget: Budget,
    target: Path,
    force: bool,
    progress: Progress,
) -> TuneReport:
    """Score the winner on fresh folds, fit it on everything, promise what can be, write the run."""
    winner, spec, started = outcome.winner, search.spec, time.perf_counter()
    data, apart = search.scorer.data(winner.spec)
    workplace = None
    if winner.spec.keras is not None and winner.spec.calibration is None:
        workplace = search.place.folder / f"training-{winner.spec.fingerprint[:12]}"
    scores, folds, history = out_of_fold(
        winner.spec,
        data,
        seed=spec.seed + 1,
        accuracy_floor=spec.accuracy_floor,
        workplace=workplace,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    known = Scores.from_table(scores, cache.classes, "out of fold")

    def fresh(threshold: float) -> Metrics:
        return evaluate_scores(known, threshold, seed=spec.seed)

    metrics = fresh(winner.threshold)
    optimism = {
        "recall": winner.recall - metrics.recall,
        "accuracy": winner.accuracy - metrics.accuracy,
    }
    job = Job(winner.spec, target, spec.accuracy_floor, force=force)
    fitted = final_head(data, job, history, workplace=workplace, progress=progress)
    promise = None
    if apart is not None:
        promise = _promise(search, fitted[0], apart, known)
        metrics = fresh(promise.threshold)
    _illustrate(search, outcome, metrics)
    record = write_run(
        data,
        cache,
        job,
        fitted,
        Chosen(
            threshold=metrics.threshold,
            metrics=metrics,
            scores=scores,
            folds=folds,
            history=history,
            search={
                "method": "optuna",
                "trials": outcome.trials["complete"] + outcome.trials["pruned"],
                "snapped_to_sweep": winner.snapped,
            },
            seconds=seconds,
            tuning=_tuning(search, outcome, budget, optimism),
            promise=promise.as_dict() if promise is not None else None,
            images=_images(apart),
            study=search.place.folder,
        ),
        workplace,
    )
    return TuneReport(target, outcome, metrics, optimism, promise, record)


def _promise(
    search: Search,
    head: Any,
    apart: TrainingData,
    trained: Scores,
) -> Promise:
    """Calibrate a promise on patients whom neither the search nor the head has seen."""
    originals, spec = apart.originals, search.spec
    assert spec.guarantee is not None
    return promise_threshold(
        Scores.from_arrays(
            apart.y[originals] == 1,
            head.predict_proba(apart.rows(originals))[:, 1],
            apart.groups[originals],
        ),
        candidate_thresholds(trained),
        accuracy_floor=spec.accuracy_floor,
        confidence=spec.guarantee,
        recall_floor=spec.recall_floor,
        seed=spec.seed,
    )


def _images(apart: TrainingData | None) -> tuple[str, ...]:
    if apart is None:
        return ()
    return tuple(apart.table.iloc[apart.originals]["sha256"])


def _tuning(
    search: Search, outcome: Outcome, budget: Budget, optimism: dict[str, float]
) -> dict[str, Any]:
    """Describe the search for ``run.json``; passwords stay out of it."""
    winner, spec = outcome.winner, search.spec
    return {
        "study": search.place.name,
        "storage": search.place.shown if search.place.url is not None else JOURNAL_NAME,
        "search": spec.model_dump(mode="json", exclude={"heads"}),
        "heads": [head.name for head in spec.heads],
        "sampler": budget.sampler,
        "pruner": budget.pruner,
        "trials": outcome.trials,
        "winner": winner.trial,
        "threshold": winner.threshold,
        "recall": winner.recall,
        "accuracy": winner.accuracy,
        "optimism": optimism,
        "seconds_saved_by_pruning": outcome.seconds_saved,
    }


def _illustrate(search: Search, outcome: Outcome, metrics: Metrics) -> None:
    """Give the study its figures, its table of the Pareto front, and its note."""
    winner, spec, study = outcome.winner, search.spec, search.study
    artifacts = search.place.folder / ARTIFACTS_NAME
    figures = TrialFigures(artifacts, search.scorer.cache.classes, spec.accuracy_floor)
    scored = search.scorer(winner.spec)
    figures(study, search.scorer.truth, scored.scores, winner.threshold)
    if spec.objective == "pareto":
        front = front_table(study)
        trials = front_table(study, everything=True)
        drawn = front_figure(trials, front, spec.accuracy_floor, (winner.recall, winner.accuracy))
        attach(study, {"pareto-front": drawn}, artifacts)
        to_csv(front, search.place.folder / f"{FRONT_NAME}.csv")
        for suffix in ("png", "svg"):
            drawn.savefig(search.place.folder / f"{FRONT_NAME}.{suffix}", dpi=150)
    found = (
        f"**Winner**: trial {winner.trial}, {winner.spec.name} at threshold "
        f"{winner.threshold:.6g}: recall {winner.recall:.4f}, accuracy {winner.accuracy:.4f}. On "
        f"fresh folds, at threshold {metrics.threshold:.6g}: recall {metrics.recall:.4f}, accuracy "
        f"{metrics.accuracy:.4f}."
    )
    _note(search, found)


def _note(search: Search, found: str = "The search goes on.") -> None:
    """Write what the dashboard says of the study."""
    spec = search.spec
    write_note(
        search.study,
        {
            "heads": [head.name for head in spec.heads],
            "objective": spec.objective,
            "accuracy_floor": spec.accuracy_floor,
            "images": len(search.scorer.truth),
            "patients": search.scorer.table["group"].nunique(),
            "outcome": [found],
        },
    )
