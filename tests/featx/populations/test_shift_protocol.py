"""The shift protocol: a head on ordinary folds and across seams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.evaluation._seams import Seam
from featx.heads import HeadSpec
from featx.populations._shift_protocol import ProtocolReport, evaluate_seams
from featx.thresholds import Criterion
from featx.training import load_training_data


@pytest.fixture(scope="module")
def data(make_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Patients of two hospitals. In the second the sick differ in other channels."""

    def change(made: Any) -> None:
        second = np.array([int(g[1:]) % 4 >= 2 for g in made.images["group"]])[made.image]
        sick = (made.images["label"] == "PNEUMONIA").to_numpy()[made.image]
        shape = (1, 1, made.embeddings.shape[-1])
        old = (np.arange(shape[-1]) < 3).reshape(shape)
        new = (np.arange(shape[-1]) >= 5).reshape(shape)
        made.embeddings[second & sick] += 2.0 * new - 0.6 * old
        made.embeddings[~second & sick] += 0.6 * old

    cache = make_cache(tmp_path_factory.mktemp("protocol") / "cache", patients=48, change=change)
    return load_training_data(cache, HeadSpec(name="logreg"), use_copies=False)


@pytest.fixture(scope="module")
def seam(data: Any) -> Seam:
    second = np.array([int(g[1:]) % 4 >= 2 for g in data.groups[data.originals]])
    return Seam("hospital: one -> two", ~second, second)


def across(spec: HeadSpec, data: Any, seam: Seam, floor: float) -> ProtocolReport:
    criterion, classes = Criterion(accuracy_floor=floor), ("NORMAL", "PNEUMONIA")
    ordinary, seams = evaluate_seams(spec, data, [seam], criterion=criterion)
    return ProtocolReport(Path("run"), spec, criterion, classes, ordinary, tuple(seams))


def test_a_shift_costs_what_ordinary_folds_do_not_show(data: Any, seam: Seam) -> None:
    report = across(HeadSpec(name="logreg"), data, seam, 0.7)
    assert report.worst.name == seam.name
    assert report.drop(report.worst) > 0.05
    assert report.worst.metrics.images == seam.test.sum()
    assert report.worst.trained == seam.train.sum()


def test_the_other_side_is_not_looked_at(data: Any, seam: Seam) -> None:
    spec = HeadSpec(name="logreg")
    before = across(spec, data, seam, 0.7).worst.metrics.threshold
    y = data.y.copy()
    y[data.originals[seam.test]] = 1 - y[data.originals[seam.test]]
    turned = type(data)(data.X, y, data.table, data.image, data.use_copies)
    assert across(spec, turned, seam, 0.7).worst.metrics.threshold == before


def test_a_floor_out_of_reach_takes_the_most_accurate_threshold(data: Any, seam: Seam) -> None:
    report = across(HeadSpec(name="knn"), data, seam, 1.0)
    assert not report.ordinary.feasible
    assert len(report.to_frame()) == 2
