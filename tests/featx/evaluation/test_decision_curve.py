"""Decision curves: net benefits worked out by hand, and bands of resampled patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import DecisionCurve, decision_curve
from featx.evaluation._resampling import resampled_weights

# Of 10 sick 8 are called, of 30 healthy 6.
TABLE = Scores.from_arrays([1] * 10 + [0] * 30, [0.7] * 8 + [0.1] * 2 + [0.7] * 6 + [0.1] * 24)


def at(curve: DecisionCurve, threshold: float) -> float:
    return float(curve.net_benefit[curve.thresholds.tolist().index(threshold)])


class TestNetBenefit:
    def test_of_a_table_of_counts(self) -> None:
        curve = decision_curve(TABLE, thresholds=[0.05, 0.2, 0.5, 0.8], resamples=0)
        # 8/40 - 6/40 x 0.2/0.8, 8/40 - 6/40 x 0.5/0.5; at 0.05 all are called, at 0.8 nobody.
        assert curve.net_benefit.tolist() == pytest.approx(
            [10 / 40 - 30 / 40 / 19, 0.1625, 0.05, 0]
        )
        assert curve.treat_all.tolist() == pytest.approx(
            [10 / 40 - 30 / 40 / 19, 0.0625, -0.5, -2.75]
        )
        assert np.isnan(curve.low).all()
        assert curve.prevalence == 0.25

    def test_at_another_prevalence_images_are_weighted_and_probabilities_corrected(self) -> None:
        # The odds of 0.7 and 0.1 are multiplied by (0.05/0.95) / (0.25/0.75) = 3/19.
        high, low = (odds / (1 + odds) for odds in (0.7 / 0.3 * 3 / 19, 0.1 / 0.9 * 3 / 19))
        assert low < 0.02 < 0.2 < high < 0.3
        curve = decision_curve(TABLE, thresholds=[0.01, 0.2, 0.3], prevalence=0.05, resamples=0)
        expected = [0.05 - 0.95 / 99, 0.8 * 0.05 - 0.2 * 0.95 * 0.25, 0.0]
        assert curve.net_benefit.tolist() == pytest.approx(expected)
        assert curve.treat_all.tolist() == pytest.approx(
            [0.05 - 0.95 * c for c in (1 / 99, 0.25, 3 / 7)]
        )

    def test_at_the_images_own_prevalence_nothing_changes(self) -> None:
        random = np.random.default_rng(0)
        scores = Scores.from_arrays(np.arange(50) % 4 == 0, random.random(50))
        plain, stated = decision_curve(scores), decision_curve(scores, prevalence=13 / 50)
        assert stated.net_benefit == pytest.approx(plain.net_benefit)
        assert stated.treat_all == pytest.approx(plain.treat_all)

    def test_without_errors_it_is_the_prevalence_everywhere(self) -> None:
        scores = Scores.from_arrays([0, 0, 0, 1], [0.0, 0.0, 0.0, 1.0])
        curve = decision_curve(scores)
        assert (curve.net_benefit == 0.25).all()
        assert curve.useful_range == (0.01, 0.99)
        stated = decision_curve(scores, prevalence=0.001)
        assert stated.net_benefit == pytest.approx(0.001)
        assert np.isnan(stated.low).all()  # resamples are all alike, which says nothing

    def test_probabilities_take_the_place_of_scores(self) -> None:
        given = np.where(TABLE.score > 0.5, 0.3, 0.01)
        curve = decision_curve(TABLE, given, thresholds=[0.2, 0.5], resamples=0)
        assert curve.net_benefit.tolist() == pytest.approx([0.1625, 0.0])


class TestBand:
    def test_it_holds_95_of_100_curves_of_resampled_patients(self) -> None:
        scores = Scores.from_arrays(TABLE.positive, TABLE.score, np.arange(40) // 2)
        curve = decision_curve(scores, thresholds=[0.2], seed=3)
        drawn = np.concatenate(list(resampled_weights(scores.patient_number, seed=3)))
        called = scores.score >= 0.2
        found, wrong = drawn @ (called & scores.positive), drawn @ (called & ~scores.positive)
        low, high = np.quantile((found - wrong / 4) / drawn.sum(axis=1), (0.025, 0.975))
        assert (curve.low[0], curve.high[0]) == pytest.approx((low, high))
        assert curve.low[0] < curve.net_benefit[0] < curve.high[0]
        alone = decision_curve(TABLE, thresholds=[0.2], seed=3)
        assert curve.high[0] - curve.low[0] > alone.high[0] - alone.low[0]

    def test_a_stated_prevalence_leaves_only_what_recall_and_specificity_vary(self) -> None:
        own = decision_curve(TABLE, thresholds=[0.2])
        stated = decision_curve(TABLE, thresholds=[0.2], prevalence=0.25)
        assert stated.high[0] - stated.low[0] < own.high[0] - own.low[0]


class TestTheOwnThreshold:
    def test_is_a_point_of_the_curve_and_said_in_false_alarms(self) -> None:
        curve = decision_curve(TABLE, operating_point=0.125, resamples=0)
        assert at(curve, 0.125) == pytest.approx(8 / 40 - 6 / 40 / 7)
        assert len(curve.thresholds) == 100
        assert curve.in_words == (
            "The model is better than treating all or none at threshold probabilities from "
            "0.11 to 0.57. Its own threshold is at a probability of 0.12: there, one sick person "
            "found is worth 7 false alarms."
        )

    @pytest.mark.parametrize(("own", "better"), [(0.4, "all"), (0.6, "none")])
    def test_is_said_to_be_of_no_use_where_all_or_none_are_better(
        self, own: float, better: str
    ) -> None:
        scores = Scores.from_arrays([0, 0, 1, 1], [0.7, 0.1, 0.7, 0.1])
        curve = decision_curve(scores, operating_point=own, resamples=0)
        assert curve.in_words.endswith(f"false alarms, and treating {better} is better.")

    def test_it_moves_with_the_prevalence(self) -> None:
        curve = decision_curve(TABLE, operating_point=0.7, prevalence=0.05, resamples=0)
        odds = 0.7 / 0.3 * 3 / 19
        assert curve.operating_point == pytest.approx(odds / (1 + odds))
        assert curve.operating_point is not None
        net = 0.8 * 0.05 - 0.2 * 0.95 * odds  # those with a score of 0.7 are still called
        assert at(curve, curve.operating_point) == pytest.approx(net)

    def test_given_thresholds_stay_as_they_are(self) -> None:
        curve = decision_curve(TABLE, thresholds=[0.5, 0.2, 0.5], operating_point=0.5, resamples=0)
        assert curve.thresholds.tolist() == [0.2, 0.5]
        assert curve.in_words.endswith("found is worth 1 false alarm.")


def test_a_model_that_ranks_the_wrong_way_is_nowhere_of_use() -> None:
    curve = decision_curve(Scores.from_arrays([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1]))
    assert curve.useful_range is None
    assert curve.in_words == "The model is nowhere better than both treating all and treating none."


def test_it_prints_and_is_a_table() -> None:
    curve = decision_curve(TABLE, thresholds=[0.2, 0.5])
    table = curve.to_frame()
    assert list(table) == ["threshold", "model", "low", "high", "treat_all", "treat_none"]
    assert table["model"].tolist() == curve.net_benefit.tolist()
    assert (table["treat_none"] == 0.0).all()
    assert repr(curve) == (
        "DecisionCurve(40 images of 40 patients, prevalence 0.25, net benefit 0.050 to 0.163)"
    )
    assert "<th>treat_all</th>" in curve._repr_html_()
    assert curve.in_words in curve._repr_html_()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"probabilities": [0.1]}, r"shape \(1,\) don't match 40 images"),
        ({"probabilities": np.full(40, 1.2)}, "1.2 to 1.2 are not between 0 and 1"),
        ({"probabilities": np.full(40, np.nan)}, "not between 0 and 1"),
        ({"thresholds": [0.0, 0.5]}, "`thresholds` must be"),
        ({"thresholds": [0.5, 1.0]}, "`thresholds` must be"),
        ({"thresholds": [0.5, np.nan]}, "`thresholds` must be"),
        ({"thresholds": []}, "`thresholds` must be"),
        ({"prevalence": 0.0}, "`prevalence` 0 is not"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        decision_curve(TABLE, resamples=0, **options)


def test_one_class_has_no_curve() -> None:
    with pytest.raises(InputError, match="one class"):
        decision_curve(Scores.from_arrays([1, 1], [0.1, 0.2]))
