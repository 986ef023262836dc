"""The search for the operating point, held to the exact sweep."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray

from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import OperatingPoint, choose_threshold, sweep

Scored = tuple[NDArray[np.int64], NDArray[np.float64]]


def drawn(seed: int, images: int | None = None) -> Scored:
    """Draw scores of a classifier of some quality; every third set has ties."""
    random = np.random.default_rng(seed)
    n = images or int(random.integers(4, 60))
    y = random.permutation(np.arange(n) % 3 == 0).astype(np.int64)
    scores = 1 / (1 + np.exp(-random.normal(size=n) - random.uniform(0, 4) * (y - 0.5)))
    return y, scores.round(1) if seed % 3 == 0 else scores


@pytest.fixture(scope="module")
def many() -> Scored:
    """More distinct scores than the study has trials."""
    return drawn(1, images=400)


class TestOptimum:
    def test_the_search_reaches_the_exact_optimum_on_200_sets_of_scores(self) -> None:
        feasible = 0
        for seed in range(200):
            y, scores = drawn(seed)
            points = sweep(y, scores)
            # A floor that about half of the feasible thresholds keep.
            floor = float(np.quantile(points.accuracy, 0.6))
            best = points.best(floor)
            assert best is not None
            point = choose_threshold(y, scores, accuracy_floor=floor, trials=12, seed=seed)
            called = scores >= point.threshold
            assert point.recall == points.recall[best] == called[y == 1].mean()
            assert point.accuracy == points.accuracy[best] == np.mean(called == y)
            assert point.accuracy >= floor
            feasible += best > 0
        assert feasible > 50  # the floor did make a difference

    def test_with_more_scores_than_trials_it_is_still_exact(self, many: Scored) -> None:
        points = sweep(*many)
        best = points.best(0.8)
        assert best is not None
        point = choose_threshold(*many, accuracy_floor=0.8, trials=10)
        assert (point.recall, point.accuracy) == (points.recall[best], points.accuracy[best])
        assert point.snapped
        assert point.trials == 11

    def test_a_small_set_is_searched_exhaustively_and_needs_no_help(self) -> None:
        y, scores = drawn(1, images=20)
        point = choose_threshold(y, scores, accuracy_floor=0.5)
        assert point.trials == len(np.unique(scores)) + 1
        assert not point.snapped

    def test_ties_in_recall_are_broken_by_accuracy(self) -> None:
        # Thresholds below 0.6 all find both sick; the highest of them clears most of the others.
        y, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.9]
        point = choose_threshold(y, scores, accuracy_floor=0.0)
        assert (point.recall, point.accuracy) == (1.0, 1.0)
        assert 0.3 < point.threshold <= 0.6

    def test_recall_alone_calls_everybody_sick_and_a_floor_does_not(self) -> None:
        # The study's trap: the one sick patient that looks healthy drags the threshold down.
        y = np.array([1] + [0] * 50 + [1] * 9)
        scores = np.concatenate([[0.01], np.linspace(0.02, 0.4, 50), np.linspace(0.6, 0.9, 9)])
        trapped = choose_threshold(y, scores, accuracy_floor=0.0)
        assert trapped.recall == 1.0
        assert (scores >= trapped.threshold).all()
        kept = choose_threshold(y, scores, accuracy_floor=0.9)
        assert kept.recall == 0.9
        assert not (scores[y == 0] >= kept.threshold).any()

    def test_a_floor_that_the_best_accuracy_just_reaches_is_reached(self) -> None:
        y, scores = (
            [0, 1, 0, 1, 1, 0, 1, 0, 1, 1],
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.6, 0.2, 0.7, 1],
        )
        best = float(sweep(y, scores).accuracy.max())
        assert choose_threshold(y, scores, accuracy_floor=best).accuracy == best

    def test_the_floor_is_kept_with_the_point(self) -> None:
        assert choose_threshold([0, 1], [0.1, 0.9], accuracy_floor=0.75).accuracy_floor == 0.75


class TestDeterminism:
    def test_the_same_scores_give_the_same_point(self, many: Scored) -> None:
        one, other = (choose_threshold(*many, accuracy_floor=0.8, trials=15) for _ in range(2))
        assert one == other

    def test_the_seed_and_the_order_of_images_do_not_move_the_point(self, many: Scored) -> None:
        order = np.random.default_rng(0).permutation(len(many[0]))
        one = choose_threshold(*many, accuracy_floor=0.8, trials=10, seed=1)
        other = choose_threshold(
            many[0][order], many[1][order], accuracy_floor=0.8, trials=10, seed=2
        )

        def unsearched(point: OperatingPoint) -> dict[str, Any]:
            return dataclasses.asdict(point) | {"trials": 0, "snapped": False}

        assert unsearched(one) == unsearched(other)

    def test_the_global_random_state_is_left_alone(self, many: Scored) -> None:
        np.random.seed(3)
        undisturbed = np.random.random()
        np.random.seed(3)
        choose_threshold(*many, accuracy_floor=0.8, trials=10)
        assert np.random.random() == undisturbed


class TestStudy:
    def test_the_floor_is_a_constraint_and_the_objective_is_recall_alone(
        self, many: Scored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        studies: list[optuna.Study] = []
        constraints: dict[int, Any] = {}
        create, constrain = optuna.create_study, optuna.Trial.set_constraint

        def remember(**arguments: Any) -> optuna.Study:
            studies.append(create(**arguments))
            return studies[-1]

        def spy(self: optuna.Trial, name: str, value: float) -> None:
            constraints[self.number] = value
            constrain(self, name, value)

        monkeypatch.setattr(optuna, "create_study", remember)
        monkeypatch.setattr(optuna.Trial, "set_constraint", spy)
        choose_threshold(*many, accuracy_floor=0.8, trials=20)
        (study,) = studies
        points = sweep(*many)
        assert study.direction == optuna.study.StudyDirection.MAXIMIZE
        assert set(constraints) == {trial.number for trial in study.trials}
        violated = 0
        for trial in study.trials:
            at = trial.params["point"]
            assert trial.value == points.recall[at]
            assert constraints[trial.number] == pytest.approx(0.8 - points.accuracy[at])
            violated += constraints[trial.number] > 0
        assert violated  # infeasible trials were scored by recall too, without a penalty

    def test_optuna_stays_quiet_and_gets_its_verbosity_back(
        self, many: Scored, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = optuna.logging.get_verbosity()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            choose_threshold(*many, accuracy_floor=0.8, trials=10)
            choose_threshold([0, 1], [0.1, 0.9])
        assert optuna.logging.get_verbosity() == before
        assert capfd.readouterr() == ("", "")


class TestRefusals:
    @pytest.mark.parametrize("floor", [-0.1, 1.5, float("nan"), float("inf")])
    def test_a_floor_outside_0_to_1(self, floor: float) -> None:
        with pytest.raises(InputError, match=f"floor {floor} is not between 0 and 1"):
            choose_threshold([0, 1], [0.1, 0.9], accuracy_floor=floor)

    def test_one_class(self) -> None:
        with pytest.raises(InputError, match="one class"):
            choose_threshold([1, 1], [0.1, 0.9])

    def test_scores_that_are_not_numbers(self) -> None:
        with pytest.raises(InputError, match="scores are not finite numbers: 1"):
            choose_threshold([0, 1], [0.1, float("nan")])

    @pytest.mark.parametrize("seed", range(20))
    def test_no_feasible_threshold_names_the_best_accuracy_where_it_is_and_a_reachable_floor(
        self, seed: int
    ) -> None:
        y, scores = drawn(seed, images=60)
        points = sweep(y, scores)
        best = points.accuracy.max()
        assert best < 1
        with pytest.raises(NoFeasibleThresholdError) as caught:
            choose_threshold(y, scores, accuracy_floor=1.0)
        said = re.search(
            r"the best is ([\d.]+) \(recall [\d.]+\) at threshold ([\d.e-]+)\. "
            r"Lower `accuracy_floor` to ([\d.]+) at most",
            str(caught.value),
        )
        assert said is not None
        accuracy, threshold, reachable = map(float, said.groups())
        assert accuracy == pytest.approx(best, abs=1e-4)
        where = points.thresholds[points.accuracy == best]
        assert np.isclose(threshold, where, rtol=1e-5).any()
        assert choose_threshold(y, scores, accuracy_floor=reachable).accuracy >= reachable
