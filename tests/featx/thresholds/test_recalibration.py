"""Recalibration: a map of scores that keeps their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from featx._scores import Scores
from featx.errors import InputError
from featx.thresholds import Recalibration, fit_recalibration


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
