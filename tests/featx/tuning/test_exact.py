"""The search's answer is the exact sweep's, whatever the scores look like."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from featx._scores import Scores as LabelledScores
from featx.errors import FeatxError, NoFeasibleThresholdError
from featx.heads import HeadSpec
from featx.thresholds import sweep
from featx.thresholds._one_standard_error import choose_point
from featx.tuning import Budget, SearchSpec
from featx.tuning._best_trial import best_feasible_trial, choose_best_trial
from featx.tuning._objective import Objective
from featx.tuning._score_store import HeadScores
from featx.tuning._storage import StudyLocation
from featx.tuning._workers import Task, Worker, run_trials

LOGREG = HeadSpec.choose("logreg")


class Scores:
    """Stands in for a scorer: scores by class weight, which needs no embeddings."""

    def __init__(self, truth: NDArray[np.bool_], scores: dict[Any, Any], seconds: Any = None):
        self.truth, self.scores, self.seconds = truth, scores, seconds or {}
        self.table = pd.DataFrame({"patient": range(len(truth))})

    def __call__(self, spec: HeadSpec, after_epoch: Any = None) -> HeadScores:
        del after_epoch
        key = spec.settings.class_weight  # type: ignore[union-attr]
        return HeadScores(self.scores[key], self.seconds.get(key, 1.0))

    def has(self, spec: HeadSpec) -> bool:
        del spec
        return True


@dataclass(frozen=True)
class Nothing:
    """A factory that isn't needed: the objective is there."""

    def __call__(self) -> Any:
        raise AssertionError


def worker_of(search: SearchSpec, scores: Scores, folder: Path, trials: int) -> Worker:
    """Run a search on given scores."""
    folder.mkdir()
    task = Task(
        StudyLocation(folder, None, "study"),
        json.dumps({}),
        ("maximize",),
        search.model_dump_json(),
        Budget(trials),
        Nothing(),
    )
    worker = Worker(task, Objective(search, scores), repeatable=True)  # type: ignore[arg-type]
    run_trials(task, worker, description="trials")
    return worker


def score_set(number: int) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
    """Draw labels and scores of all kinds: ties, duplicates, classes at an end, few images."""
    rng = np.random.default_rng(number)
    images = int(rng.integers(2, [4, 12, 60, 400][number % 4]))
    truth = rng.random(images) < rng.choice([0.05, 0.3, 0.74])
    truth[:2] = [True, False]
    scores = np.clip(rng.normal(0.4 + 0.25 * truth, rng.choice([0.02, 0.2, 0.5])), 0, 1)
    match number % 5:
        case 1:
            scores = scores.round(1)
        case 2:
            scores = np.repeat(rng.random(), images)
        case 3:
            scores = np.where(truth, rng.choice([0.0, 1.0]), scores)
        case 4:
            scores = rng.choice(scores, images)
    return truth, scores, float(rng.choice([0.3, 0.5, 0.75, 0.9, 1.0]))


@pytest.mark.parametrize(
    "sets",
    [
        12,
        pytest.param(40, marks=pytest.mark.long),
        pytest.param(200, marks=pytest.mark.torture),
    ],
)
def test_on_score_sets_of_all_kinds_the_winner_is_the_exact_optimum(
    tmp_path: Path, sets: int
) -> None:
    feasible = snapped = 0
    for number in range(sets):
        truth, scores, floor = score_set(number)
        search = SearchSpec(heads=(LOGREG,), accuracy_floor=floor, threshold_only=True)
        given = Scores(truth, {"balanced": scores})
        worker = worker_of(search, given, tmp_path / str(number), 8)
        points, images = sweep(truth, scores), LabelledScores.from_arrays(truth, scores)
        choice = choose_point(points, search.criterion, images)
        if choice is None:
            assert (points.accuracy < floor).all()
            with pytest.raises(NoFeasibleThresholdError) as caught:
                choose_best_trial(worker, search, given)  # type: ignore[arg-type]
            assert caught.value.best_accuracy == points.accuracy.max()
            continue
        exact = choice.point
        winner = choose_best_trial(worker, search, given)  # type: ignore[arg-type]
        called = scores >= winner.threshold
        assert called[truth].mean() == winner.recall == points.recall[exact], number
        assert (called == truth).mean() == winner.accuracy == points.accuracy[exact], number
        assert winner.accuracy >= floor
        assert bool(winner.note) == choice.moved
        feasible += 1
        snapped += winner.snapped
    assert sets / 2 < feasible < sets
    assert 0 < snapped < feasible


class TestWinner:
    truth = np.array([True] * 10 + [False] * 10)

    def settings(self) -> SearchSpec:
        fixed = {"logreg": ("C", "representation")}
        return SearchSpec(heads=(LOGREG,), fixed=fixed, accuracy_floor=0.6)

    def test_of_equal_recall_and_accuracy_the_cheaper_head_wins(self, tmp_path: Path) -> None:
        scores = np.where(self.truth, 0.9, 0.1)
        given = Scores(self.truth, {"balanced": scores, None: scores}, {"balanced": 9.0, None: 2.0})
        worker = worker_of(self.settings(), given, tmp_path / "study", 15)
        assert {t.params["logreg.class_weight"] for t in worker.study.trials} == {
            "balanced",
            "none",
        }
        winner = choose_best_trial(worker, self.settings(), given)  # type: ignore[arg-type]
        assert winner.spec.settings.class_weight is None  # type: ignore[union-attr]
        assert (winner.recall, winner.accuracy) == (1.0, 1.0)

    def test_of_equal_recall_the_more_accurate_wins_though_it_costs_more(
        self, tmp_path: Path
    ) -> None:
        worse = np.where(self.truth, 0.9, 0.1)
        worse[-2:] = 0.95
        given = Scores(
            self.truth,
            {"balanced": np.where(self.truth, 0.9, 0.1), None: worse},
            {"balanced": 9.0, None: 2.0},
        )
        worker = worker_of(self.settings(), given, tmp_path / "study", 15)
        winner = choose_best_trial(worker, self.settings(), given)  # type: ignore[arg-type]
        assert winner.spec.settings.class_weight == "balanced"  # type: ignore[union-attr]

    def test_recall_alone_never_wins(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        truth = rng.random(300) < 0.3
        scores = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1)
        given = Scores(truth, {"balanced": scores, None: scores})
        worker = worker_of(self.settings(), given, tmp_path / "study", 30)
        everybody = [t for t in worker.study.trials if t.values[0] == 1.0]
        assert everybody
        assert all(t.constraints["accuracy_floor"] > 0 for t in everybody)
        best = best_feasible_trial(worker.study, self.settings(), truth)
        assert best is not None
        assert best.user_attrs["accuracy"] >= 0.6

    def test_the_snapped_trial_is_in_the_study_and_is_its_best(self, tmp_path: Path) -> None:
        truth, scores, _ = score_set(3)
        search = SearchSpec(heads=(LOGREG,), accuracy_floor=0.5, threshold_only=True)
        given = Scores(truth, {"balanced": scores})
        worker = worker_of(search, given, tmp_path / "study", 1)
        winner = choose_best_trial(worker, search, given)  # type: ignore[arg-type]
        assert winner.number == worker.study.trials[-1].number
        assert worker.study.best_trial.values == [winner.recall]
        if winner.snapped:
            assert worker.study.trials[-1].user_attrs["source"] == "exact sweep"

    def test_no_finished_trial_is_an_error(self, tmp_path: Path) -> None:
        given = Scores(self.truth, {})
        worker = worker_of(self.settings(), given, tmp_path / "study", 0)
        with pytest.raises(FeatxError, match="no trial was finished"):
            choose_best_trial(worker, self.settings(), given)  # type: ignore[arg-type]
