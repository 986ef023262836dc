"""Verdicts that a population differs from training, and how often they are wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from featx.errors import InputError
from featx.evaluation._shift import (
    DISTANCE_MARKS,
    KS_MARKS,
    SHIFT_P_VALUE,
    Population,
    Shift,
    Signal,
    compare_populations,
    stability_index,
)

CLASSES = ("NORMAL", "PNEUMONIA")
LIMIT = 31.0


def drawn(
    patients: int,
    seed: int,
    *,
    sick: float = 0.6,
    scores: float = 0.0,
    distances: float = 0.0,
    images: int = 2,
) -> Population:
    """Patients with as many images each, which are alike. Some are moved by so much."""
    random = np.random.default_rng(seed)
    number = np.arange(patients).repeat(images)
    truth = (random.random(patients) < sick)[number]
    looks = 3 * truth - 1.5 + random.normal(0, 1, patients)[number]
    far = 24 + random.normal(0, 2.5, patients)[number] + random.normal(0, 1, len(number))
    return Population(expit(looks + scores), number, truth, far + distances)


def compared(one: Population, two: Population, seed: int = 0) -> Shift:
    return compare_populations(one, two, limit=LIMIT, classes=CLASSES, seed=seed)


def signal(shift: Shift, name: str) -> Signal:
    (found,) = [each for each in shift.signals if each.name == name]
    return found


class TestRule:
    @pytest.mark.parametrize(("patients", "others"), [(30, 600), (150, 150), (1500, 1500)])
    def test_it_is_silent_on_the_same_population_in_95_of_100(
        self, patients: int, others: int
    ) -> None:
        alarms = 0
        for seed in range(100):
            here, training = drawn(patients, 2 * seed), drawn(others, 2 * seed + 1)
            alarms += compared(training, here, seed).suspected
        assert alarms <= 5

    def test_images_of_one_patient_are_no_further_evidence(self) -> None:
        alarms = 0
        for seed in range(50):
            here, training = drawn(40, 2 * seed, images=12), drawn(300, 2 * seed + 1)
            alarms += compared(training, here, seed).suspected
        assert alarms <= 2

    def test_what_is_significant_but_small_is_not_reported(self) -> None:
        shift = compared(drawn(20_000, 0), drawn(20_000, 1, scores=0.08))
        scores = signal(shift, "scores")
        assert scores.p_value < SHIFT_P_VALUE
        assert scores.effect < KS_MARKS[0]
        assert shift.verdict == "alike"

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"scores": 1.5}, "scores"),
            ({"scores": 1.5}, "stability"),
            ({"scores": 1.5}, "scores_of_negatives"),
            ({"distances": 6.0}, "far"),
            ({"distances": 6.0}, "distances"),
            ({"sick": 0.1}, "stability"),
        ],
    )
    def test_a_large_difference_is_found_and_named(self, change: dict[str, Any], name: str) -> None:
        shift = compared(drawn(600, 0), drawn(150, 1, **change))
        assert shift.verdict == "differs"
        assert signal(shift, name).verdict == "differs"
        assert shift.sentence.startswith("This population differs from the training population: ")

    def test_a_moderate_difference_may_be_one(self) -> None:
        shift = compared(drawn(2000, 0), drawn(2000, 1, distances=1.0))
        assert shift.verdict == "may differ"
        assert "may differ" in shift.sentence
        assert [s.name for s in shift.signals if s.verdict == "may differ"] == ["distances"]

    def test_images_nearer_than_those_of_training_are_no_alarm(self) -> None:
        assert compared(drawn(600, 0), drawn(200, 1, distances=-3.0)).verdict == "alike"

    def test_an_effect_and_a_level_are_both_needed(self) -> None:
        assert Signal("far", 0.5, DISTANCE_MARKS, 0.01).verdict == "unclear"
        assert Signal("far", 0.04, DISTANCE_MARKS, 1e-9).verdict == "alike"
        assert Signal("far", 0.05, DISTANCE_MARKS, 1e-9).verdict == "may differ"
        assert Signal("far", 0.2, DISTANCE_MARKS, 1e-9).verdict == "differs"


class TestStabilityIndex:
    def test_worked_example(self) -> None:
        # A tenth of training in each bin; here nothing is in the lower half, a fifth in each above.
        training = np.arange(1000) / 1000
        here = 0.5 + training / 2
        p, q = np.full(10, 100.5 / 1005), np.array([0.5] * 5 + [200.5] * 5) / 1005
        expected = ((q - p) * np.log(q / p)).sum()
        assert stability_index(training, here).effect == pytest.approx(expected, rel=1e-4)
        assert stability_index(training, here).p_value < 0.001

    def test_the_same_scores_have_none(self) -> None:
        found = stability_index(np.arange(100) / 100, np.arange(100) / 100)
        assert found.effect == pytest.approx(0.0, abs=1e-3)
        assert found.p_value == 1.0

    def test_small_samples_look_unstable_and_are_not_believed(self) -> None:
        random = np.random.default_rng(3)
        found = stability_index(random.random(500), random.random(25))
        assert found.effect > 0.1
        assert found.verdict == "unclear"

    def test_tied_scores_make_fewer_bins(self) -> None:
        few = np.array([0.0, 0.2, 0.4, 1.0])
        random = np.random.default_rng(0)
        same = stability_index(random.choice(few, 400), random.choice(few, 400))
        assert same.verdict == "alike"
        other = stability_index(
            random.choice(few, 400), random.choice(few, 400, p=[0.7, 0.1, 0.1, 0.1])
        )
        assert other.verdict == "differs"
        assert stability_index(np.zeros(9), np.zeros(9)).effect == 0.0


class TestWords:
    def test_reasons_name_the_class_whose_scores_moved(self) -> None:
        def moved(population: Population) -> NDArray[np.float64]:
            assert population.sick is not None
            return np.where(population.sick, population.scores, population.scores**0.2)

        here = drawn(400, 1)
        shift = compared(drawn(800, 0), replace(here, scores=moved(here)))
        assert any("scores of NORMAL moved" in reason for reason in shift.reasons)
        assert not any("scores of PNEUMONIA" in reason for reason in shift.reasons)

    def test_another_share_of_sick_is_given_as_the_likely_reason(self) -> None:
        shift = compared(drawn(800, 0), drawn(800, 1, sick=0.25))
        assert "% were in training, which alone may be why" in shift.reasons[-1]
        assert shift.positives == pytest.approx(0.25, abs=0.05)

    def test_a_large_effect_that_may_be_chance_is_not_called_alike(self) -> None:
        # A stability index of 0.25 and more is a large shift by convention (Siddiqi 2006).
        shift = next(
            found
            for seed in range(100)
            if (found := compared(drawn(800, seed), drawn(31, seed + 500))).verdict == "unclear"
        )
        assert not shift.suspected
        assert shift.sentence.startswith("It is unclear whether this population differs")
        assert "with 31 patients this may be chance" in shift.sentence
        assert any(s.verdict == "unclear" and s.effect >= s.marks[1] for s in shift.signals)

    def test_few_patients_show_only_large_differences(self) -> None:
        few = compared(drawn(800, 0), drawn(120, 1))
        assert few.verdict == "alike"
        assert few.sentence.endswith("but with 120 patients only large differences would show.")

    def test_without_labels_or_distances_scores_are_compared(self) -> None:
        bare = [replace(drawn(400, seed), sick=None, distances=None) for seed in (0, 1)]
        shift = compare_populations(*bare)
        assert [s.name for s in shift.signals] == ["scores", "stability"]
        assert shift.distance_ratio is shift.positives is None
        assert shift.sentence == (
            "There is no sign that this population differs from the training population."
        )

    def test_one_class_here_is_compared_with_that_class(self) -> None:
        shift = compared(drawn(300, 0), drawn(100, 1, sick=0.0))
        assert "scores_of_positives" not in {s.name for s in shift.signals}
        assert signal(shift, "scores_of_negatives").verdict == "alike"

    def test_plain_types(self) -> None:
        shift = compared(drawn(300, 0), drawn(100, 1))
        plain = json.loads(json.dumps(shift.as_dict(), allow_nan=False))
        assert plain["verdict"] == shift.verdict
        assert plain["sentence"] == shift.sentence
        assert plain["patients"] == 100
        assert {s["name"] for s in plain["signals"]} == {s.name for s in shift.signals}

    def test_nobody_to_compare(self) -> None:
        empty = Population(np.empty(0), np.empty(0), None, None)
        with pytest.raises(InputError, match="no images to compare"):
            compare_populations(drawn(10, 0), empty)
