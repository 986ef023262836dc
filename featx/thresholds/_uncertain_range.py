"""The uncertain range: scores whose verdict hangs on which patients chose the threshold."""

from __future__ import annotations

import numpy as np

from featx._scores import Scores
from featx.thresholds._label_shift import sweep_at_prevalence
from featx.thresholds._sweep import sweep

RESAMPLES = 200
CONFIDENCE = 0.95


def uncertain_range(
    scores: Scores,
    threshold: float,
    *,
    accuracy_floor: float,
    prevalence: float | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the threshold when patients are resampled.

    The threshold is an estimate like any other. If other patients of the same population had chosen
    it, it would lie elsewhere. An image between the two ends would have been called sick by some
    of these thresholds and healthy by others. (Bootstrap of patients: Efron and Tibshirani 1993.)

    Parameters
    ----------
    scores
        Scores that chose the threshold.
    threshold
        The operating point. The range is made wide enough to hold it.
    accuracy_floor
        Accuracy to reach. If no threshold reaches it in a resample, the most accurate is taken.
    prevalence
        Share of the sick where accuracy has to reach it. By default, their share among the images.
    seed
        Seed of the resampling.

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> low, high = uncertain_range(scores, 0.5, accuracy_floor=0.9)
    >>> round(low, 2), round(high, 2)
    (0.4, 0.6)
    """
    truth, patient = scores.positive, scores.patient_number
    patients = int(patient.max()) + 1
    order = np.argsort(patient, kind="stable")
    images = np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([images[n] for n in random.integers(0, patients, patients)])
        if truth[rows].all() or not truth[rows].any():
            continue
        part = scores[rows]
        points = sweep(part) if prevalence is None else sweep_at_prevalence(part, prevalence)
        found.append(points.threshold(accuracy_floor))
    if not found:
        return threshold, threshold
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(found, (tail, 1.0 - tail))
    return min(float(low), threshold), max(float(high), threshold)
