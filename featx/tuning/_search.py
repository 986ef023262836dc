"""A search from beginning to end: the study, its trials, and the winner."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna

from featx._progress import SILENT, Progress
from featx._silence import import_tensorflow
from featx.errors import InputError
from featx.tuning._objective import Illustrate, Objective
from featx.tuning._scorer import Scorer
from featx.tuning._spaces import starting_points
from featx.tuning._spec import SearchSpec
from featx.tuning._storage import StudyPlace
from featx.tuning._winner import (
    Winner,
    choose_winner,
    counts,
    require_own_trials,
    seconds_saved,
)
from featx.tuning._workers import Budget, TrialFunction, Work, Worker, run_trials
from featx_cache import Cache, open_cache
from featx_cache.files import make_folder, storage_errors

SCORES_NAME = "scores"


@dataclass(frozen=True, slots=True)
class Search:
    """A search that was done.

    Attributes
    ----------
    spec
        What is searched.
    place
        Where the study lies.
    study
        Optuna's.
    scorer
        Out-of-fold scores of its settings.
    """

    spec: SearchSpec
    place: StudyPlace
    study: optuna.Study
    scorer: Scorer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search has found.

    Attributes
    ----------
    winner
        The best feasible trial.
    trials
        How many there are, by state, and how many don't keep the floor.
    seconds_saved
        By pruning.
    """

    winner: Winner
    trials: dict[str, int]
    seconds_saved: float


@dataclass(frozen=True)
class ScoringRecipe:
    """Makes the objective of a search in any process that can read the cache."""

    cache: Path
    search: str
    folder: Path
    illustrate: Illustrate | None

    def __call__(self) -> TrialFunction:
        """Open the cache and make the objective."""
        search = SearchSpec.model_validate_json(self.search)
        if any(head.keras is not None for head in search.heads):
            import_tensorflow()
        scorer = Scorer(open_cache(self.cache), search, self.folder / SCORES_NAME)
        return Objective(search, scorer, self.illustrate)


def check_budget(budget: Budget) -> None:
    """Refuse a budget that nothing can be found with.

    Raises
    ------
    InputError
        When a number is below one.
    """
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
    place: StudyPlace,
    budget: Budget,
    *,
    illustrate: Illustrate | None = None,
    begun: Callable[[Search], None] = lambda _: None,
    progress: Progress = SILENT,
) -> tuple[Search, Outcome]:
    """Search heads and thresholds, and choose the best feasible trial.

    Parameters
    ----------
    cache
        The embeddings.
    spec
        What is searched.
    place
        Where the study lies; a study that is there goes on.
    budget
        How much, and how.
    illustrate
        Draws trials that are the best so far.
    begun
        Called when the study is there, before its trials.
    progress
        Shows how far it got.

    Returns
    -------
    search : Search
        The study, and the scores of its settings.
    outcome : Outcome
        The winner.

    Raises
    ------
    InputError
        When the search can't be meant.
    SpecMismatchError
        When the study there searches something else, or other embeddings.
    StorageError
        When the storage can't be reached.
    NoFeasibleThresholdError
        When no trial keeps the floor.
    """
    check_budget(budget)
    with storage_errors(place.folder):
        make_folder(place.folder)
    scorer = Scorer(cache, spec, place.folder / SCORES_NAME)
    work = Work(
        place=place,
        identity=json.dumps({**spec.model_dump(mode="json"), **scorer.identity}),
        directions=("maximize", "maximize") if spec.objective == "pareto" else ("maximize",),
        search=spec.model_dump_json(),
        budget=budget,
        recipe=ScoringRecipe(
            cache.path.resolve(), spec.model_dump_json(), place.folder, illustrate
        ),
    )
    worker = Worker(work, Objective(spec, scorer, illustrate), alone=budget.jobs == 1)
    require_own_trials(worker.study, spec)
    if not worker.study.get_trials(deepcopy=False):
        for point in starting_points(spec):
            worker.study.enqueue_trial(point, skip_if_exists=True)
    search = Search(spec, place, worker.study, scorer)
    begun(search)
    names = " and ".join(head.name for head in spec.heads)
    run_trials(
        work,
        worker,
        description=f"Trials ({names})",
        progress=progress,
    )
    winner = choose_winner(worker, spec, scorer)
    return search, Outcome(
        winner, counts(worker.study, spec.accuracy_floor), seconds_saved(worker.study)
    )
