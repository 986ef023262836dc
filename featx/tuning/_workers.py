"""Running the trials of a study, in this process or in several."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import joblib
import numpy as np
import optuna
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError
from optuna.trial import TrialState

from featx._progress import SILENT, Progress
from featx._silence import silent_optuna
from featx.errors import FeatxError
from featx.tuning._objective import SNAPPED, SOURCE
from featx.tuning._samplers import grid_is_done, make_pruner, make_sampler
from featx.tuning._spec import PrunerName, SamplerName, SearchSpec
from featx.tuning._storage import (
    Direction,
    RunningTrials,
    StudyPlace,
    database_errors,
    open_storage,
    open_study,
)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
WAIT_SECONDS = 0.5
TrialFunction = Callable[[optuna.Trial], float | tuple[float, float]]


class ObjectiveRecipe(Protocol):
    """Makes the objective in whichever process runs trials; it can be pickled and hashed."""

    def __call__(self) -> TrialFunction:
        """Make it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is searched, and how.

    Attributes
    ----------
    trials
        Finished trials that the study is to have, those of other machines included.
    timeout
        Seconds after which no trial begins; None for no limit.
    jobs
        Processes.
    sampler, pruner
        See `featx.tuning._samplers`.
    """

    trials: int = 100
    timeout: float | None = None
    jobs: int = 1
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "median"


@dataclass(frozen=True)
class Work:
    """All that a process needs to run trials.

    Attributes
    ----------
    place
        Where the study lies.
    identity, directions
        See `featx.tuning._storage.open_study`; the identity as JSON.
    search, budget
        What is searched, and how.
    recipe
        Of the objective.
    """

    place: StudyPlace
    identity: str
    directions: tuple[Direction, ...]
    search: str
    budget: Budget
    recipe: ObjectiveRecipe


class Worker:
    """Runs trials in this process.

    Parameters
    ----------
    work
        What to do.
    objective
        What the recipe makes, where it was made already.
    alone
        Whether no other process of this command runs trials: then they repeat.
    """

    def __init__(self, work: Work, objective: TrialFunction | None = None, *, alone: bool) -> None:
        search = SearchSpec.model_validate_json(work.search)
        storage = open_storage(work.place)
        self.study = open_study(work.place, storage, json.loads(work.identity), work.directions)
        self._place = work.place
        self._objective = objective or work.recipe()
        self._running = None
        if work.place.url is None:
            self._running = RunningTrials(self.study, work.place.folder / "trials")
        with silent_optuna():
            # A study that goes on must not suggest again what it began with.
            seeds = [search.seed, len(self.study.get_trials(deepcopy=False))]
            seed = np.random.SeedSequence([*seeds, *([] if alone else [os.getpid()])])
            self.study.sampler = make_sampler(
                work.budget.sampler, search, int(seed.generate_state(1)[0])
            )
            self.study.pruner = make_pruner(work.budget.pruner, search)

    def run_one(self) -> None:
        """Begin a trial and finish it."""
        if self._running is not None:
            self._running.retry_dead()
        with silent_optuna(), database_errors(self._place):
            self.study.optimize(self._one, n_trials=1)

    def run_point(self, params: dict[str, Any]) -> None:
        """Run one trial of given parameters that the exact sweep found."""
        with silent_optuna(), database_errors(self._place):
            self.study.enqueue_trial(params, user_attrs={SOURCE: SNAPPED})
        self.run_one()

    def wait_for_dead(self) -> None:
        """Queue trials again whose process died; wait a moment where that isn't sure yet."""
        while self._running is not None and self._running.retry_dead():
            time.sleep(WAIT_SECONDS)

    def _one(self, trial: optuna.Trial) -> float | tuple[float, float]:
        if self._running is None:
            return self._objective(trial)
        with self._running.running(trial.number):
            return self._objective(trial)


def finished(study: optuna.Study) -> int:
    """Count the trials that are done, without those that the exact sweep added."""
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    return sum(SOURCE not in trial.user_attrs for trial in trials)


def run_trials(
    work: Work,
    worker: Worker,
    *,
    description: str,
    progress: Progress = SILENT,
) -> None:
    """Run trials until the study has enough of them, time is up, or the grid is done.

    Parameters
    ----------
    work
        What to do.
    worker
        Of this process; it runs the trials where there is one job, and watches otherwise.
    description
        For the progress bar.
    progress
        Shows how far it got.
    """
    started, budget = time.monotonic(), work.budget
    before = finished(worker.study)
    if before >= budget.trials:
        progress.note(f"The study has {before} finished trials already.")

    def goes_on() -> bool:
        if budget.timeout is not None and time.monotonic() - started >= budget.timeout:
            return False
        return finished(worker.study) < budget.trials and not grid_is_done(worker.study)

    worker.wait_for_dead()
    with progress.task(description, budget.trials, "trial") as advance:
        advance(min(before, budget.trials))
        for _ in _here(worker, goes_on) if budget.jobs == 1 else _elsewhere(work, before, goes_on):
            advance(1)
    if (done := finished(worker.study)) < budget.trials:
        why = "the grid has no more points" if grid_is_done(worker.study) else "time is up"
        progress.note(f"Stopped after {done} of {budget.trials} trials: {why}.")


def _here(worker: Worker, goes_on: Callable[[], bool]) -> Iterator[None]:
    while goes_on():
        worker.run_one()
        yield


def _elsewhere(work: Work, before: int, goes_on: Callable[[], bool]) -> Iterator[None]:
    """Hand tickets to worker processes, one a trial, and take them back in any order."""
    tickets = itertools.takewhile(lambda _: goes_on(), range(work.budget.trials - before))
    threads = max(1, joblib.cpu_count() // work.budget.jobs)
    with joblib.parallel_config("loky", inner_max_num_threads=threads):
        parallel = joblib.Parallel(
            n_jobs=work.budget.jobs,
            batch_size=1,
            pre_dispatch=work.budget.jobs,
            return_as="generator_unordered",
        )
        results = parallel(joblib.delayed(_in_a_worker)(work, threads) for _ in tickets)
    try:
        with contextlib.closing(results):
            yield from results
    except (TerminatedWorkerError, BrokenProcessPool) as error:
        raise FeatxError(
            "a worker process died",
            "Most often memory ran out: lower `jobs`. Finished trials are kept; the same command "
            "goes on.",
        ) from error


def _in_a_worker(work: Work, threads: int) -> None:
    _worker_of_process(work, threads).run_one()


@functools.lru_cache(maxsize=1)
def _worker_of_process(work: Work, threads: int) -> Worker:
    """Make a worker once a process."""
    worker = Worker(work, alone=False)
    if tf := sys.modules.get("tensorflow"):
        with contextlib.suppress(RuntimeError):  # it has begun to compute already
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    return worker
