"""Folds that keep patients together."""

from __future__ import annotations

import numpy as np
import pytest

from featx.heads import PatientFolds

Y = np.arange(60) % 2
PATIENTS = np.array([f"p{n // 4}-{n % 2}" for n in range(60)])


def test_no_patient_is_on_both_sides_and_every_row_is_held_out_once() -> None:
    held_out = []
    for kept, out in PatientFolds(5).split(Y, Y, PATIENTS):
        assert not set(PATIENTS[kept]) & set(PATIENTS[out])
        assert set(Y[out]) == {0, 1}
        held_out += out.tolist()
    assert sorted(held_out) == list(range(60))


@pytest.mark.parametrize("patients", [2, 3, 4])
def test_there_are_no_more_folds_than_the_rarer_class_has_patients(patients: int) -> None:
    groups = np.where(Y == 1, np.arange(60) % patients, 100 + np.arange(60))
    expected = len(set(groups[Y == 1]))
    folds = PatientFolds(5)
    assert folds.get_n_splits(None, Y, groups) == min(5, expected)
    if expected > 1:
        assert len(list(folds.split(Y, Y, groups))) == min(5, expected)


def test_one_patient_of_a_class_can_t_be_held_out() -> None:
    with pytest.raises(ValueError, match="one patient only"):
        list(PatientFolds(5).split(Y, Y, np.where(Y == 1, 0, 1 + np.arange(60))))


def test_without_patients_every_row_is_one() -> None:
    assert len(list(PatientFolds(7).split(Y, Y))) == 7
    assert PatientFolds(7).get_n_splits() == 7


def test_the_seed_decides() -> None:
    def first(seed: int) -> object:
        return next(PatientFolds(5, seed).split(Y, Y, PATIENTS))[1].tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)
