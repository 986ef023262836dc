"""What a search costs beside the fits: thresholds on remembered scores, and several processes.

Usage::

    python benchmarks/tune.py CACHE [--trials 1000] [--storage postgresql+psycopg://user@host/database]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

import featx
from featx._progress import SILENT
from featx._silence import silent_optuna
from featx.heads import HeadSpec
from featx.thresholds import sweep
from featx.tuning import Budget, SearchSpec
from featx.tuning._samplers import make_sampler
from featx.tuning._search import Search, search_heads
from featx.tuning._storage import StudyLocation
from featx.tuning._workers import Task, Worker, run_trials
from featx_cache import Cache

SECONDS = 0.2


def thresholds(cache: Cache, trials: int, floor: float, folder: Path) -> tuple[Search, float]:
    """Time a study of thresholds alone, its one round of scores included."""
    spec = SearchSpec(heads=(HeadSpec.choose("logreg"),), accuracy_floor=floor, threshold_only=True)
    started = time.perf_counter()
    found = search_heads(cache, spec, StudyLocation(folder, None, "study"), Budget(trials))
    return found.search, time.perf_counter() - started


def in_memory(search: Search, trials: int) -> float:
    """Time the same sampler on the same scores, with nothing kept."""
    points = sweep(search.scorer.truth, search.scorer(search.spec.heads[0]).scores)

    def objective(trial: optuna.Trial) -> float:
        threshold = trial.suggest_float("threshold", 0.0, 1.0)
        place = int((points.thresholds < threshold).sum()) - 1
        trial.set_constraint(
            "accuracy_floor",
            search.spec.criterion.floors["accuracy"] - float(points.accuracy[place]),
        )
        return float(points.recall[place])

    with silent_optuna():
        study = optuna.create_study(
            direction="maximize", sampler=make_sampler("tpe", search.spec, 0)
        )
        started = time.perf_counter()
        study.optimize(objective, n_trials=trials)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Sleeper:
    """An objective that takes a while and no processor."""

    def __call__(self) -> Any:
        def objective(trial: optuna.Trial) -> float:
            time.sleep(SECONDS)
            return trial.suggest_float("threshold", 0.0, 1.0)

        return objective


def sleeping(jobs: int, trials: int, folder: Path, url: str | None) -> float:
    """Time a sleeping trial in so many processes, once they are there."""
    search = SearchSpec(heads=(HeadSpec.choose("logreg"),), threshold_only=True)

    def task(total: int) -> Task:
        return Task(
            StudyLocation(folder, url, f"{jobs}-jobs"),
            json.dumps({}),
            ("maximize",),
            search.model_dump_json(),
            Budget(total, jobs=jobs, sampler="random"),
            Sleeper(),
        )

    worker = Worker(task(trials), repeatable=False)
    run_trials(task(jobs), worker, description="warming up", progress=SILENT)
    before, started = len(worker.study.trials), time.perf_counter()
    run_trials(task(trials), worker, description="trials", progress=SILENT)
    return (time.perf_counter() - started) / (trials - before)


def main() -> None:
    """Print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--storage", metavar="URL", help="database for the second table")
    parser.add_argument("--sleeps", type=int, default=100)
    parser.add_argument("--floor", type=float, default=0.95)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cache = featx.load_cache(options.cache)
        search, seconds = thresholds(cache, options.trials, options.floor, folder)
        scored = search.scorer(search.spec.heads[0]).seconds
        lean = in_memory(search, options.trials)
        print(f"\n| {options.trials} trials of the threshold of logreg | s | ratio |")
        print("|---|---|---|")
        print(f"| `featx tune --threshold-only`, journal file | {seconds:.1f} | 1 |")
        share = scored / seconds
        print(f"| of it, the one round of out-of-fold scores | {scored:.1f} | {share:.2f} |")
        print(f"| bare Optuna in memory, scores given | {lean:.1f} | {lean / seconds:.2f} |")
        again = scored * options.trials
        print(f"| scores anew in each trial (computed) | {again:.0f} | {again / seconds:.0f} |")
        alone = sleeping(1, options.sleeps, folder, options.storage)
        print(f"\n| processes, {SECONDS} s a trial asleep | s a trial | times one process |")
        print("|---|---|---|")
        print(f"| 1 | {alone:.3f} | 1 |")
        for jobs in (2, 4):
            each = sleeping(jobs, options.sleeps, folder, options.storage)
            print(f"| {jobs} | {each:.3f} | {alone / each:.2f} |")


if __name__ == "__main__":
    main()
