"""A promise holds as often as it says, and says what it takes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import candidate_thresholds, promise_threshold, sweep
from featx.thresholds._promise import one_of_each

SICK, SHIFT = 0.6, 1.5
REPEATS, PATIENTS, FLOOR, CONFIDENCE = 500, 400, 0.9, 0.9


def draw(rng: np.random.Generator, patients: int) -> Scores:
    """Draw patients whose scores are normal, one unit wide, three apart."""
    truth = rng.random(patients) < SICK
    return Scores.from_arrays(
        truth, norm.cdf(np.where(truth, SHIFT, -SHIFT) + rng.normal(size=patients))
    )


def true_accuracy(threshold: float) -> float:
    """Accuracy on all patients there are."""
    z = norm.ppf(threshold)
    return float(SICK * norm.sf(z - SHIFT) + (1 - SICK) * norm.cdf(z + SHIFT))


def true_recall(threshold: float) -> float:
    return float(norm.sf(norm.ppf(threshold) - SHIFT))


@pytest.fixture(scope="module")
def candidates() -> NDArray[np.float64]:
    return candidate_thresholds(draw(np.random.default_rng(99), 1500))


class TestSimulation:
    def test_it_holds_at_the_promised_rate_where_the_naive_choice_does_not(
        self, candidates: NDArray[np.float64]
    ) -> None:
        broken = promised = naive = 0
        for repeat in range(REPEATS):
            scores = draw(np.random.default_rng(repeat), PATIENTS)
            point = choose_threshold_exactly(scores)
            naive += true_accuracy(point) < FLOOR
            try:
                promise = promise_threshold(
                    scores,
                    candidates,
                    accuracy_floor=FLOOR,
                    confidence=CONFIDENCE,
                )
            except NoFeasibleThresholdError:
                continue
            promised += 1
            broken += true_accuracy(promise.threshold) < FLOOR
        # A promise is broken in a tenth of the repeats at most; chance may add to that, rarely.
        assert broken <= binom.ppf(0.999, REPEATS, 1 - CONFIDENCE)
        assert broken / promised <= 1 - CONFIDENCE + 0.03
        assert promised > 0.6 * REPEATS
        assert naive > 2 * (1 - CONFIDENCE) * REPEATS

    def test_with_two_floors_both_hold(self, candidates: NDArray[np.float64]) -> None:
        broken = promised = 0
        for repeat in range(150):
            scores = draw(np.random.default_rng(repeat), 900)
            try:
                promise = promise_threshold(
                    scores,
                    candidates,
                    accuracy_floor=0.88,
                    recall_floor=0.92,
                    confidence=CONFIDENCE,
                )
            except NoFeasibleThresholdError:
                continue
            promised += 1
            t = promise.threshold
            broken += true_accuracy(t) < 0.88 or true_recall(t) < 0.92
        assert promised > 75
        assert broken <= binom.ppf(0.999, 150, 1 - CONFIDENCE)


def choose_threshold_exactly(scores: Scores) -> float:
    """Choose as a search without a guarantee does, on the same patients."""
    points = sweep(scores)
    best = points.best(FLOOR)
    return float(points.thresholds[best if best is not None else int(points.accuracy.argmax())])


class TestPromise:
    def test_more_confidence_costs_recall(self, candidates: NDArray[np.float64]) -> None:
        scores = draw(np.random.default_rng(1), 3000)
        recalls = [
            promise_threshold(scores, candidates, accuracy_floor=0.9, confidence=c).recall
            for c in (0.5, 0.9, 0.999)
        ]
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[0] > recalls[-1]

    def test_the_sentence_names_promise_and_assumption(
        self, candidates: NDArray[np.float64]
    ) -> None:
        scores = draw(np.random.default_rng(1), 3000)
        promise = promise_threshold(scores, candidates, accuracy_floor=0.9, recall_floor=0.85)
        assert promise.sentence == promise.as_dict()["sentence"]
        for words in ("90% confidence", "accuracy is at least 0.9", "recall at least 0.85"):
            assert words in promise.sentence
        assert "same population as the 3000 patients" in promise.sentence
        assert "exchangeability" in promise.sentence

    def test_many_images_of_a_patient_are_no_more_evidence_than_one(
        self, candidates: NDArray[np.float64]
    ) -> None:
        scores = draw(np.random.default_rng(2), 60)
        many = scores[np.repeat(range(60), 50)]
        with pytest.raises(NoFeasibleThresholdError, match="from 60 patients"):
            promise_threshold(many, candidates, accuracy_floor=0.92)
        one = promise_threshold(
            Scores.from_arrays(many.positive, many.score), candidates, accuracy_floor=0.92
        )
        assert one.patients == 3000

    def test_it_says_how_many_more_would_do_and_they_do(
        self, candidates: NDArray[np.float64]
    ) -> None:
        # 95 % right at the first candidate, so the number needed can be found by trying.
        def patients(count: int) -> Scores:
            y = np.arange(count) % 2 == 0
            right = np.arange(count) % 20 != 0
            return Scores.from_arrays(y, np.where(y == right, 0.99, 0.01))

        with pytest.raises(NoFeasibleThresholdError) as caught:
            promise_threshold(patients(40), candidates, accuracy_floor=0.9)
        found = re.search(r"about ([\d,]+) more", str(caught.value))
        assert found is not None
        more = int(found[1].replace(",", ""))
        assert f"{5 * more:,} more patients" in str(caught.value)
        enough = int(1.3 * (40 + more)) // 20 * 20
        promise_threshold(patients(enough), candidates, accuracy_floor=0.9)
        fewer = (40 + more) // 2 // 20 * 20
        with pytest.raises(NoFeasibleThresholdError):
            promise_threshold(patients(fewer), candidates, accuracy_floor=0.9)

    def test_where_the_head_is_too_bad_more_patients_would_not_help(
        self, candidates: NDArray[np.float64]
    ) -> None:
        scores = draw(np.random.default_rng(3), 400)
        with pytest.raises(NoFeasibleThresholdError, match="more patients wouldn't help"):
            promise_threshold(scores, candidates, accuracy_floor=0.99)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 90.0])
    def test_a_confidence_is_a_fraction(self, confidence: float) -> None:
        scores = draw(np.random.default_rng(3), 40)
        with pytest.raises(InputError, match="between 0 and 1"):
            promise_threshold(
                scores,
                np.array([0.5]),
                accuracy_floor=0.5,
                confidence=confidence,
            )


class TestCandidates:
    def test_they_go_down_from_the_most_accurate(self) -> None:
        scores = draw(np.random.default_rng(4), 800)
        found = candidate_thresholds(scores, most=50)
        assert len(found) <= 50
        assert (np.diff(found) < 0).all()
        best = max((scores.called(t) == scores.positive).mean() for t in scores.score)
        assert (scores.called(found[0]) == scores.positive).mean() == best
        assert scores.called(found[-1]).all()

    def test_one_image_of_each_patient_is_drawn(self) -> None:
        groups = np.array(["a", "b", "a", "c", "b", "a"])
        drawn = one_of_each(groups, seed=0)
        assert sorted(groups[drawn]) == ["a", "b", "c"]
        assert len({tuple(one_of_each(groups, seed)) for seed in range(20)}) > 1
