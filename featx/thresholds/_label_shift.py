"""Another share of sick people: estimated from unlabelled images, and a threshold for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds._sweep import Sweep, sweep

_STEPS = 10_000
_CLOSE = 1e-9
RESAMPLES = 500

ASSUMPTION = (
    "label shift: the sick look as the sick of the training population do and the healthy as its "
    "healthy; only their shares differ"
)


@dataclass(frozen=True, slots=True)
class Prior:
    """The share of sick people in a population without labels.

    Attributes
    ----------
    share
        By images.
    low, high
        95 % interval: percentile bootstrap of patients.
    """

    share: float
    low: float
    high: float


def estimate_prior(
    posteriors: ArrayLike, training_prior: float, groups: ArrayLike, *, seed: int = 0
) -> Prior:
    """Estimate the share of the positive class by expectation maximisation.

    Saerens, Latinne and Decaestecker, Neural Computation 2002: posteriors under the training prior
    and the share of positives are made consistent in turns. It rests on `ASSUMPTION`.

    Parameters
    ----------
    posteriors : array of shape (images,)
        Calibrated probabilities of the positive class in a population whose share of it is
        `training_prior`.
    training_prior
        Between 0 and 1.
    groups : array of shape (images,)
        The patient of each image.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        When there are no images, or the training prior isn't a share.
    """
    values = np.asarray(posteriors, np.float64)
    if not len(values):
        raise InputError("there are no images to estimate the share of sick people from")
    if not 0.0 < training_prior < 1.0:
        raise InputError(f"the training prior {training_prior:g} is not between 0 and 1")
    _, place = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    weights = np.ones((1, len(values)))
    patients = int(place.max()) + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES)
    shares = _maximise(values, training_prior, np.vstack([weights, drawn[:, place]]))
    low, high = np.quantile(shares[1:], (0.025, 0.975))
    return Prior(float(shares[0]), float(low), float(high))


def _maximise(
    posteriors: NDArray[np.float64], before: float, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Run the iteration for many weightings of the images at once."""
    share = np.full(len(weights), before)
    total = weights.sum(axis=1)
    for _ in range(_STEPS):
        sick = posteriors * (share / before)[:, np.newaxis]
        well = (1.0 - posteriors) * ((1.0 - share) / (1.0 - before))[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            adjusted = np.nan_to_num(sick / (sick + well))
        new = (adjusted * weights).sum(axis=1) / total
        change = float(np.abs(new - share).max())
        share = new
        if change < _CLOSE:
            break
    return share


def sweep_at(scores: Scores, prevalence: float) -> Sweep:
    """Sweep all thresholds, accuracy being that at another share of sick people.

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
    """
    points = sweep(scores)
    sick, everybody = int(scores.positive.sum()), len(scores)
    specificity = (points.accuracy * everybody - points.recall * sick) / (everybody - sick)
    accuracy = prevalence * points.recall + (1.0 - prevalence) * specificity
    return Sweep(points.thresholds, points.recall, accuracy)


def choose_threshold_at(scores: Scores, prevalence: float, *, accuracy_floor: float) -> float:
    """Pick the threshold of highest recall whose accuracy at a prevalence keeps a floor.

    Parameters
    ----------
    scores, prevalence
        See `sweep_at`.
    accuracy_floor
        Between 0 and 1.

    Raises
    ------
    NoFeasibleThresholdError
        When no threshold reaches the floor.
    """
    points = sweep_at(scores, prevalence)
    best = points.best(accuracy_floor)
    if best is None:
        highest = float(points.accuracy.max())
        raise NoFeasibleThresholdError(
            f"where {prevalence:.1%} are sick, no threshold reaches accuracy {accuracy_floor:g}: "
            f"the best is {highest:.4f}",
            "Lower `accuracy_floor`.",
            best_accuracy=highest,
        )
    return float(points.thresholds[best])
