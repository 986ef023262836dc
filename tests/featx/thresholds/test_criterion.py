"""The criterion of the operating point, held to a search over all thresholds by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import Criterion, choose_threshold, sweep, uncertain_range
from featx.thresholds._one_standard_error import choose_point, recall_error
from featx.thresholds._uncertain_range import _Resampled


def drawn(seed: int, patients: int = 40, images: int = 1) -> Scores:
    """Draw scores of a classifier of some quality. Every third set has ties."""
    random = np.random.default_rng(seed)
    sick = np.arange(patients) % 3 > 0
    own = random.normal(1.5 * sick, 1.0).repeat(images) + random.normal(0, 0.3, patients * images)
    scores = 1 / (1 + np.exp(-own))
    scores = scores.round(1) if seed % 3 == 0 else scores
    return Scores.from_arrays(sick.repeat(images), scores, np.arange(patients).repeat(images))


def rates(scores: Scores, threshold: float) -> tuple[float, float, float]:
    """Return recall, specificity and accuracy, counted image by image."""
    called = scores.score >= threshold
    sick = scores.positive
    return (
        float(called[sick].mean()),
        float((~called[~sick]).mean()),
        float((called == sick).mean()),
    )


class TestBest:
    @pytest.mark.parametrize(
        "named",
        [
            {"recall_floor": 0.8},
            {"recall_floor": 0.7, "specificity_floor": 0.5, "accuracy_floor": 0.6},
            {"specificity_floor": 0.7},
            {"cost": (10, 1)},
            {"cost": (1, 4), "recall_floor": 0.5},
            {"youden": True},
            {"youden": True, "accuracy_floor": 0.7},
        ],
        ids=str,
    )
    def test_no_other_threshold_that_keeps_the_floors_is_better(
        self, named: dict[str, Any]
    ) -> None:
        criterion, found = Criterion(**named), 0
        missed, alarm = named.get("cost", (0, 0))
        for seed in range(30):
            scores = drawn(seed)
            sick, healthy = scores.positive.mean(), (~scores.positive).mean()
            candidates = [*np.unique(scores.score), 2.0]
            able = []
            for recall, specificity, accuracy in (rates(scores, t) for t in candidates):
                kept = (
                    recall >= named.get("recall_floor", 0)
                    and specificity >= named.get("specificity_floor", 0)
                    and accuracy >= named.get("accuracy_floor", 0)
                )
                value = {
                    "recall": recall,
                    "specificity": specificity,
                    "youden": recall + specificity - 1,
                    "cost": -missed * sick * (1 - recall) - alarm * healthy * (1 - specificity),
                }[criterion.objective]
                if kept:
                    able.append(value)
            points = sweep(scores)
            best = criterion.best(points)
            assert (best is None) == (not able)
            if best is None:
                continue
            found += 1
            recall, specificity, _ = rates(scores, points.thresholds[best])
            value = criterion.values(recall, specificity, float(sick))
            assert float(value) == pytest.approx(max(able), abs=1e-12)
            if criterion.objective != "recall":
                assert choose_threshold(scores, **named).threshold == points.thresholds[best]
        assert found > 20

    def test_a_recall_floor_asks_for_the_highest_specificity_and_recall_breaks_ties(self) -> None:
        # Nobody healthy lies above 0.3, so all thresholds between 0.3 and 0.7 have specificity 1.
        y, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]
        point = choose_threshold(y, scores, recall_floor=0.3)
        assert (point.recall, point.specificity) == (1.0, 1.0)

    @pytest.mark.parametrize("unit", [1e-13, 1e300])
    def test_the_unit_of_the_costs_does_not_matter(self, unit: float) -> None:
        points = sweep(drawn(3, 100))
        wanted = Criterion(cost=(2, 3)).best(points)
        assert Criterion(cost=(2 * unit, 3 * unit)).best(points) == wanted

    def test_cost_is_that_of_the_prevalence(self) -> None:
        scores = drawn(1, 300)
        points = sweep(scores)
        criterion = Criterion(cost=(5, 1))
        rare, common = (points.at_prevalence(share) for share in (0.05, 0.9))
        assert (rare.share, common.share) == (0.05, 0.9)
        many, few = criterion.best(common), criterion.best(rare)
        assert many is not None
        assert few is not None
        assert points.thresholds[few] > points.thresholds[many]


class TestWords:
    @pytest.mark.parametrize(
        ("named", "words", "short"),
        [
            ({}, "highest recall with accuracy ≥ 0.9", "accuracy ≥ 0.9"),
            ({"accuracy_floor": 0.0}, "highest recall with accuracy ≥ 0", "accuracy ≥ 0"),
            ({"recall_floor": 0.97}, "highest specificity with recall ≥ 0.97", "recall ≥ 0.97"),
            (
                {"accuracy_floor": 0.9, "specificity_floor": 0.5},
                "highest recall with accuracy ≥ 0.9 and specificity ≥ 0.5",
                "accuracy ≥ 0.9, specificity ≥ 0.5",
            ),
            (
                {"cost": (10, 1)},
                "lowest expected cost (10 for a missed sick patient, 1 for a false alarm)",
                "cost 10:1",
            ),
            (
                {"youden": True, "recall_floor": 0.9},
                "highest recall + specificity - 1 (Youden) with recall ≥ 0.9",
                "Youden, recall ≥ 0.9",
            ),
        ],
    )
    def test_a_criterion_says_what_it_is(
        self, named: dict[str, Any], words: str, short: str
    ) -> None:
        criterion = Criterion(**named)
        assert (criterion.in_words, criterion.short, str(criterion)) == (words, short, words)
        assert Criterion.model_validate_json(criterion.model_dump_json()) == criterion

    def test_the_accuracy_floor_is_there_if_nothing_else_is_named(self) -> None:
        assert Criterion().accuracy_floor == 0.9
        assert Criterion(youden=True).accuracy_floor is None
        assert Criterion(accuracy_floor=0.8, recall_floor=0.9).floors == {
            "accuracy": 0.8,
            "recall": 0.9,
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("named", "said", "parameter"),
        [
            ({"recall_floor": 1.2}, "the recall floor 1.2 is not between 0 and 1", "recall_floor"),
            ({"specificity_floor": "0.9"}, "can't be of type str", "specificity_floor"),
            ({"cost": (1, -1)}, "-1 can't be a cost", "cost"),
            ({"cost": (0, 1)}, "0 can't be a cost", "cost"),
            ({"cost": (float("inf"), 1)}, "inf can't be a cost", "cost"),
            ({"cost": 10}, "10 is no pair of costs", "cost"),
            ({"cost": "10:1"}, "'10:1' is no pair of costs", "cost"),
            ({"cost": (2, 1), "youden": True}, "`cost` and `youden` are two objectives", "youden"),
        ],
    )
    def test_what_cannot_be_meant(self, named: dict[str, Any], said: str, parameter: str) -> None:
        for refused in (Criterion, lambda **n: choose_threshold([0, 1], [0.1, 0.9], **n)):
            with pytest.raises(InputError) as caught:
                refused(**named)
            assert said in str(caught.value)
            assert caught.value.parameter == parameter

    @pytest.mark.parametrize("seed", range(6))
    def test_contradictory_floors_name_the_nearest_miss_and_floors_that_can_be_kept(
        self, seed: int
    ) -> None:
        scores = drawn(seed)
        with pytest.raises(NoFeasibleThresholdError) as caught:
            choose_threshold(scores, recall_floor=1.0, specificity_floor=0.99)
        assert "no threshold reaches recall 1 and specificity 0.99: the best is" in str(
            caught.value
        )
        # The nearest miss is as near as any threshold is.
        shortfalls = [
            (1.0 - recall) + max(0.99 - specificity, 0.0)
            for recall, specificity, _ in (rates(scores, t) for t in [*scores.score, 2.0])
        ]
        words = caught.value.what.split()
        threshold = float(words[-1])
        recall, specificity, accuracy = rates(scores, threshold)
        assert (1.0 - recall) + max(0.99 - specificity, 0.0) == pytest.approx(min(shortfalls))
        assert (
            f"accuracy {accuracy:.4f}, recall {recall:.4f}, specificity {specificity:.4f}"
            in caught.value.what
        )
        # And the advice can be followed.
        parts = caught.value.hint.split("`")
        lowered = {
            name: float(value.split()[1])
            for name, value in zip(parts[1::2], parts[2::2], strict=True)
        }
        floors: dict[str, Any] = {"recall_floor": 1.0, "specificity_floor": 0.99} | lowered
        assert choose_threshold(scores, **floors).threshold > 0


class TestOneStandardError:
    def test_the_error_is_that_of_resampled_patients(self) -> None:
        scores = drawn(1, patients=80, images=3)
        called, patient = scores.score >= 0.6, scores.patient.astype(int)
        sick = np.bincount(patient, scores.positive)
        found = np.bincount(patient, scores.positive & called)
        random, recalls = np.random.default_rng(5), []
        for _ in range(4000):
            who = random.integers(0, 80, 80)
            recalls.append(found[who].sum() / sick[who].sum())
        error = recall_error(sick, found, np.ones(80, int))
        assert error == pytest.approx(np.std(recalls), rel=0.15)
        # Images of one patient are no independent evidence.
        alone = recall_error(
            scores.positive.astype(int), (scores.positive & called).astype(int), np.ones(240, int)
        )
        assert error > 1.2 * alone

    def test_recall_that_is_noise_is_not_paid_for_with_accuracy(self) -> None:
        # A sick patient looks healthier than nearly all of the healthy, and nobody is missed.
        y = np.array([1] + [0] * 50 + [1] * 49)
        scores = np.concatenate([[0.1], np.linspace(0.2, 0.4, 50), np.linspace(0.5, 0.9, 49)])
        scores[1:3] = 0.05
        point = choose_threshold(y, scores, accuracy_floor=0.5)
        assert (point.recall, point.recall_error, point.note) == (1.0, 0.0, "")
        # Another one whom the floor doesn't allow to find makes the last patient noise.
        y, scores = np.append(y, 1), np.append(scores, 0.01)
        point = choose_threshold(y, scores, accuracy_floor=0.51)
        assert point.recall == 49 / 51
        assert point.recall_given_up == pytest.approx(1 / 51)
        assert point.recall_given_up <= point.recall_error
        assert point.accuracy == 99 / 101
        assert point.note.startswith(
            "On the scores that it was chosen on, the highest recall, 0.9804 at threshold 0."
        )
        assert "accuracy 0.9802 instead of 0.5" in point.note
        (chosen,) = (t for t in point.study.trials if t.user_attrs["chosen"])
        assert chosen.params["threshold"] == point.threshold

    @pytest.mark.parametrize("named", [{"recall_floor": 0.5}, {"youden": True}, {"cost": (9, 1)}])
    def test_it_is_for_recall_alone(self, named: dict[str, Any]) -> None:
        point = choose_threshold(drawn(2, 100), **named)
        assert (point.recall_error, point.recall_given_up, point.note) == (0.0, 0.0, "")

    @pytest.mark.parametrize("named", [{"accuracy_floor": 0.7}, {"recall_floor": 0.8}])
    def test_the_uncertain_range_resamples_the_very_choice(self, named: dict[str, Any]) -> None:
        criterion, random = Criterion(**named), np.random.default_rng(0)
        for seed in (1, 3):
            scores = drawn(seed, patients=60, images=2)
            resampled = _Resampled(scores, criterion, None)
            for _ in range(10):
                who = random.integers(0, 60, 60)
                rows = np.concatenate([2 * who, 2 * who + 1])
                part = scores[rows]
                part = Scores.from_arrays(part.positive, part.score, np.tile(np.arange(60), 2))
                points = sweep(part)
                choice = choose_point(points, criterion, part)
                point = criterion.nearest(points) if choice is None else choice.point
                times = np.bincount(who, minlength=60)
                assert resampled.threshold(times) == points.thresholds[point]

    def test_the_range_of_a_recall_floor_holds_its_threshold(self) -> None:
        scores = drawn(4, 200)
        point = choose_threshold(scores, recall_floor=0.9)
        low, high = uncertain_range(scores, point.threshold, criterion=point.criterion)
        assert low < point.threshold < high
