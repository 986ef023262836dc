"""Another share of sick people: estimated without labels, and a threshold for it."""

from __future__ import annotations

import numpy as np
import pytest

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import (
    Criterion,
    choose_threshold_at_prevalence,
    estimate_prior,
    sweep,
    sweep_at_prevalence,
)

TRAINING = 0.7


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make intervals that are a little rougher, in a fifth of the time."""
    monkeypatch.setattr("featx.thresholds._label_shift.RESAMPLES", 100)


def posteriors(images: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussians a distance of 2 apart, whose exact posterior at the training prior is known."""
    random = np.random.default_rng(seed)
    sick = random.random(images) < share
    x = random.normal(np.where(sick, 1.0, -1.0), 1.0)
    odds = 2 * x + np.log(TRAINING / (1 - TRAINING))
    return sick, 1 / (1 + np.exp(-odds))


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95])
def test_the_share_is_found(share: float) -> None:
    _, values = posteriors(4000, share)
    found = estimate_prior(values, TRAINING, np.arange(4000))
    assert found.share == pytest.approx(share, abs=0.03)
    assert found.low <= share <= found.high


@pytest.mark.usefixtures("few_resamples")
def test_the_interval_holds_the_share_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(40):
        _, values = posteriors(200, 0.3, seed)
        found = estimate_prior(values, TRAINING, np.arange(200), seed=seed)
        inside += found.low <= 0.3 <= found.high
    assert inside >= 34  # 95 % of 40 are 38


@pytest.mark.usefixtures("few_resamples")
def test_counting_verdicts_would_have_been_further_off() -> None:
    sick, values = posteriors(4000, 0.1)
    counted = (values >= 0.5).mean()
    found = estimate_prior(values, TRAINING, np.arange(4000)).share
    assert abs(found - sick.mean()) < 0.25 * abs(counted - sick.mean())


def test_images_of_one_patient_are_no_independent_evidence() -> None:
    _, values = posteriors(50, 0.3)
    alone = estimate_prior(values, TRAINING, np.arange(50))
    tenfold = estimate_prior(values.repeat(10), TRAINING, np.arange(50).repeat(10))
    assert tenfold.high - tenfold.low > 0.7 * (alone.high - alone.low)


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        estimate_prior([], 0.5, [])


def test_accuracy_at_the_own_share_is_accuracy() -> None:
    scores = Scores.from_arrays(*posteriors(300, 0.4))
    share = float(scores.positive.mean())
    assert sweep_at_prevalence(scores, share).accuracy == pytest.approx(sweep(scores).accuracy)


def test_where_fewer_are_sick_the_threshold_is_higher() -> None:
    scores = Scores.from_arrays(*posteriors(2000, 0.7))
    thresholds = [
        choose_threshold_at_prevalence(scores, share, criterion=Criterion(accuracy_floor=0.85))
        for share in (0.7, 0.1)
    ]
    assert thresholds[0] < thresholds[1]
    points = sweep_at_prevalence(scores, 0.1)
    at = int(np.flatnonzero(points.thresholds == thresholds[-1])[0])
    assert points.accuracy[at] >= 0.85
    sick = int(scores.positive.sum())
    highest = points.recall[points.accuracy >= 0.85].max()
    error = np.sqrt(highest * (1 - highest) / sick)  # each patient has one image
    assert highest - 1.1 * error <= points.recall[at] < highest


def test_a_floor_out_of_reach_is_refused() -> None:
    scores = Scores.from_arrays(*posteriors(500, 0.5))
    with pytest.raises(NoFeasibleThresholdError, match=r"where 50\.0% are sick, no threshold"):
        choose_threshold_at_prevalence(scores, 0.5, criterion=Criterion(accuracy_floor=0.99))
