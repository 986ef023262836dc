"""Intervals and tests: worked examples, definitions, and how often they are right."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from featx.errors import InputError
from featx.evaluation._clustered import (
    clustered_interval,
    extreme_area_interval,
    weighted_sum_interval,
)
from featx.evaluation._delong import area_interval, areas, compare_areas
from featx.evaluation._interval import Interval, proportion_interval
from featx.evaluation._prevalence import predictive_values
from featx.evaluation._resampling import Weights, bootstrap_intervals, resampled_weights
from featx.evaluation._weighted_metrics import weighted_auc, weighted_average_precision


def drawn(count: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels and scores with ties."""
    random = np.random.default_rng(seed)
    y = random.random(count) < 0.6
    return y, np.round(random.normal(1.2 * y, 1.0), 1)


class TestProportions:
    @pytest.mark.parametrize(
        ("hits", "total", "method", "low", "high"),
        [
            # Newcombe, Statistics in Medicine 1998, 17: 857-872, table I.
            (81, 263, "wilson", 0.2553, 0.3662),
            (81, 263, "clopper_pearson", 0.2527, 0.3676),
            (15, 148, "wilson", 0.0624, 0.1605),
            (15, 148, "clopper_pearson", 0.0578, 0.1617),
            (0, 20, "wilson", 0.0, 0.1611),
            (0, 20, "clopper_pearson", 0.0, 0.1684),
            (1, 29, "wilson", 0.0061, 0.1718),
            (1, 29, "clopper_pearson", 0.0009, 0.1776),
        ],
    )
    def test_published_examples(
        self, hits: int, total: int, method: str, low: float, high: float
    ) -> None:
        found = proportion_interval(hits, total, method)  # type: ignore[arg-type]
        assert found is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)

    def test_of_nothing_there_is_none(self) -> None:
        assert proportion_interval(0, 0) is None


# DeLong, DeLong and Clarke-Pearson, Biometrics 1988: the 43 of their 49 patients with ovarian
# cancer who had all three tests. Albumin, total protein, K-G score (the less the better), outcome.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


class TestDeLong:
    @pytest.mark.parametrize(
        ("column", "area", "error", "low", "high"),
        [
            (0, 0.7366, 0.0927, 0.5549, 0.9182),
            (1, 0.6478, 0.1000, 0.4518, 0.8439),
            (2, 0.7258, 0.1028, 0.5243, 0.9273),
        ],
    )
    def test_published_areas(
        self, column: int, area: float, error: float, low: float, high: float
    ) -> None:
        # As the example "Comparing Receiver Operating Characteristic Curves" of SAS/STAT's PROC
        # LOGISTIC prints them.
        values = np.array(OVARIAN.split(), float).reshape(-1, 4)
        scores = values[:, column] if column < 2 else -values[:, column]
        found, covariance = areas(values[:, 3], scores)
        assert found[0] == pytest.approx(area, abs=5e-5)
        assert np.sqrt(covariance[0, 0]) == pytest.approx(error, abs=5e-5)
        interval = area_interval(values[:, 3], scores)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)

    @pytest.mark.parametrize(
        ("column", "difference", "low", "high", "p_value"),
        [(0, 0.0108, -0.1761, 0.1976, 0.9102), (1, -0.0780, -0.2830, 0.1271, 0.4561)],
    )
    def test_published_comparisons(
        self, column: int, difference: float, low: float, high: float, p_value: float
    ) -> None:
        # There too: albumin and total protein against the K-G score.
        values = np.array(OVARIAN.split(), float).reshape(-1, 4)
        found = compare_areas(values[:, 3], values[:, column], -values[:, 2])
        assert found.difference == pytest.approx(difference, abs=5e-5)
        assert found.interval.low == pytest.approx(low, abs=6e-5)
        assert found.interval.high == pytest.approx(high, abs=6e-5)
        assert found.p_value == pytest.approx(p_value, abs=5e-5)

    def test_published_area_of_ratings(self) -> None:
        # Hanley and McNeil, Radiology 1982, table I: 58 normal and 51 abnormal CT images, rated 1
        # to 5. Stata's manual ([R] roctab) gives DeLong's interval.
        normal, abnormal = (
            np.repeat(range(5), [33, 6, 6, 11, 2]),
            np.repeat(range(5), [3, 2, 2, 11, 33]),
        )
        y = np.arange(109) >= 58
        scores = np.concatenate([normal, abnormal])
        assert areas(y, scores)[0][0] == pytest.approx(0.8932, abs=5e-5)
        interval = area_interval(y, scores)
        assert (interval.low, interval.high) == pytest.approx((0.83295, 0.95339), abs=6e-6)

    def test_areas_are_scikit_learn_s(self) -> None:
        y, scores = drawn(300)
        assert areas(y, scores)[0][0] == pytest.approx(roc_auc_score(y, scores), abs=1e-12)

    def test_covariance_is_that_of_the_placements(self) -> None:
        # The definition of DeLong, DeLong and Clarke-Pearson (1988), pair by pair.
        y, one = drawn(80)
        other = one + np.random.default_rng(1).normal(0, 1, 80)
        columns = []
        for scores in (one, other):
            sick, well = scores[y][:, None], scores[~y][None, :]
            wins = (sick > well) + 0.5 * (sick == well)
            columns.append((wins.mean(axis=1), wins.mean(axis=0)))
        of_sick = np.cov([columns[0][0], columns[1][0]]) / y.sum()
        of_well = np.cov([columns[0][1], columns[1][1]]) / (~y).sum()
        found = areas(y, np.stack([one, other]))[1]
        np.testing.assert_allclose(found, of_sick + of_well, atol=1e-12)

    def test_the_interval_holds_the_true_area_as_often_as_it_says(self) -> None:
        # Scores of two normal distributions 1.2 apart: the area is known.
        truth = 0.5 * (1 + math.erf(1.2 / 2))
        held = 0
        for seed in range(400):
            random = np.random.default_rng(seed)
            y = np.arange(150) < 60
            interval = area_interval(y, random.normal(1.2 * y, 1.0))
            held += interval.low <= truth <= interval.high
        assert 0.91 <= held / 400 <= 0.98

    def test_equal_areas_are_seldom_told_apart_and_others_mostly(self) -> None:
        alarms = found = 0
        for seed in range(300):
            random = np.random.default_rng(seed)
            y = np.arange(160) < 80
            shared = random.normal(1.0 * y, 1.0)
            one, same, worse = (shared + random.normal(0, noise, 160) for noise in (0.5, 0.5, 2.5))
            alarms += compare_areas(y, one, same).p_value < 0.05
            found += compare_areas(y, one, worse).p_value < 0.05
        assert alarms / 300 < 0.09
        assert found / 300 > 0.7

    def test_a_classifier_does_not_differ_from_itself(self) -> None:
        y, scores = drawn(100)
        same = compare_areas(y, scores, 3 * scores + 1)
        assert same.difference == 0.0
        assert same.p_value == 1.0

    def test_perfect_scores_have_an_interval_of_one_value(self) -> None:
        y = np.arange(20) < 8
        interval = area_interval(y, y.astype(float))
        assert (interval.low, interval.high) == (1.0, 1.0)

    def test_one_sick_image_is_too_few(self) -> None:
        with pytest.raises(InputError, match="two images of each class"):
            areas([1, 0, 0], [0.1, 0.2, 0.3])


class TestPrevalence:
    def test_worked_example(self) -> None:
        # Sensitivity 90 %, specificity 90 %, one in a hundred sick: 9 of 108 called are.
        ppv, npv = predictive_values(0.9, 0.9, 0.01)
        assert ppv == pytest.approx(9 / 108)
        assert npv == pytest.approx(891 / 892)

    def test_at_the_prevalence_of_the_sample_they_are_the_sample_s(self) -> None:
        tp, fn, fp, tn = 50, 7, 11, 80
        ppv, npv = predictive_values(tp / (tp + fn), tn / (tn + fp), (tp + fn) / 148)
        assert (ppv, npv) == pytest.approx((tp / (tp + fp), tn / (tn + fn)))

    def test_who_calls_nobody_has_no_ppv(self) -> None:
        ppv, npv = predictive_values(0.0, 1.0, 0.2)
        assert math.isnan(ppv)
        assert npv == pytest.approx(0.8)

    @pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 5.0, math.nan])
    def test_prevalence_is_a_share(self, prevalence: float) -> None:
        with pytest.raises(InputError, match="`prevalence`"):
            predictive_values(0.9, 0.9, prevalence)


def mean(values: Weights, weights: Weights) -> Weights:
    return np.asarray(weights @ values / weights.sum(axis=1))


class TestResampling:
    def test_weights_count_patients(self) -> None:
        groups = np.array([0, 0, 1, 2, 2, 2])
        (weights,) = resampled_weights(groups, seed=0, resamples=50)
        assert weights.shape == (50, 6)
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, 3] == weights[:, 5]).all()
        assert (weights[:, 0] + weights[:, 2] + weights[:, 3] == 3).all()

    def test_weighted_curves_are_scikit_learn_s(self) -> None:
        y, scores = drawn(200)
        weights = next(resampled_weights(np.arange(200) // 2, seed=1))[:20]
        auc, precision = weighted_auc(y, scores), weighted_average_precision(y, scores)
        for number, row in enumerate(weights):
            assert auc(weights)[number] == pytest.approx(
                roc_auc_score(y, scores, sample_weight=row), abs=1e-12
            )
            assert precision(weights)[number] == pytest.approx(
                average_precision_score(y, scores, sample_weight=row), abs=1e-12
            )

    def test_an_interval_holds_the_truth_as_often_as_it_says(self) -> None:
        held = 0
        for seed in range(200):
            random = np.random.default_rng(seed)
            # Fifty patients of four images, whose images share what is special about them.
            values = random.normal(0, 1, 50).repeat(4) + random.normal(0, 0.5, 200)
            groups = np.arange(50).repeat(4)
            interval = bootstrap_intervals(
                {"mean": partial(mean, values)}, groups, seed=seed, resamples=400
            )["mean"]
            held += interval.low <= 0.0 <= interval.high
        assert 0.89 <= held / 200 <= 0.985

    def test_a_statistic_that_is_never_defined_has_no_interval(self) -> None:
        undefined = {"x": lambda w: np.full(len(w), np.nan)}
        assert bootstrap_intervals(undefined, np.arange(5), seed=0, resamples=50) == {}
        assert bootstrap_intervals(undefined, np.arange(5), seed=0, resamples=0) == {}


def clustered(hits: ArrayLike, patients: ArrayLike) -> Interval:
    found = clustered_interval(hits, patients)
    assert found is not None
    return found


class TestClustered:
    """Korn and Graubard's intervals of proportions of images, where patients have several."""

    @pytest.mark.parametrize("share", [0.6, 0.9, 0.97, 0.995])
    @pytest.mark.parametrize(
        ("patients", "images", "alike"), [(15, 6, 0.3), (40, 4, 1.0), (80, 3, 0.1), (60, 1, 0.0)]
    )
    def test_it_holds_the_truth_in_93_of_100_at_least(
        self, share: float, patients: int, images: int, alike: float
    ) -> None:
        # Each patient's own share is beta distributed; `alike` is the correlation of their images.
        random, inside, rounds = np.random.default_rng(11), 0, 400
        place = np.arange(patients).repeat(images)
        for _ in range(rounds):
            if alike in (0.0, 1.0):
                own = (random.random(patients) < share) if alike else np.full(patients, share)
            else:
                size = 1 / alike - 1
                own = random.beta(share * size, (1 - share) * size, patients)
            found = clustered(random.random(len(place)) < own[place], place)
            assert found.low < found.high
            inside += found.low <= share <= found.high
        assert inside / rounds >= 0.93

    def test_images_of_their_own_patients_have_clopper_and_pearson_s(self) -> None:
        found = clustered([True] * 50 + [False] * 3, range(53))
        exact = proportion_interval(50, 53, "clopper_pearson")
        assert exact is not None
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))

    def test_the_rule_of_three_is_on_patients(self) -> None:
        found = clustered(np.zeros(1000), np.arange(100).repeat(10))
        assert found.low == 0.0
        assert found.high == pytest.approx(1 - 0.025 ** (1 / 100))

    def test_one_miss_doesn_t_tell_more_than_none(self) -> None:
        place = np.arange(100).repeat(10)
        none, one, two = (clustered(np.arange(1000) >= misses, place) for misses in (0, 1, 2))
        assert two.low < one.low < none.low

    def test_images_that_are_all_alike_are_worth_one(self) -> None:
        hits = np.arange(30) < 20
        one = clustered(hits, range(30))
        many = clustered(hits.repeat(8), np.arange(30).repeat(8))
        assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=0.02)

    def test_one_patient_has_none(self) -> None:
        assert clustered_interval([True, False], ["a", "a"]) is None

    def test_a_sum_of_two_is_as_wide_as_both_allow(self) -> None:
        # Independent errors add in squares: 0.3 and 0.4 make 0.5.
        found = weighted_sum_interval(
            (0.5, 0.5), (Interval(0.2, 0.8), Interval(0.1, 0.9)), (1.0, 1.0)
        )
        assert (found.low, found.high) == pytest.approx((0.5, 1.5))

    def test_perfect_separation_is_no_certainty(self) -> None:
        few, many = extreme_area_interval(1.0, 10, 10), extreme_area_interval(1.0, 500, 500)
        assert few.low < 0.85 < 0.99 < many.low < 1.0
        assert few.high == many.high == 1.0
        wrong = extreme_area_interval(0.0, 10, 10)
        assert (wrong.low, wrong.high) == pytest.approx((0.0, 1.0 - few.low))

    def test_a_perfect_area_covers_the_true_one(self) -> None:
        # Scores of sick and healthy overlap a little: areas of 1 are frequent, and not the truth.
        random, truth = np.random.default_rng(2), norm.cdf(2.8 / np.sqrt(2))
        missed = 0
        for _ in range(400):
            sick, healthy = random.normal(2.8, 1, 12), random.normal(0, 1, 12)
            missed += (
                bool(sick.min() > healthy.max()) and extreme_area_interval(1, 12, 12).low > truth
            )
        assert missed == 0
