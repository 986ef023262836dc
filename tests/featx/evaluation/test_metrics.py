"""Metrics against hand-made and scikit-learn values, and their intervals."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from sklearn import metrics as reference

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Interval, Metrics, caveats, evaluate_scores
from featx.evaluation._prevalence import predictive_values

# Eight images: of five sick ones three are called sick, of three healthy ones one.
Y = [1, 1, 1, 1, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.3, 0.2, 0.6, 0.4, 0.1]
PATIENTS = list("aabbccdd")
INTERVALS = ("accuracy", "recall", "specificity")


def measured(
    y: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None, **options: Any
) -> Metrics:
    return evaluate_scores(Scores.from_arrays(y, scores, patients), 0.5, **options)


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return measured(Y, SCORES, PATIENTS)


@pytest.fixture(scope="module")
def many() -> Scores:
    """A hundred patients of three images."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 300)
    scores = (0.3 * y + 0.7 * random.uniform(size=300)).round(3)
    return Scores.from_arrays(y, scores, [f"p{n // 3:03}" for n in range(300)])


@pytest.fixture(scope="module")
def singles(many: Scores) -> Scores:
    """The same images, each of its own patient."""
    return Scores.from_arrays(many.positive, many.score)


class TestValues:
    def test_confusion_counts(self, metrics: Metrics) -> None:
        assert metrics.confusion == {"tp": 3, "fn": 2, "fp": 1, "tn": 2}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("images", 8),
            ("patients", 4),
            ("threshold", 0.5),
            ("accuracy", 5 / 8),
            ("recall", 3 / 5),
            ("specificity", 2 / 3),
            ("precision", 3 / 4),
            ("f1", 2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5)),
            # The sick image is ahead in 11 of 15 pairs of a sick and a healthy one.
            ("roc_auc", 11 / 15),
        ],
    )
    def test_hand_computed_values(self, metrics: Metrics, name: str, value: float) -> None:
        assert getattr(metrics, name) == pytest.approx(value)

    def test_values_equal_scikit_learn_s(self, many: Scores) -> None:
        y, scores = many.positive, many.score
        found = evaluate_scores(many, 0.55)
        called = scores >= 0.55
        assert found.accuracy == pytest.approx(reference.accuracy_score(y, called))
        assert found.recall == pytest.approx(reference.recall_score(y, called))
        assert found.specificity == pytest.approx(reference.recall_score(y, called, pos_label=0))
        assert found.precision == pytest.approx(reference.precision_score(y, called))
        assert found.f1 == pytest.approx(reference.f1_score(y, called))
        assert found.roc_auc == pytest.approx(reference.roc_auc_score(y, scores))
        assert found.average_precision == pytest.approx(
            reference.average_precision_score(y, scores)
        )
        assert found.log_loss == pytest.approx(reference.log_loss(y, scores))

    def test_a_score_equal_to_the_threshold_is_positive(self) -> None:
        assert measured([1, 0], [0.5, 0.4]).recall == 1.0

    def test_a_score_of_exactly_0_or_1_that_is_wrong_keeps_the_log_loss_finite(self) -> None:
        assert np.isfinite(measured([1, 0], [0.0, 1.0]).log_loss)

    def test_labels_may_be_truth_values(self) -> None:
        truths = measured(np.array(Y, bool), SCORES, PATIENTS)
        assert truths == measured(Y, SCORES, PATIENTS)


class TestMissingClasses:
    def test_without_sick_images_what_needs_them_is_none(self) -> None:
        plain = measured([0, 0, 0], [0.1, 0.2, 0.7]).as_dict()
        missing = {name for name, value in plain.items() if value is None}
        assert missing == {
            "recall", "balanced_accuracy", "mcc", "roc_auc", "average_precision", "log_loss",
        }  # fmt: skip
        assert plain["specificity"] == pytest.approx(2 / 3)
        assert plain["precision"] == 0.0
        assert {"accuracy", "specificity"} <= set(plain["intervals"])
        assert not missing & set(plain["intervals"])

    def test_without_healthy_images_what_needs_them_is_none(self) -> None:
        plain = measured([1, 1], [0.1, 0.7]).as_dict()
        assert plain["specificity"] is None
        assert plain["roc_auc"] is None
        assert plain["recall"] == 0.5
        assert {"accuracy", "recall"} <= set(plain["intervals"])
        assert not {"specificity", "roc_auc", "mcc"} & set(plain["intervals"])

    def test_nobody_called_sick_leaves_precision_undefined(self) -> None:
        plain = measured([1, 0], [0.1, 0.2]).as_dict()
        assert plain["precision"] is None
        assert plain["f1"] == 0.0

    def test_the_plain_dict_is_json_without_nan(self) -> None:
        found = measured([0, 0], [0.1, 0.2])
        assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()

    def test_intervals_become_low_and_high(self, metrics: Metrics) -> None:
        interval = metrics.intervals["accuracy"]
        assert metrics.as_dict()["intervals"]["accuracy"] == {
            "low": interval.low,
            "high": interval.high,
        }


class TestPrevalence:
    def test_predictive_values_move_with_it_and_have_intervals(self, singles: Scores) -> None:
        here = evaluate_scores(singles, 0.5)
        rare = evaluate_scores(singles, 0.5, prevalence=0.02)
        expected = predictive_values(here.recall, here.specificity, 0.02)
        assert (rare.at_prevalence["ppv"], rare.at_prevalence["npv"]) == expected
        assert rare.at_prevalence["ppv"] < here.precision
        for name, value in zip(("ppv", "npv"), expected, strict=True):
            interval = rare.intervals[f"{name}_at_prevalence"]
            assert interval.low < value < interval.high

    def test_without_sick_images_they_are_none(self) -> None:
        found = measured([0, 0], [0.1, 0.2], prevalence=0.1).as_dict()
        assert found["at_prevalence"] == {"prevalence": 0.1, "ppv": None, "npv": None}


class TestRefusals:
    def test_no_images(self) -> None:
        with pytest.raises(InputError, match="no images"):
            measured([], [], [])

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_scores_that_are_not_finite(self, wrong: float) -> None:
        with pytest.raises(InputError, match="scores are not finite numbers: 1"):
            measured([0, 1], [0.5, wrong])


class TestIntervals:
    def width(self, interval: Interval) -> float:
        return interval.high - interval.low

    def test_they_contain_the_value(self, many: Scores) -> None:
        found = evaluate_scores(many, 0.5)
        for name in INTERVALS:
            interval = found.intervals[name]
            assert 0 <= interval.low < getattr(found, name) < interval.high <= 1

    def test_patients_are_resampled_not_images(self) -> None:
        # Ten patients, half of them judged wrongly, each with 40 identical images: as much is
        # known as of ten images, however many there are.
        y, scores = np.tile([1, 0], 5).repeat(40), np.full(400, 0.7)
        patients = measured(y, scores, np.arange(10).repeat(40))
        images = measured(y, scores)
        assert patients.accuracy == images.accuracy == 0.5
        wide = self.width(patients.intervals["accuracy"])
        narrow = self.width(images.intervals["accuracy"])
        assert wide > 4 * narrow
        # sqrt(p (1 - p) / n) on either side of p, 1.96 times.
        assert narrow == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 400), rel=0.15)
        assert wide == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 10), rel=0.25)

    def test_patients_names_and_the_order_of_images_do_not_matter_much(self, many: Scores) -> None:
        order = np.random.default_rng(1).permutation(300)
        one, other = evaluate_scores(many, 0.5), evaluate_scores(many[order], 0.5)
        assert one.intervals.keys() == other.intervals.keys()
        for name, interval in one.intervals.items():
            assert interval.low == pytest.approx(other.intervals[name].low, abs=1e-12)
            assert interval.high == pytest.approx(other.intervals[name].high, abs=1e-12)

    def test_equal_seeds_give_equal_intervals_and_others_do_not(self, singles: Scores) -> None:
        def intervals(seed: int) -> Any:
            return evaluate_scores(singles, 0.5, seed=seed).intervals

        assert intervals(1) == intervals(1)
        assert intervals(1) != intervals(2)

    def test_the_global_random_state_is_left_alone(self) -> None:
        np.random.seed(3)
        undisturbed = np.random.random()
        np.random.seed(3)
        measured(Y, SCORES, PATIENTS)
        assert np.random.random() == undisturbed

    def test_two_of_two_sick_patients_found_say_little(self) -> None:
        y = [1, 1] + [0] * 10
        scores = [0.9, 0.8] + [0.1] * 10
        found = measured(y, scores)
        # Clopper and Pearson's of 2 of 2: 0.025 ** (1 / 2).
        assert found.intervals["recall"].low == pytest.approx(0.025**0.5)
        assert found.intervals["recall"].high == 1.0

    def test_all_right_or_all_wrong_is_no_certainty(self) -> None:
        y = [0, 1] * 10
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            right = measured(y, y, prevalence=0.1)
            wrong = measured(y, [1 - v for v in y], prevalence=0.1)
        assert right.intervals["accuracy"].low == pytest.approx(0.025 ** (1 / 20))
        assert right.intervals["recall"].low == pytest.approx(0.025 ** (1 / 10))
        assert wrong.intervals["accuracy"].high == pytest.approx(1 - 0.025 ** (1 / 20))
        for found, value in ((right, 1.0), (wrong, 0.0)):
            assert all(i.low < i.high for i in found.intervals.values())
            for name in (*INTERVALS, "precision", "npv", "f1", "balanced_accuracy", "roc_auc"):
                interval = found.intervals[name]
                assert interval.low <= value <= interval.high
                assert interval.high - interval.low > 0.1
        assert right.intervals["npv_at_prevalence"].low < 0.97
        assert right.intervals["npv_at_prevalence"].high == 1.0
        # No conservative interval of these is known: none is better than one of no width.
        assert not {"mcc", "average_precision"} & set(right.intervals)

    def test_without_a_miss_patients_count_and_not_their_images(self) -> None:
        y = np.repeat([0, 1] * 10, 50)
        found = measured(y, y, np.arange(20).repeat(50)).intervals
        assert found["recall"].low == pytest.approx(0.025 ** (1 / 10))
        assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 20))

    def test_one_patient_has_no_interval(self) -> None:
        assert measured([0, 1], [0.1, 0.9], ["a", "a"]).intervals == {}

    def test_one_sick_patient_has_no_interval_of_recall(self) -> None:
        found = measured([0, 0, 1, 1], [0.1, 0.7, 0.9, 0.8], list("abcc"))
        assert {"accuracy", "specificity"} <= set(found.intervals)
        assert not {"recall", "balanced_accuracy", "roc_auc"} & set(found.intervals)

    def test_every_metric_has_one_and_lies_in_it(self, many: Scores) -> None:
        found = evaluate_scores(many, 0.5)
        named = {
            name
            for name, value in found.as_dict().items()
            if isinstance(value, float) and name != "threshold"
        }
        assert set(found.intervals) == named
        for name in named - {"calibration_error"}:  # which is biased upwards in resamples
            interval = found.intervals[name]
            assert interval.low < getattr(found, name) < interval.high

    def test_others_take_images_for_independent(self, singles: Scores) -> None:
        found = evaluate_scores(singles, 0.5)
        others = found.other_intervals
        assert set(others["wilson"]) == set(others["clopper_pearson"])
        for name, wilson in others["wilson"].items():
            exact, resampled = others["clopper_pearson"][name], found.intervals[name]
            # The exact one is never narrower; the three agree where each image is a patient.
            assert self.width(exact) >= self.width(wilson)
            assert resampled.low == pytest.approx(wilson.low, abs=0.03)
            assert resampled.high == pytest.approx(wilson.high, abs=0.03)
        delong = others["delong"]["roc_auc"]
        assert found.intervals["roc_auc"].low == pytest.approx(delong.low, abs=0.02)
        assert found.intervals["roc_auc"].high == pytest.approx(delong.high, abs=0.02)


class TestCautions:
    CLASSES = ("NORMAL", "PNEUMONIA")

    def test_few_patients_and_a_class_that_is_missing_are_said(self) -> None:
        few = measured([0] * 5 + [1] * 5, [0.1] * 5 + [0.9] * 5).as_dict()
        (said,) = caveats(few, self.CLASSES)
        assert said.startswith("Few patients: recall may be anything from 0.")
        assert ", specificity may be" in said
        one = measured([0] * 90, [0.1] * 90).as_dict()
        assert caveats(one, self.CLASSES) == [
            "There is no image of PNEUMONIA: recall and ROC AUC are unknown."
        ]

    def test_many_are_not(self) -> None:
        scores = [0.1] * 100 + [0.9] * 100
        many = measured([0] * 100 + [1] * 100, scores).as_dict()
        assert caveats(many, self.CLASSES) == []
