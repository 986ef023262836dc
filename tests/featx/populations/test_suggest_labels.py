"""Which images of a site are to be labelled first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx.errors import InputError
from featx.populations import UnlabelledImages, suggest_labels
from featx.populations._sampling_weights import is_weighted, keeping_weights, rows_by_weight
from featx.scoring import Scored, ScoringOptions

RUN: Any = SimpleNamespace(record=SimpleNamespace(threshold=0.3, classes=("NORMAL", "PNEUMONIA")))


def images(patients: int, each: int = 1) -> UnlabelledImages:
    number = np.arange(patients * each)
    table = pd.DataFrame(
        {
            "path": [f"site/{n}.png" for n in number],
            "group": [f"p{n // each}" for n in number],
            "score": np.random.default_rng(0).random(len(number)),
        }
    )
    return UnlabelledImages(table, data="site", is_folder=True)


def test_half_of_them_lie_around_the_threshold_and_some_everywhere() -> None:
    found = suggest_labels(RUN, images(1000), 50)
    assert list(found) == ["path", "score", "verdict", "label", "sampling_weight"]
    near = found["score"].between(0.3 * 0.75, 0.3 + 0.7 * 0.25)
    assert 23 <= near.sum() <= 27
    assert set(np.histogram(found["score"], np.linspace(0, 1, 6))[0] > 0) == {True}
    assert found["score"].is_monotonic_increasing
    assert (found["label"] == "").all()
    assert ((found["verdict"] == "PNEUMONIA") == (found["score"] >= 0.3)).all()
    assert not found["path"].str.startswith("site/").any()


def test_weights_are_the_images_that_each_stands_for() -> None:
    for each in (1, 3):
        found = suggest_labels(RUN, images(1000, each), 50)
        assert found["sampling_weight"].sum() == pytest.approx(1000 * each)
        assert found["sampling_weight"].nunique() > 1


def test_a_weighted_mean_is_the_site_s_over_many_draws() -> None:
    site = images(400, 2)
    means = [
        np.average(found["score"], weights=found["sampling_weight"])
        for found in (suggest_labels(RUN, site, 40, seed=seed) for seed in range(60))
    ]
    assert np.mean(means) == pytest.approx(site.table["score"].mean(), abs=0.005)


def test_a_patient_is_asked_for_once_and_a_seed_gives_the_same() -> None:
    site = images(60, 3)
    found = suggest_labels(RUN, site, 60)
    group = site.table.assign(path=[p.removeprefix("site/") for p in site.table["path"]])
    patients = group.set_index("path")["group"].reindex(found["path"])
    assert patients.nunique() == 60
    pd.testing.assert_frame_equal(found, suggest_labels(RUN, site, 60))
    assert not found.equals(suggest_labels(RUN, site, 60, seed=1))


def test_all_on_one_side_of_the_threshold() -> None:
    site = images(100)
    table = site.table.assign(score=0.9)
    found = suggest_labels(RUN, UnlabelledImages(table), 20)
    assert len(found) == 20
    assert (found["verdict"] == "PNEUMONIA").all()


@pytest.mark.parametrize("number", [0, 41])
def test_more_than_there_are_patients(number: int) -> None:
    with pytest.raises(InputError) as caught:
        suggest_labels(RUN, images(40, 2), number)
    said = {0: "0 images can't be suggested", 41: "there are 80 images of 40 patients, and 41"}
    assert said[number] in caught.value.what
    assert caught.value.parameter == "suggest"


class TestWeightsWhenAThresholdIsChosen:
    def test_an_image_counts_as_often_as_its_weight_says(self) -> None:
        table = pd.DataFrame({"label": "a", "score": 0.5, "group": ["p", "q"]})
        scored = Scored(
            "all",
            table.assign(sampling_weight=["20", "60"]),
            np.zeros((2, 1), np.float32),
            ("b", "a"),
        )
        assert is_weighted(scored)
        assert np.bincount(rows_by_weight(scored)).tolist() == [20, 60]
        plain = Scored(
            "all", table.assign(sampling_weight="7"), np.zeros((2, 1), np.float32), ("b", "a")
        )
        assert not is_weighted(plain)
        assert rows_by_weight(plain).tolist() == [0, 1]

    def test_they_are_kept_if_a_table_has_them(self, tmp_path: Path) -> None:
        options = ScoringOptions(split="all")
        with_weights = pd.DataFrame({"path": ["a"], "label": ["b"], "sampling_weight": [2.0]})
        with_weights.to_csv(tmp_path / "w.csv", index=False)
        (tmp_path / "p.csv").write_text("path,label\na,b\n")
        for data in (with_weights, tmp_path / "w.csv", str(tmp_path / "w.csv")):
            assert keeping_weights(data, options).reading.keep == ("sampling_weight",)
        for data in (with_weights[["path"]], tmp_path / "p.csv", tmp_path, tmp_path / "none.csv"):
            assert keeping_weights(data, options) == options
