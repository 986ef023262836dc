"""The uncertain range: where other patients would have put the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from featx._scores import Scores
from featx.thresholds import choose_threshold, uncertain_range


def scores_of(patients: int, images: int = 1, seed: int = 0) -> Scores:
    random = np.random.default_rng(seed)
    sick = np.arange(patients) % 2 == 1
    own = random.normal(1.5 * sick, 1.0)
    y, group = sick.repeat(images), np.arange(patients).repeat(images)
    values = own.repeat(images) + random.normal(0, 0.1, len(y))
    return Scores.from_arrays(y, 1 / (1 + np.exp(-values)), group)


def range_of(patients: int, images: int = 1) -> tuple[float, float, float]:
    scores = scores_of(patients, images)
    threshold = choose_threshold(scores, accuracy_floor=0.7).threshold
    low, high = uncertain_range(scores, threshold, accuracy_floor=0.7)
    return low, threshold, high


def test_it_holds_the_threshold() -> None:
    low, threshold, high = range_of(100)
    assert low < threshold < high


def test_more_patients_narrow_it() -> None:
    few, many = range_of(60), range_of(3000)
    assert many[2] - many[0] < 0.5 * (few[2] - few[0])


def test_more_images_of_the_same_patients_do_not() -> None:
    one, ten = range_of(100), range_of(100, images=10)
    assert ten[2] - ten[0] > 0.5 * (one[2] - one[0])


def test_it_holds_the_thresholds_that_other_patients_would_have_chosen() -> None:
    low, _, high = range_of(400)
    others = []
    for seed in range(1, 41):
        scores = scores_of(400, seed=seed)
        others.append(choose_threshold(scores, accuracy_floor=0.7).threshold)
    inside = np.mean([low <= other <= high for other in others])
    assert inside >= 0.7  # two estimates differ by more than one from the truth


def test_a_floor_that_no_resample_reaches_still_has_a_range() -> None:
    scores = scores_of(40)
    low, high = uncertain_range(scores, 0.5, accuracy_floor=1.0)
    assert 0.0 <= low <= 0.5 <= high <= 1.0


def test_one_patient_has_a_range_of_no_width() -> None:
    assert uncertain_range(
        Scores.from_arrays([1, 1], [0.2, 0.9], ["a", "a"]), 0.5, accuracy_floor=0.5
    ) == (0.5, 0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_range(seed: int) -> None:
    scores = scores_of(50)
    twice = [uncertain_range(scores, 0.5, accuracy_floor=0.7, seed=seed) for _ in range(2)]
    assert twice[0] == twice[1]
