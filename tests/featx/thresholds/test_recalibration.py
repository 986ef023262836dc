"""Recalibration: a map of scores that keeps their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from featx._scores import Scores
from featx.errors import InputError
from featx.thresholds import Recalibration, fit_recalibration
from featx.thresholds._calibrators import learn_platt
from featx.thresholds._recalibration import logits


def test_slope_one_and_intercept_zero_change_nothing() -> None:
    scores = np.array([0.001, 0.3, 0.5, 0.97])
    same = Recalibration(method="sigmoid", slope=1.0, intercept=0.0).apply(scores)
    assert same == pytest.approx(scores, rel=1e-12)


def test_an_intercept_moves_the_odds_by_a_factor() -> None:
    (moved,) = Recalibration(method="prior", slope=1.0, intercept=np.log(4.0)).apply([0.5])
    assert moved / (1 - moved) == pytest.approx(4.0)


def test_a_temperature_above_one_draws_scores_to_the_middle() -> None:
    scores = np.array([0.01, 0.5, 0.99])
    milder = Recalibration(method="temperature", slope=0.5, intercept=0.0).apply(scores)
    assert milder[1] == 0.5
    assert scores[0] < milder[0] < 0.5 < milder[2] < scores[2]


def test_the_order_stays_at_the_ends_too() -> None:
    scores = np.array([0.0, 1e-300, 1e-9, 0.5, 1 - 1e-9, 1.0])
    mapped = Recalibration(method="sigmoid", slope=0.7, intercept=1.3).apply(scores)
    assert np.isfinite(mapped).all()
    assert (np.diff(mapped) > 0).all()


@pytest.mark.parametrize("slope", [0.0, -1.0, np.inf, np.nan])
def test_a_slope_that_turns_the_order_round_is_refused(slope: float) -> None:
    with pytest.raises(ValidationError):
        Recalibration(method="sigmoid", slope=slope, intercept=0.0)


def scores_and_labels() -> Scores:
    """Labels whose true log odds are half of the scores' less one."""
    random = np.random.default_rng(0)
    odds = random.normal(0.0, 2.0, 4000)
    sick = random.random(4000) < 1 / (1 + np.exp(-(0.5 * odds - 1.0)))
    return Scores.from_arrays(sick, 1 / (1 + np.exp(-odds)))


def test_platts_map_is_found() -> None:
    scores = scores_and_labels()
    found = fit_recalibration(scores, "sigmoid")
    assert (found.slope, found.intercept) == pytest.approx((0.5, -1.0), abs=0.1)
    assert found.apply(scores.score).mean() == pytest.approx(scores.positive.mean(), abs=0.01)


def test_a_temperature_has_no_intercept() -> None:
    scores = scores_and_labels()
    found = fit_recalibration(scores, "temperature")
    assert found.intercept == 0.0
    assert 0 < found.slope < 1


def test_one_map_after_another_is_one_map() -> None:
    first = Recalibration(method="sigmoid", slope=0.5, intercept=-1.0)
    then = Recalibration(method="prior", slope=1.0, intercept=2.0)
    scores = np.array([0.01, 0.4, 0.9])
    assert then.after(first).apply(scores) == pytest.approx(then.apply(first.apply(scores)))
    assert then.after(None) == then


def test_scores_the_wrong_way_round_are_refused() -> None:
    scores = scores_and_labels()
    with pytest.raises(InputError, match="no higher scores here than the healthy"):
        fit_recalibration(replace(scores, positive=~scores.positive), "sigmoid")


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="both classes"):
        fit_recalibration(Scores.from_arrays([1, 1], [0.2, 0.3]), "sigmoid")


def test_it_is_scikit_learn_s_sigmoid_calibration_of_the_log_odds() -> None:
    random = np.random.default_rng(1)
    log_odds = random.normal(0, 2, 300)
    truth = random.random(300) < expit(2 * log_odds + 0.3)
    # A logistic regression whose decision function is the log odds themselves.
    identity = LogisticRegression().fit(log_odds[:, None], truth)
    identity.coef_, identity.intercept_ = np.array([[1.0]]), np.array([0.0])
    theirs = CalibratedClassifierCV(FrozenEstimator(identity), method="sigmoid", cv=2)
    wanted = np.mean(
        [
            each.predict_proba(log_odds[:, None])[:, 1]
            for each in theirs.fit(
                np.tile(log_odds, 2)[:, None], np.tile(truth, 2)
            ).calibrated_classifiers_
        ],
        axis=0,
    )
    ours = learn_platt(Scores.from_arrays(truth, expit(log_odds))).apply(expit(log_odds))
    assert ours == pytest.approx(wanted, abs=0.01)


def test_a_patient_counts_once_however_many_images_there_are() -> None:
    truth, scores = np.array([0, 0, 1, 1]), np.array([0.2, 0.6, 0.4, 0.9])
    once = learn_platt(Scores.from_arrays(truth, scores))
    many = learn_platt(Scores.from_arrays(truth, scores)[np.repeat(range(4), [1, 9, 1, 1])])
    assert many.slope == pytest.approx(once.slope, rel=1e-3)
    assert many.intercept == pytest.approx(once.intercept, rel=1e-3)


def test_scores_without_an_error_do_not_become_certainties() -> None:
    found = learn_platt(Scores.from_arrays([0, 0, 1, 1], [0.0, 0.1, 0.9, 1.0]))
    assert np.isfinite(found.slope)
    assert 0.0 < found.apply([0.9])[0] < 1.0


def test_scores_that_order_patients_the_wrong_way_give_all_the_share_of_positives() -> None:
    found = learn_platt(Scores.from_arrays([1, 1, 1, 0], [0.1, 0.2, 0.3, 0.9]))
    assert found.slope > 0
    assert found.apply([0.05, 0.5, 0.95]) == pytest.approx(4 / 6)


def test_it_keeps_the_order_of_scores() -> None:
    random = np.random.default_rng(2)
    truth = random.random(50) < 0.5
    scores = expit(logits(random.random(50)) + truth)
    mapped = learn_platt(Scores.from_arrays(truth, scores)).apply(scores)
    assert (np.argsort(mapped) == np.argsort(scores)).all()
