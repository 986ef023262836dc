"""A search from beginning to end: the study, its trials, and the best of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna

from featx._progress import SILENT, Progress
from featx._silence import import_tensorflow
from featx.errors import InputError
from featx.tuning._best_trial import (
    BestTrial,
    choose_best_trial,
    count_trials,
    require_own_trials,
    seconds_saved,
)
from featx.tuning._objective import DrawTrial, Objective
from featx.tuning._scorer import Scorer
from featx.tuning._spaces import starting_points
from featx.tuning._spec import Budget, SearchSpec
from featx.tuning._storage import StudyLocation
from featx.tuning._workers import Task, TrialFunction, Worker, run_trials
from featx_cache import Cache, open_cache
from featx_cache.files import make_folder, storage_errors

SCORES_NAME = "scores"


@dataclass(frozen=True, slots=True)
class Search:
    """A search: its spec, the study, and the out-of-fold scores of its settings."""

    spec: SearchSpec
    location: StudyLocation
    study: optuna.Study
    scorer: Scorer


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Best trial of a search, and number of trials by their state and below a floor."""

    search: Search
    best: BestTrial
    trials: dict[str, int]
    seconds_saved: float


@dataclass(frozen=True)
class ScoringFactory:
    """Makes the objective of a search in any process that can read the cache."""

    cache: Path
    search: str
    folder: Path
    draw: DrawTrial | None

    def __call__(self) -> TrialFunction:
        """Open the cache and make the objective."""
        search = SearchSpec.model_validate_json(self.search)
        if any(head.keras is not None for head in search.heads):
            import_tensorflow()
        scorer = Scorer(open_cache(self.cache), search, self.folder / SCORES_NAME)
        return Objective(search, scorer, self.draw)


def check_budget(budget: Budget) -> None:
    """Refuse a budget that nothing can be found with."""
    if budget.trials < 1:
        raise InputError(
            f"`trials` {budget.trials} searches nothing", "Give it a number such as 100."
        )
    if budget.jobs < 1:
        raise InputError(f"`jobs` {budget.jobs} runs nothing", "Give it a number such as 2.")
    if budget.timeout is not None and budget.timeout <= 0:
        raise InputError(
            f"`timeout` {budget.timeout:g} leaves no time", "Give it a number of seconds."
        )


def search_heads(
    cache: Cache,
    spec: SearchSpec,
    location: StudyLocation,
    budget: Budget,
    *,
    draw: DrawTrial | None = None,
    on_start: Callable[[Search], None] = lambda _: None,
    progress: Progress = SILENT,
) -> SearchResult:
    """Search heads and thresholds, and choose the best trial. A study that is there goes on."""
    check_budget(budget)
    with storage_errors(location.folder):
        make_folder(location.folder)
    scorer = Scorer(cache, spec, location.folder / SCORES_NAME)
    text = spec.model_dump_json()
    task = Task(
        location=location,
        identity=json.dumps(
            {**spec.model_dump(mode="json"), **_maximized(spec), **scorer.identity}
        ),
        directions=("maximize", "maximize") if spec.objective == "pareto" else ("maximize",),
        search=text,
        budget=budget,
        factory=ScoringFactory(cache.path.resolve(), text, location.folder, draw),
    )
    worker = Worker(task, Objective(spec, scorer, draw), repeatable=budget.jobs == 1)
    require_own_trials(worker.study, spec)
    if not worker.study.get_trials(deepcopy=False):
        for point in starting_points(spec):
            worker.study.enqueue_trial(point, skip_if_exists=True)
    search = Search(spec, location, worker.study, scorer)
    on_start(search)
    names = " and ".join(head.name for head in spec.heads)
    run_trials(task, worker, description=f"Trials ({names})", progress=progress)
    best = choose_best_trial(worker, spec, scorer)
    counts = count_trials(worker.study, spec.criterion)
    return SearchResult(search, best, counts, seconds_saved(worker.study))


def _maximized(spec: SearchSpec) -> dict[str, str]:
    """Name what is maximized if it isn't recall, as in studies of earlier versions."""
    objective = spec.criterion.objective
    return {} if objective == "recall" else {"maximized": objective}
