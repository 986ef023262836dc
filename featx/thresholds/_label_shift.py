"""Label shift: the share of sick people among unlabelled images, and a threshold for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx._scores import Scores
from featx.errors import InputError
from featx.thresholds._choose import nothing_feasible
from featx.thresholds._criterion import Criterion
from featx.thresholds._one_standard_error import choose_point
from featx.thresholds._sweep import Sweep, sweep

_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-9
RESAMPLES = 500

LABEL_SHIFT_ASSUMPTION = (
    "label shift: the sick look as the sick of the training population do and the healthy as its "
    "healthy; only their shares differ"
)


@dataclass(frozen=True, slots=True)
class Prior:
    """Share of sick people in a population without labels.

    Attributes
    ----------
    share
        Share of the images.
    low, high
        95 % interval by the percentile bootstrap of patients.

    Examples
    --------
    >>> Prior(share=0.31, low=0.24, high=0.39)
    Prior(share=0.31, low=0.24, high=0.39)
    """

    share: float
    low: float
    high: float


def estimate_prior(
    posteriors: ArrayLike, training_prior: float, groups: ArrayLike, *, seed: int = 0
) -> Prior:
    """Estimate the share of the positive class by expectation maximisation.

    Posteriors and the share of positives are made consistent one after the other (Saerens, Latinne
    and Decaestecker, Neural Computation 2002). The estimate rests on `LABEL_SHIFT_ASSUMPTION`.

    Parameters
    ----------
    posteriors : array of shape (images,)
        Calibrated probabilities of the positive class in a population whose share of it is
        `training_prior`.
    training_prior
        Share of positives that the probabilities were calibrated at, between 0 and 1.
    groups : array of shape (images,)
        Patient of each image.
    seed
        Seed of the bootstrap.

    Raises
    ------
    InputError
        If there are no images, or the training prior isn't a share.

    Examples
    --------
    >>> posteriors = [0.05] * 80 + [0.95] * 20
    >>> round(estimate_prior(posteriors, 0.5, range(100)).share, 2)
    0.17
    """
    values = np.asarray(posteriors, np.float64)
    if not len(values):
        raise InputError("there are no images to estimate the share of sick people from")
    if not 0.0 < training_prior < 1.0:
        raise InputError(f"the training prior {training_prior:g} is not between 0 and 1")
    names, patient = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    weights, patients = np.ones((1, len(values))), len(names)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES)
    shares = _maximise(values, training_prior, np.vstack([weights, drawn[:, patient]]))
    low, high = np.quantile(shares[1:], (0.025, 0.975))
    return Prior(float(shares[0]), float(low), float(high))


def _maximise(
    posteriors: NDArray[np.float64], before: float, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Run the iteration for many weightings of the images at once."""
    share = np.full(len(weights), before)
    total = weights.sum(axis=1)
    for _ in range(_MAX_ITERATIONS):
        sick = posteriors * (share / before)[:, np.newaxis]
        well = (1.0 - posteriors) * ((1.0 - share) / (1.0 - before))[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            adjusted = np.nan_to_num(sick / (sick + well))
        new = (adjusted * weights).sum(axis=1) / total
        change = float(np.abs(new - share).max())
        share = new
        if change < _TOLERANCE:
            break
    return share


def sweep_at_prevalence(scores: Scores, prevalence: float) -> Sweep:
    """Sweep all thresholds, with the accuracy at another share of sick people.

    Parameters
    ----------
    scores
        Scores of labelled images.
    prevalence
        Share of the positive class, 0..1.

    Raises
    ------
    InputError
        See `featx.thresholds.sweep`.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9])
    >>> sweep_at_prevalence(scores, 0.1).accuracy.round(2).tolist()
    [0.1, 0.55, 0.5, 0.95, 0.9]
    """
    return sweep(scores).at_prevalence(prevalence)


def choose_threshold_at_prevalence(
    scores: Scores, prevalence: float, *, criterion: Criterion
) -> float:
    """Pick the threshold by a criterion, with the accuracy and the cost at a prevalence.

    Parameters
    ----------
    scores, prevalence
        See `sweep_at_prevalence`.
    criterion
        Criterion of the choice.

    Raises
    ------
    NoFeasibleThresholdError
        If no threshold reaches the floors.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9])
    >>> round(choose_threshold_at_prevalence(scores, 0.1, criterion=Criterion()), 2)
    0.7
    """
    points = sweep_at_prevalence(scores, prevalence)
    choice = choose_point(points, criterion, scores)
    if choice is None:
        raise nothing_feasible(
            points, criterion, scores, where=f"where {prevalence:.1%} are sick, "
        )
    return float(points.thresholds[choice.point])
