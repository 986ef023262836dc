"""The uncertain range: where other patients would have put the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from featx._scores import Scores
from featx.thresholds import Criterion, choose_threshold, uncertain_range


def scores_of(patients: int, images: int = 1, seed: int = 0) -> Scores:
    random = np.random.default_rng(seed)
    sick = np.arange(patients) % 2 == 1
    own = random.normal(1.5 * sick, 1.0)
    y, group = sick.repeat(images), np.arange(patients).repeat(images)
    values = own.repeat(images) + random.normal(0, 0.1, len(y))
    return Scores.from_arrays(y, 1 / (1 + np.exp(-values)), group)


def range_of(patients: int, images: int = 1, seed: int = 0) -> tuple[float, float, float]:
    scores = scores_of(patients, images, seed)
    threshold = choose_threshold(scores, accuracy_floor=0.7).threshold
    low, high = uncertain_range(scores, threshold, criterion=Criterion(accuracy_floor=0.7))
    return low, threshold, high


def test_it_holds_the_threshold() -> None:
    low, threshold, high = range_of(100)
    assert low < threshold < high


def test_more_patients_narrow_it() -> None:
    few, many = range_of(60), range_of(3000)
    assert many[2] - many[0] < 0.5 * (few[2] - few[0])


def test_more_images_of_the_same_patients_do_not() -> None:
    widths = [
        [high - low for low, _, high in (range_of(100, images, seed) for seed in range(4))]
        for images in (1, 10)
    ]
    assert np.mean(widths[1]) > 0.7 * np.mean(widths[0])


def test_it_holds_the_thresholds_that_other_patients_would_have_chosen() -> None:
    others = [
        choose_threshold(scores_of(400, seed=seed), accuracy_floor=0.7).threshold
        for seed in range(4, 44)
    ]
    ranges = [range_of(400, seed=seed) for seed in range(4)]
    inside = np.mean([low <= other <= high for low, _, high in ranges for other in others])
    assert inside >= 0.75  # two estimates differ by more than one from the truth


def test_a_floor_that_no_resample_reaches_still_has_a_range() -> None:
    scores = scores_of(40)
    low, high = uncertain_range(scores, 0.5, criterion=Criterion(accuracy_floor=1.0))
    assert 0.0 <= low <= 0.5 <= high <= 1.0


def test_one_patient_has_a_range_of_no_width() -> None:
    assert uncertain_range(
        Scores.from_arrays([1, 1], [0.2, 0.9], ["a", "a"]),
        0.5,
        criterion=Criterion(accuracy_floor=0.5),
    ) == (0.5, 0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_range(seed: int) -> None:
    scores = scores_of(50)
    twice = [
        uncertain_range(scores, 0.5, criterion=Criterion(accuracy_floor=0.7), seed=seed)
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
