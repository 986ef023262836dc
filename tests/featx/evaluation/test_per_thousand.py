"""Results per 1,000 patients: whole numbers that add up, worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Interval, Metrics, PerThousand, evaluate_scores, per_thousand


def counted(tp: int, fn: int, fp: int, tn: int, **intervals: tuple[float, float]) -> Metrics:
    """Metrics of a table of counts, with these intervals alone."""
    truth = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    called = np.repeat([0.9, 0.1, 0.9, 0.1], [tp, fn, fp, tn])
    found = evaluate_scores(Scores.from_arrays(truth, called), 0.5, resamples=0)
    return replace(found, intervals={name: Interval(*ends) for name, ends in intervals.items()})


def made(people: PerThousand | None) -> PerThousand:
    assert people is not None
    assert people.found + people.missed == people.sick
    assert people.sick + people.false_alarms + people.cleared == people.patients
    assert min(people.found, people.missed, people.false_alarms, people.cleared) >= 0
    return people


def test_a_sentence_has_every_number_and_what_chance_may_do() -> None:
    metrics = counted(98, 2, 10, 90, recall=(0.96, 0.995), specificity=(0.8843, 0.9147))
    people = made(per_thousand(metrics, 0.05))
    assert people.in_words == (
        "Per 1,000 patients, 50 of them sick: 49 found, 1 missed (0 to 2), 95 false alarms "
        "(81 to 110), 855 rightly cleared."
    )
    assert json.loads(json.dumps(people.as_dict())) == {
        "prevalence": 0.05, "patients": 1000, "sick": 50, "found": 49, "missed": 1,
        "false_alarms": 95, "cleared": 855, "stated": True,
        "intervals": {"missed": {"low": 0, "high": 2}, "false_alarms": {"low": 81, "high": 110}},
        "in_words": people.in_words,
    }  # fmt: skip


def test_without_a_prevalence_the_images_have_one() -> None:
    people = made(per_thousand(counted(2, 1, 0, 5)))
    assert people.in_words == (
        "Per 1,000 patients, 375 of them sick, as in these images: 250 found, 125 missed, "
        "0 false alarms, 625 rightly cleared."
    )


def test_intervals_are_rounded_outwards_and_hold_the_number() -> None:
    metrics = counted(10, 0, 1, 9, recall=(0.6915, 1.0), specificity=(0.555, 0.9975))
    people = made(per_thousand(metrics, 0.001))
    assert (people.sick, people.found, people.missed) == (1, 1, 0)
    assert people.intervals["missed"] == Interval(0, 1)
    assert people.intervals["false_alarms"] == Interval(2, 445)
    assert made(per_thousand(counted(1, 0, 0, 1, recall=(0.9, 1.0)), 0.5)).intervals == {
        "missed": Interval(0, 50)
    }


@pytest.mark.parametrize("prevalence", [0.001, 0.0015, 0.0625, 1 / 3, 0.4995, 0.9985, 0.999])
@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (3, 4, 2, 5), (0, 3, 3, 0), (7, 0, 0, 7)])
def test_rounded_numbers_add_up(prevalence: float, counts: tuple[int, int, int, int]) -> None:
    people = made(per_thousand(counted(*counts), prevalence))
    assert people.patients == 1000
    tp, fn, fp, tn = counts
    assert people.missed == pytest.approx(people.sick * fn / (tp + fn), abs=0.5)
    assert people.false_alarms == pytest.approx((1000 - people.sick) * fp / (fp + tn), abs=0.5)


@pytest.mark.parametrize(
    ("prevalence", "patients", "sick"),
    [(0.0004, 10_000, 4), (0.00001, 100_000, 1), (0.9999, 10_000, 9_999), (1e-300, 1_000_000, 0)],
)
def test_rare_diseases_are_told_of_more_patients(
    prevalence: float, patients: int, sick: int
) -> None:
    people = made(per_thousand(counted(1, 0, 0, 1), prevalence))
    assert (people.patients, people.sick) == (patients, sick)
    assert people.in_words.startswith(f"Per {patients:,} patients, {sick:,} of them sick: ")


def test_one_false_alarm_is_singular() -> None:
    assert (
        "1 missed, 1 false alarm, 499 right" in made(per_thousand(counted(499, 1, 1, 499))).in_words
    )


def test_images_of_one_class_tell_nothing_of_the_other() -> None:
    sick, healthy = counted(3, 1, 0, 0), counted(0, 0, 1, 3)
    assert made(per_thousand(sick)).in_words == (
        "Per 1,000 patients, 1,000 of them sick, as in these images: 750 found, 250 missed, "
        "0 false alarms, 0 rightly cleared."
    )
    assert made(per_thousand(healthy)).false_alarms == 250
    assert per_thousand(sick, 0.05) is None
    assert per_thousand(healthy, 0.05) is None


def test_predictive_values_are_those_of_the_numbers() -> None:
    metrics = evaluate_scores(
        Scores.from_arrays([1] * 20 + [0] * 20, [0.9] * 19 + [0.1] * 17 + [0.9] * 4),
        0.5,
        prevalence=0.2,
        resamples=0,
    )
    people = made(per_thousand(metrics, 0.2))
    assert people.found / (people.found + people.false_alarms) == pytest.approx(
        metrics.at_prevalence["ppv"], abs=0.002
    )


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 5.0, float("nan")])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(InputError, match="not between 0 and 1"):
        per_thousand(counted(1, 1, 1, 1), prevalence)
