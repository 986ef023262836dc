"""A threshold for another population: what a few labelled images of it choose."""

from __future__ import annotations

import numpy as np
import pytest

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import Criterion, choose_cross_validated, choose_threshold


def drawn(patients: int, seed: int = 0) -> Scores:
    random = np.random.default_rng(seed)
    sick = np.arange(patients) % 2 == 1
    scores = 1 / (1 + np.exp(-random.normal(np.where(sick, 1.5, -1.5), 1.0)))
    return Scores.from_arrays(sick, scores)


def test_the_threshold_is_that_of_all_images() -> None:
    scores = drawn(60)
    found = choose_cross_validated(scores, criterion=Criterion(accuracy_floor=0.85))
    assert found.threshold == choose_threshold(scores, accuracy_floor=0.85).threshold
    assert found.folds == 10


def test_the_choice_on_all_images_flatters_itself_and_cross_validation_does_not() -> None:
    flattered, honest, truth = [], [], []
    for seed in range(60):
        scores = drawn(40, seed)
        try:
            found = choose_cross_validated(scores, criterion=Criterion(accuracy_floor=0.9))
        except NoFeasibleThresholdError:
            continue
        new = drawn(2000, 1000 + seed)
        flattered.append((scores.called(found.threshold) == scores.positive).mean())
        honest.append((found.called == scores.positive).mean())
        truth.append((new.called(found.threshold) == new.positive).mean())
    assert len(truth) > 30
    # Each promised 0.9; on new patients it is less, and cross-validation says so.
    assert np.mean(flattered) >= 0.9
    assert np.mean(flattered) - np.mean(truth) > 0.01
    assert abs(np.mean(honest) - np.mean(truth)) < np.mean(flattered) - np.mean(truth)


def test_no_patient_has_a_part_in_its_own_verdict() -> None:
    scores = drawn(40)
    scores.score[scores.positive] = 0.9
    scores.score[:2] = 0.5  # a healthy and a sick image of one patient
    scores.patient[1] = scores.patient[0]
    found = choose_cross_validated(scores, criterion=Criterion(accuracy_floor=0.6))
    assert found.called[0] == found.called[1]


def test_a_class_of_one_patient_is_refused() -> None:
    scores = Scores.from_arrays([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.9], [*"abcdd"])
    with pytest.raises(InputError, match="images of 1 sick patient to choose"):
        choose_cross_validated(scores, criterion=Criterion(accuracy_floor=0))


def test_a_floor_out_of_reach_names_what_can_be_had() -> None:
    scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(NoFeasibleThresholdError, match="on these 4 images no threshold") as caught:
        choose_cross_validated(scores, criterion=Criterion(accuracy_floor=0.99))
    assert caught.value.best_accuracy == 0.75
