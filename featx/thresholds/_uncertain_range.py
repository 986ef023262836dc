"""The uncertain range: scores whose verdict hangs on which patients chose the threshold."""

from __future__ import annotations

import numpy as np

from featx._scores import Scores
from featx.thresholds._label_shift import sweep_at
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

    The threshold is an estimate like any other: had other patients of the same population chosen
    it, it would lie elsewhere. An image between the two ends would have been called sick by some
    of these thresholds and healthy by others. (Bootstrap of patients: Efron and Tibshirani 1993.)

    Parameters
    ----------
    scores
        Scores that chose the threshold.
    threshold
        The operating point. The range is made wide enough to hold it.
    accuracy_floor
        What accuracy has to reach. A resample in which none does takes its most accurate threshold.
    prevalence
        Share of the sick where accuracy has to reach it; None is that among these images.
    seed
        Of the resampling.

    Returns
    -------
    low, high : float
    """
    truth, place = scores.positive, scores.patient_number
    patients = int(place.max()) + 1
    order = np.argsort(place, kind="stable")
    images = np.split(order, np.flatnonzero(np.diff(place[order])) + 1)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([images[n] for n in random.integers(0, patients, patients)])
        if truth[rows].all() or not truth[rows].any():
            continue
        part = scores[rows]
        points = sweep(part) if prevalence is None else sweep_at(part, prevalence)
        best = points.best(accuracy_floor)
        found.append(points.thresholds[int(points.accuracy.argmax()) if best is None else best])
    if not found:
        return threshold, threshold
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(found, (tail, 1.0 - tail))
    return min(float(low), threshold), max(float(high), threshold)
