"""Platt's map: what it recovers, and what it does where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from featx._scores import Scores
from featx.thresholds import learn_platt
from featx.thresholds._recalibration import logits


def test_a_known_map_is_recovered() -> None:
    random = np.random.default_rng(0)
    log_odds = random.normal(0, 3, 20_000)
    truth = random.random(20_000) < expit(0.5 * log_odds - 1.0)
    found = learn_platt(Scores.from_arrays(truth, expit(log_odds)))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.06)


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
