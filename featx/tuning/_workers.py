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
from featx._silence import silent_optuna, start_silent_tracker
from featx.errors import FeatxError
from featx.tuning._objective import SNAPPED, SOURCE
from featx.tuning._samplers import grid_is_done, make_pruner, make_sampler
from featx.tuning._spec import Budget, SearchSpec
from featx.tuning._storage import (
    Direction,
    RunningTrials,
    StudyLocation,
    database_errors,
    open_storage,
    open_study,
)

FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)
WAIT_SECONDS = 0.5
TrialFunction = Callable[[optuna.Trial], float | tuple[float, float]]


class ObjectiveFactory(Protocol):
    """Makes the objective in whichever process runs trials. It can be pickled and hashed."""

    def __call__(self) -> TrialFunction:
        """Make it."""


@dataclass(frozen=True)
class Task:
    """All that a process needs to run trials."""

    location: StudyLocation
    identity: str
    directions: tuple[Direction, ...]
    search: str
    budget: Budget
    factory: ObjectiveFactory


class Worker:
    """Runs trials in this process.

    They are repeatable, so that they depend on the seed only, if one process runs them all.
    """

    def __init__(
        self, task: Task, objective: TrialFunction | None = None, *, repeatable: bool
    ) -> None:
        search = SearchSpec.model_validate_json(task.search)
        storage = open_storage(task.location)
        self.study = open_study(task.location, storage, json.loads(task.identity), task.directions)
        self._location = task.location
        self._objective = objective or task.factory()
        self._running = None
        if task.location.url is None:
            self._running = RunningTrials(self.study, task.location.folder / "trials")
        with silent_optuna():
            # A study that goes on must not suggest again what it began with.
            seeds = [search.seed, len(self.study.get_trials(deepcopy=False))]
            seed = np.random.SeedSequence([*seeds, *([] if repeatable else [os.getpid()])])
            self.study.sampler = make_sampler(
                task.budget.sampler, search, int(seed.generate_state(1)[0])
            )
            self.study.pruner = make_pruner(task.budget.pruner, search)

    def run_one(self) -> None:
        """Begin a trial and finish it."""
        if self._running is not None:
            self._running.retry_dead()
        with silent_optuna(), database_errors(self._location):
            self.study.optimize(self._one, n_trials=1)

    def run_point(self, params: dict[str, Any]) -> None:
        """Run one trial of given parameters that the exact sweep found."""
        with silent_optuna(), database_errors(self._location):
            self.study.enqueue_trial(params, user_attrs={SOURCE: SNAPPED})
        self.run_one()

    def wait_for_dead(self) -> None:
        """Queue trials again whose process died. Wait a moment if that isn't sure yet."""
        while self._running is not None and self._running.retry_dead():
            time.sleep(WAIT_SECONDS)

    def _one(self, trial: optuna.Trial) -> float | tuple[float, float]:
        if self._running is None:
            return self._objective(trial)
        with self._running.running(trial.number):
            return self._objective(trial)


def finished(study: optuna.Study) -> int:
    """Count the trials that are done, without those that the exact sweep added."""
    trials = study.get_trials(deepcopy=False, states=FINISHED_STATES)
    return sum(SOURCE not in trial.user_attrs for trial in trials)


def run_trials(
    task: Task,
    worker: Worker,
    *,
    description: str,
    progress: Progress = SILENT,
) -> None:
    """Run trials until the study has enough of them, time is up, or the grid is done."""
    started, budget = time.monotonic(), task.budget
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
        if budget.jobs == 1:
            trials = _in_this_process(worker, goes_on)
        else:
            trials = _in_worker_processes(task, before, goes_on)
        for _ in trials:
            advance(1)
    if (done := finished(worker.study)) < budget.trials:
        why = "the grid has no more points" if grid_is_done(worker.study) else "time is up"
        progress.note(f"Stopped after {done} of {budget.trials} trials: {why}.")


def _in_this_process(worker: Worker, goes_on: Callable[[], bool]) -> Iterator[None]:
    while goes_on():
        worker.run_one()
        yield


def _in_worker_processes(task: Task, before: int, goes_on: Callable[[], bool]) -> Iterator[None]:
    """Hand tickets to worker processes, one a trial, and take them back in any order."""
    tickets = itertools.takewhile(lambda _: goes_on(), range(task.budget.trials - before))
    threads = max(1, joblib.cpu_count() // task.budget.jobs)
    start_silent_tracker()
    with joblib.parallel_config("loky", inner_max_num_threads=threads):
        parallel = joblib.Parallel(
            n_jobs=task.budget.jobs,
            batch_size=1,
            pre_dispatch=task.budget.jobs,
            return_as="generator_unordered",
        )
        results = parallel(joblib.delayed(_run_one)(task, threads) for _ in tickets)
    try:
        with contextlib.closing(results):
            yield from results
    except (TerminatedWorkerError, BrokenProcessPool) as error:
        raise FeatxError(
            "a worker process died",
            "Most often memory ran out: lower `jobs`. Finished trials are kept. The same command "
            "goes on.",
        ) from error


def _run_one(task: Task, threads: int) -> None:
    _worker_of_process(task, threads).run_one()


@functools.lru_cache(maxsize=1)
def _worker_of_process(task: Task, threads: int) -> Worker:
    """Make a worker once a process."""
    worker = Worker(task, repeatable=False)
    if tf := sys.modules.get("tensorflow"):
        with contextlib.suppress(RuntimeError):  # it has begun to compute already
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    return worker
