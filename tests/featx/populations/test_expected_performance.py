"""Estimates without labels: close to the truth, and as sure as they may be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from featx._scores import Scores
from featx.populations._expected_performance import (
    METRICS,
    Calibrator,
    Mixture,
    TrialSites,
    ks_p_value,
    one_each,
    sampled_intervals,
    widened,
)

Values = NDArray[np.float64]
THRESHOLD, APART = 0.35, 2.5


def draw(
    random: np.random.Generator, patients: int, share: float, moved: float = 0.0
) -> tuple[NDArray[np.bool_], Values]:
    """Draw labels and log odds, which are calibrated at a share of one half if nothing moved."""
    sick = random.random(patients) < share
    return sick, APART * random.normal(np.where(sick, APART, -APART) / 2.0) + moved


def truth(share: float, moved: float = 0.0) -> dict[str, float]:
    """Return what the threshold achieves in that population."""
    at = (logit(THRESHOLD) - moved) / APART
    recall, specificity = norm.sf(at - APART / 2.0), norm.cdf(at + APART / 2.0)
    accuracy = share * recall + (1.0 - share) * specificity
    return dict(zip(METRICS, (accuracy, recall, specificity, share), strict=True))


class Coverage:
    """Counts how often intervals hold the truth, over runs and sites."""

    def __init__(self, spread: float, runs: int, sites: int) -> None:
        random = np.random.default_rng(0)
        self.hits: dict[str, list[bool]] = {name: [] for name in METRICS}
        self.widths: dict[str, list[float]] = {name: [] for name in METRICS}
        for _ in range(runs):
            sick, values = draw(random, 300, 0.5)
            scores, paths = Scores.from_arrays(sick, expit(values)), [str(n) for n in range(300)]
            moved = values + spread * random.normal(size=(2, 300))
            copies = pd.concat(
                [
                    pd.DataFrame({"path": paths, "copy": number + 1, "score": expit(each)})
                    for number, each in enumerate(moved)
                ]
            )
            trials = TrialSites(scores, paths, copies if spread else copies[:0], THRESHOLD)
            learned = Calibrator.learn(scores)
            for _ in range(sites):
                self.count(random, learned, trials, spread)

    def count(
        self,
        random: np.random.Generator,
        learned: Calibrator,
        trials: TrialSites,
        spread: float,
    ) -> None:
        share, moved = random.uniform(0.1, 0.9), spread * random.normal()
        found = expit(draw(random, 200, share, moved)[1])
        rates = learned.rates(found, THRESHOLD, np.ones((1, 200)))
        sampled = sampled_intervals(learned, found, np.arange(200), THRESHOLD, seed=0)
        errors, _ = trials.errors(float(rates["share"][0]))
        for name, wanted in truth(share, moved).items():
            interval = widened(float(rates[name][0]), sampled[name], errors[name])
            self.hits[name].append(interval.low <= wanted <= interval.high)
            self.widths[name].append(interval.high - interval.low)


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_intervals_hold_the_truth_at_sites_as_far_off_as_copies(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital moves all of its scores alike, and as far as the copies' may be moved."""
    monkeypatch.setattr("featx.populations._expected_performance.RESAMPLES", 200)
    found = Coverage(spread, runs=12, sites=20)
    for name in METRICS:
        # 95 % of 240 draws, less two and a half standard errors.
        assert np.mean(found.hits[name]) >= 0.915, name
        assert np.mean(found.widths[name]) < (0.45 if spread else 0.25), name


@pytest.fixture(scope="module")
def training() -> Scores:
    sick, values = draw(np.random.default_rng(1), 2000, 0.5)
    return Scores.from_arrays(sick, expit(values))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_another_share_of_the_sick_is_seen(training: Scores, share: float) -> None:
    _, values = draw(np.random.default_rng(2), 4000, share)
    rates = Calibrator.learn(training).rates(expit(values), THRESHOLD, np.ones((1, 4000)))
    for name, wanted in truth(share).items():
        assert float(rates[name][0]) == pytest.approx(wanted, abs=0.03), name


def test_the_share_is_that_of_expectation_maximisation(training: Scores) -> None:
    from featx.thresholds import estimate_prior

    learned, values = Calibrator.learn(training), expit(draw(np.random.default_rng(3), 300, 0.2)[1])
    rates = learned.rates(values, THRESHOLD, np.ones((1, 300)))
    known = learned.recalibration.apply(values)
    prior = estimate_prior(known, learned.share, range(300))
    assert float(rates["share"][0]) == pytest.approx(prior.share, abs=1e-5)
    posteriors = learned.probabilities(values, prior.share)
    assert posteriors.mean() == pytest.approx(prior.share, abs=1e-5)


def test_a_patient_counts_once_when_probabilities_are_learned() -> None:
    """A sick patient with many images doesn't make all others sicker."""
    scores = Scores.from_arrays(
        [0, 1, 0, 1] + [1] * 50, [0.2, 0.4, 0.6, 0.8] + [0.8] * 50, [0, 1, 2] + [3] * 51
    )
    assert Calibrator.learn(scores).share == pytest.approx(0.5)


def test_scores_that_no_share_explains_are_a_misfit(training: Scores) -> None:
    mixture, learned = Mixture(training.score, training), Calibrator.learn(training)
    random, weight = np.random.default_rng(4), np.ones(500)
    for share, moved, alike in ((0.2, 0.0, True), (0.8, 0.0, True), (0.5, 3.0, False)):
        values = expit(draw(random, 500, share, moved)[1])
        at = float(learned.rates(values, THRESHOLD, weight[np.newaxis])["share"][0])
        misfit = mixture.misfit(values, weight, at)
        assert (misfit < 0.1) == alike
        assert (ks_p_value(misfit, 500, 2000) > 0.005) == alike


def test_only_larger_values_are_an_excess(training: Scores) -> None:
    mixture = Mixture(training.score, training)
    low, high = np.full(50, 1e-6), np.full(50, 0.999)
    assert mixture.excess(low, np.ones(50), 0.5) == pytest.approx(0.0, abs=0.01)
    assert mixture.excess(high, np.ones(50), 0.5) > 0.9
    assert ks_p_value(0.3, 50, 2000, one_sided=True) < ks_p_value(0.3, 50, 2000)


def test_copies_that_moved_alike_are_a_site(training: Scores) -> None:
    """Copies that move half up and half down look fine together, and aren't."""
    paths = [str(number) for number in range(len(training))]
    values = logit(training.score)
    halves = np.where(np.arange(len(values)) % 2, 1.5, -1.5)
    copies = pd.DataFrame({"path": paths, "copy": 1, "score": expit(values + halves)})
    none = TrialSites(training, paths, copies[:0], THRESHOLD).errors(0.5)[0]
    some = TrialSites(training, paths, copies, THRESHOLD).errors(0.5)[0]
    assert some["specificity"] > 5 * none["specificity"]
    assert some["recall"] > 2 * none["recall"]


def test_too_few_patients_for_trials_are_of_no_known_error() -> None:
    scores = Scores.from_arrays([0, 1], [0.1, 0.9])
    errors, _ = TrialSites(scores, ["a", "b"], pd.DataFrame(), 0.5).errors(0.5)
    assert errors == dict.fromkeys(METRICS, 1.0)


def test_each_patient_has_a_weight_of_one() -> None:
    assert one_each(np.array([0, 1, 1])).tolist() == [1.0, 0.5, 0.5]
