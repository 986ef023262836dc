"""Patients from file names."""

from __future__ import annotations

import re

import pytest

from featx.data import group_of
from featx.data._patients import cause_of
from featx.errors import InputError


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("train/PNEUMONIA/person1024_bacteria_2955.jpeg", "person1024_bacteria"),
        ("train/PNEUMONIA/person1024_virus_1.png", "person1024_virus"),
        ("val/NORMAL/IM-0117-0001.jpeg", "IM-0117"),
        ("val/NORMAL/IM-0117-0001-0002.jpeg", "IM-0117"),
        ("NORMAL2-IM-0927-0001.jpeg", "NORMAL2-IM-0927"),
        ("NORMAL2-IM-0927-0001-0002.jpeg", "NORMAL2-IM-0927"),
    ],
)
def test_kaggle_names_tell_the_patient(path: str, group: str) -> None:
    assert group_of(path) == group


def test_the_person_number_alone_is_not_a_patient() -> None:
    assert group_of("person1_bacteria_1.jpeg") != group_of("person1_virus_2.jpeg")


def test_normal_and_normal2_studies_of_one_number_are_two_patients() -> None:
    assert group_of("IM-0117-0001.jpeg") != group_of("NORMAL2-IM-0117-0001.jpeg")


@pytest.mark.parametrize(
    "path", ["a/1.png", "b/1.png", "person1_fungus_2.png", "xIM-0117-0001.jpeg", "IM-x-0001.png"]
)
def test_any_other_file_is_a_patient_of_its_own(path: str) -> None:
    assert group_of(path) == path


def test_pattern_gives_its_first_group_or_the_whole_match() -> None:
    path = "train/A/patient7_view2.png"
    assert group_of(path, re.compile(r"patient(\d+)_view(\d)")) == "7"
    assert group_of(path, re.compile(r"patient\d+")) == "patient7"


def test_pattern_that_does_not_match_is_an_error() -> None:
    with pytest.raises(InputError, match=r"'patient\(\\\\d\+\)' doesn't match 'A/x\.png'"):
        group_of("A/x.png", re.compile(r"patient(\d+)"))


@pytest.mark.parametrize("pattern", [r"A/(\d+)?", r"A/(\d*)", r"\d*"])
def test_pattern_that_finds_nothing_is_an_error_and_no_common_patient(pattern: str) -> None:
    with pytest.raises(InputError, match=r"doesn't match 'A/x\.png'"):
        group_of("A/x.png", re.compile(pattern))


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("train/PNEUMONIA/person1024_bacteria_2955.jpeg", "bacteria"),
        ("person7_virus_1.png", "virus"),
        ("IM-0117-0001.jpeg", ""),
        ("person7_bacteria.jpeg", ""),
        ("person7_virus_1/x.png", ""),
    ],
)
def test_kaggle_names_tell_the_cause(path: str, cause: str) -> None:
    assert cause_of(path) == cause
