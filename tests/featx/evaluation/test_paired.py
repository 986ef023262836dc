"""Comparing runs on the same images: worked examples, and how often the tests are right."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._paired import (
    Contender,
    Difference,
    bootstrap_p_value,
    compare_runs,
    holm,
    mcnemar,
)


def population(patients: int = 60, seed: int = 0) -> Scores:
    """Three images a patient, which are alike. The score is how sick each looks."""
    random = np.random.default_rng(seed)
    patient = np.arange(3 * patients) // 3
    y = patient % 2 == 0
    return Scores.from_arrays(y, 1.5 * y + random.normal(0, 1, patients)[patient], patient)


def contender(name: str, people: Scores, noise: float, seed: int) -> Contender:
    random = np.random.default_rng(seed)
    return scored(name, people, random.normal(0, noise, len(people)))


def scored(name: str, people: Scores, noise: NDArray[np.float64]) -> Contender:
    return Contender(name, replace(people, score=norm.cdf(people.score + noise - 0.75)), 0.5)


def by(tests: list[Difference], metric: str, method: str = "bootstrap") -> Difference:
    (found,) = [t for t in tests if (t.metric, t.method) == (metric, method)]
    return found


class TestWorkedExamples:
    def test_mcnemar_exact(self) -> None:
        # Approval of the President, Agresti, Categorical Data Analysis 1990, p. 350: of 1,600
        # people 86 and 150 changed their minds. The R package exact2x2 gives p = 3.716e-05.
        assert mcnemar(86, 150) == pytest.approx(3.716e-05, rel=2e-4)
        assert mcnemar(150, 86) == mcnemar(86, 150)

    def test_mcnemar_of_few(self) -> None:
        # One of six: 2 (C(6, 0) + C(6, 1)) / 2 ** 6.
        assert mcnemar(1, 5) == pytest.approx(14 / 64)
        assert mcnemar(3, 3) == 1.0
        assert mcnemar(0, 0) == 1.0

    def test_holm(self) -> None:
        # The worked example of Wikipedia's "Holm–Bonferroni method": four hypotheses.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
        assert holm([]).shape == (0,)

    def test_bootstrap_p_value_counts_both_sides(self) -> None:
        draws = np.array([-1.0] * 10 + [1.0] * 89)
        assert bootstrap_p_value(draws) == pytest.approx(2 * 11 / 100)
        assert bootstrap_p_value(-draws) == bootstrap_p_value(draws)
        assert bootstrap_p_value(np.ones(99)) == pytest.approx(2 / 100)
        assert bootstrap_p_value(np.zeros(99)) == 1.0


class TestComparison:
    def test_every_metric_is_there_and_differences_are_those_of_the_values(self) -> None:
        people = population()
        tests = compare_runs([contender("a", people, 0.3, 1), contender("b", people, 2, 2)])
        names = {t.metric for t in tests if t.method == "bootstrap"}
        assert names == {
            "accuracy", "balanced_accuracy", "recall", "specificity", "precision", "npv", "f1",
            "mcc", "roc_auc", "average_precision", "brier", "log_loss", "calibration_error",
        }  # fmt: skip
        for test in tests:
            assert test.run == "b"
            assert test.difference == pytest.approx(test.other - test.first)
            if test.interval is not None:
                assert test.interval.low <= test.difference <= test.interval.high
        errors, accuracy = by(tests, "error_rate", "mcnemar"), by(tests, "accuracy")
        assert errors.difference == pytest.approx(-accuracy.difference)
        assert errors.only_other_wrong is not None
        assert errors.only_first_wrong is not None
        more = errors.only_other_wrong - errors.only_first_wrong
        assert more / len(people) == pytest.approx(errors.difference)

    def test_a_worse_run_is_found_and_a_run_does_not_differ_from_itself(self) -> None:
        people = population()
        good, bad = contender("good", people, 0.1, 1), contender("bad", people, 4, 2)
        same = Contender("same", good.scores, good.threshold)
        tests = compare_runs([good, bad, same])
        for method in ("bootstrap", "delong"):
            found = by([t for t in tests if t.run == "bad"], "roc_auc", method)
            assert found.difference < 0
            assert found.interval is not None
            assert found.interval.high < 0
            assert found.p_value is not None
            assert found.p_value < 0.01
        for test in (t for t in tests if t.run == "same"):
            assert test.difference == 0.0
            assert test.p_value == test.adjusted == 1.0

    def test_adjusted_p_values_are_holm_s_over_all_tests(self) -> None:
        people = population()
        runs = [contender(str(n), people, noise, n) for n, noise in enumerate((0.3, 1.0, 3.0))]
        tests = compare_runs(runs)
        assert [t.adjusted for t in tests] == pytest.approx(holm([t.p_value or 0.0 for t in tests]))
        assert len(tests) == 2 * 15

    def test_equal_runs_are_seldom_told_apart_though_patients_have_three_images(self) -> None:
        # The noise of the two is shared by the images of a patient: images aren't independent.
        alarms, count = 0, 50
        for seed in range(count):
            people = population(40, seed)
            runs = []
            for name in "ab":
                random = np.random.default_rng((seed, ord(name)))
                own = random.normal(0, 1.0, 40)[people.patient_number] + random.normal(
                    0, 0.2, len(people)
                )
                runs.append(scored(name, people, own))
            p_value = by(compare_runs(runs, resamples=100), "roc_auc").p_value
            assert p_value is not None
            alarms += p_value < 0.05
        assert alarms / count <= 0.14

    def test_without_sick_images_areas_are_left_out_and_the_rest_is_tested(self) -> None:
        people = population()
        well = people[~people.positive]
        runs = [contender("a", well, 0.3, 1), contender("b", well, 3.0, 2)]
        tests = compare_runs(runs)
        assert not [t for t in tests if t.metric in ("roc_auc", "recall", "mcc")]
        specificity = by(tests, "specificity")
        assert specificity.p_value is not None
        json.dumps([t.as_dict() for t in tests], allow_nan=False)

    def test_each_run_has_its_own_threshold(self) -> None:
        people = population()
        run = contender("a", people, 0.3, 1)
        strict = Contender("strict", run.scores, 0.9)
        tests = compare_runs([run, strict])
        assert by(tests, "recall").difference < 0
        assert by(tests, "specificity").difference > 0
        assert by(tests, "roc_auc").difference == 0

    def test_one_run_is_no_comparison(self) -> None:
        people = population()
        with pytest.raises(InputError, match="needs two runs"):
            compare_runs([contender("a", people, 0.3, 1)])
