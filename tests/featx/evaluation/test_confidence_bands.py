"""Curves with bands: the curves are scikit-learn's, the bands those of resampled patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import evaluate_scores
from featx.evaluation._confidence_bands import (
    FALSE_ALARMS,
    Band,
    precision_recall_band,
    roc_band,
    threshold_bands,
)


@pytest.fixture(scope="module")
def data() -> Scores:
    """Eighty patients with two images each, some of whom are hard."""
    random = np.random.default_rng(0)
    groups = np.arange(160) // 2
    y = groups % 3 == 0
    scores = 1 / (1 + np.exp(-(2.0 * y - 1 + random.normal(0, 1.2, 80)[groups])))
    return Scores.from_arrays(y, scores, groups)


def inside(band: Band, at: float) -> bool:
    place = int(np.argmin(np.abs(band.at - at)))
    value = float(np.interp(at, band.x, band.y))
    return bool(band.low[place] - 1e-9 <= value <= band.high[place] + 1e-9)


def test_the_roc_curve_has_the_area_and_lies_in_its_band(data: Scores) -> None:
    band = roc_band(data)
    assert auc(band.x, band.y) == pytest.approx(roc_auc_score(data.positive, data.score))
    assert all(inside(band, at) for at in (0.05, 0.2, 0.5, 0.9))
    assert (band.low <= band.high).all()
    assert (band.high - band.low).max() > 0.05


def test_areas_under_the_edges_of_the_band_hold_the_interval_of_the_area(data: Scores) -> None:
    band = roc_band(data)
    interval = evaluate_scores(data, 0.5).intervals["roc_auc"]
    assert auc(FALSE_ALARMS, band.low) < interval.low
    assert auc(FALSE_ALARMS, band.high) > interval.high


def test_the_precision_recall_curve_steps_through_the_average_precision(data: Scores) -> None:
    band = precision_recall_band(data)
    steps = float(np.sum(np.diff(band.x) * band.y[1:]))
    assert steps == pytest.approx(average_precision_score(data.positive, data.score))
    assert ((band.low >= 0) & (band.high <= 1)).all()
    share = data.positive.mean()
    assert band.low[-1] < share < band.high[-1]  # who calls everybody has the prevalence


@pytest.mark.parametrize("name", ["recall", "accuracy"])
def test_bands_at_a_threshold_are_the_intervals_of_the_metrics(data: Scores, name: str) -> None:
    band = threshold_bands(data, [0.0, 0.4, 1.0])[name]
    metrics = evaluate_scores(data, 0.4)
    assert band.y[1] == pytest.approx(getattr(metrics, name))
    assert (band.low[1], band.high[1]) == pytest.approx(
        (metrics.intervals[name].low, metrics.intervals[name].high)
    )


def test_patients_and_not_images_are_resampled(data: Scores) -> None:
    apart = roc_band(Scores.from_arrays(data.positive, data.score))
    together = roc_band(data)
    assert (together.high - together.low).mean() > 1.15 * (apart.high - apart.low).mean()


def test_one_class_has_no_curve() -> None:
    with pytest.raises(InputError, match="one class"):
        roc_band(Scores.from_arrays([1, 1], [0.1, 0.2], [0, 1]))


def test_a_class_of_one_patient_has_a_curve_and_a_band_of_the_resamples_with_them() -> None:
    band = roc_band(Scores.from_arrays([1, 0, 0], [0.9, 0.2, 0.95], ["a", "b", "c"]))
    assert np.isfinite(band.low).all()
    assert auc(band.x, band.y) == 0.5
