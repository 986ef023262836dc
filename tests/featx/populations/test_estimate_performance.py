"""A run's performance at a site without labels, or with a few."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx._run import Run, load_run
from featx.errors import EstimateError, InputError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.populations import UnlabelledImages, estimate_performance
from featx_cache import Cache

METRICS = ("accuracy", "recall", "specificity", "share")


@pytest.fixture(scope="module")
def run(make_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with scores of copies."""
    folder = tmp_path_factory.mktemp("estimating")

    def stronger(made: Any) -> None:
        made.embeddings += 0.8 * _sick(made)

    cache = make_cache(folder / "cache", patients=240, change=stronger)
    fit(cache, HeadSpec(name="logreg"), folder / "run", accuracy_floor=0.7)
    return load_run(folder / "run")


def _sick(made: Any) -> Any:
    sick = (made.images["label"] == "PNEUMONIA").to_numpy()[made.image]
    return sick[:, None, None, None] * (np.arange(made.embeddings.shape[-1]) < 3)


def site(make_cache: Any, folder: Path, *, moved: float = 0.0) -> Cache:
    """Other patients, as sick as those of the run, whose embeddings are moved."""

    def change(made: Any) -> None:
        noise = np.random.default_rng(1).normal(0, 0.3, made.embeddings.shape)
        made.embeddings += 0.8 * _sick(made) + noise + moved
        made.images["group"] = "other-" + made.images["group"]
        made.images["path"] = "other/" + made.images["path"]
        made.images["sha256"] = [h[::-1] for h in made.images["sha256"]]

    made: Cache = make_cache(folder, patients=160, copies=0, change=change)
    return made


@pytest.fixture(scope="module")
def local(make_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return site(make_cache, tmp_path_factory.mktemp("local") / "cache")


def test_the_estimate_holds_what_labels_measure(run: Run, local: Cache) -> None:
    found = run.estimate(local, progress=False)
    measured = run.evaluate(local, split="all", progress=False).metrics
    assert (found.labels, found.patients) == (0, 160)
    assert found.images + found.left_out.total == 320
    for name in METRICS:
        truth = 0.5 if name == "share" else getattr(measured, name)
        low, high = found.intervals[name].low, found.intervals[name].high
        assert low <= truth <= high, name
        assert low < getattr(found, name) < high
    assert "no labels" in repr(found)
    assert "were not measured here" in found.notes[0]
    assert "as far from the training images as their augmented copies are" in found.notes[1]
    assert "those copies have another geometry only" in found.notes[1]


def test_it_is_a_table_and_plain_types(run: Run, local: Cache) -> None:
    found = run.estimate(local, progress=False)
    table = found.to_frame()
    assert tuple(table["metric"]) == METRICS
    assert table["value"].tolist() == [getattr(found, name) for name in METRICS]
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["estimated"]
    assert plain["recall"] == found.recall
    assert plain["intervals"]["recall"]["low"] == found.intervals["recall"].low
    html = found._repr_html_()
    assert "without labels" in html
    assert "<td>recall (sensitivity)</td>" in html


def test_images_unlike_the_training_images_get_no_number(
    run: Run, make_cache: Any, tmp_path: Path
) -> None:
    far = site(make_cache, tmp_path / "far", moved=3.0)
    with pytest.raises(EstimateError, match="no number can be trusted") as caught:
        run.estimate(far, progress=False)
    assert "farther from the training images" in caught.value.what
    assert "run.suggest_labels" in caught.value.hint
    # Labels hold wherever the images are from.
    labels = far.images[["path", "label"]].iloc[:120]
    found = run.estimate(far, labels=labels, progress=False)
    assert found.labels == 120


def scored(run: Run, patients: int, sick: float = 0.5) -> UnlabelledImages:
    """Images like the training ones, one of a patient."""
    table = run.out_of_fold.assign(distance=run.reference.distances).drop_duplicates("group")
    kinds = table["label"] == run.record.classes[1]
    parts = [
        table[which].sample(count, replace=True, random_state=0)
        for which, count in (
            (kinds, round(patients * sick)),
            (~kinds, patients - round(patients * sick)),
        )
    ]
    chosen = pd.concat(parts).reset_index(drop=True)
    names = [f"site/{number}.png" for number in range(patients)]
    return UnlabelledImages(chosen.assign(path=names, group=names), data="site", is_folder=True)


def test_few_patients_can_not_say(run: Run) -> None:
    with pytest.raises(InputError, match="40 images of 40 patients can't say") as caught:
        estimate_performance(run, scored(run, 40))
    assert "that takes 50 patients" in caught.value.what


def test_a_class_that_is_hardly_there_is_unknown(run: Run) -> None:
    found = estimate_performance(run, scored(run, 60, sick=0.0))
    assert math.isnan(found.recall)
    assert "recall" not in found.intervals
    assert found.as_dict()["recall"] is None
    assert any("too few to estimate recall" in note for note in found.notes)
    assert "recall unknown" in repr(found)


def test_what_may_be_anything_is_unknown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.populations._estimate_performance.MAX_WIDTH", 0.0)
    found = estimate_performance(run, scored(run, 100))
    assert math.isnan(found.accuracy)
    assert any(note.startswith("Nothing is known of accuracy") for note in found.notes)


def test_a_run_without_copies_says_what_it_does_not_know(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = run.out_of_fold_copies
    plain = load_run(run.path)
    monkeypatch.setitem(plain.__dict__, "out_of_fold_copies", known.iloc[:0])
    found = estimate_performance(plain, scored(run, 100))
    assert any("the run has no scores of disturbed copies" in note for note in found.notes)


@pytest.mark.parametrize(("far", "too_far"), [(0.3, False), (0.7, True)])
def test_images_as_far_as_disturbed_copies_get_a_caution(
    run: Run, monkeypatch: pytest.MonkeyPatch, far: float, too_far: bool
) -> None:
    """The error of estimates is known for copies that are as far."""
    images = scored(run, 100)
    away = np.where(np.arange(100) % 10 < 10 * far, 1.5 * run.reference.limit, 0.0)
    table = images.table.assign(distance=np.maximum(images.table["distance"], away))
    images = UnlabelledImages(table, data="site", is_folder=True)
    with pytest.raises(EstimateError, match=f"{far:.0%} of the patients lie farther"):
        estimate_performance(run, images)
    monkeypatch.setattr("featx.populations._likeness.are_disturbed", lambda _: True)
    if too_far:
        with pytest.raises(EstimateError, match="70% of the patients lie farther"):
            estimate_performance(run, images)
        return
    found = estimate_performance(run, images)
    assert any(note.startswith("CAUTION: the images lie farther") for note in found.notes)


class TestLabels:
    def test_a_suggestion_with_its_labels_filled_in(self, run: Run, local: Cache) -> None:
        truth = local.images.set_index("path")["label"]
        asked = run.suggest_labels(local, 50, progress=False)
        answered = asked.assign(label=truth.reindex(asked["path"]).to_numpy())
        found = run.estimate(local, labels=answered, progress=False)
        measured = run.evaluate(local, split="all", progress=False).metrics
        for name in ("accuracy", "recall", "specificity"):
            assert found.intervals[name].low <= getattr(measured, name)
            assert found.intervals[name].high >= getattr(measured, name)
        assert found.labels == 50
        assert "sampling weights" in found.notes[0]
        assert any("The labels alone say accuracy" in note for note in found.notes)

    @pytest.mark.parametrize("path", ["{0}.png", "site/{0}.png", "./{0}.png", "{cwd}/site/{0}.png"])
    def test_paths_as_people_write_them(self, run: Run, path: str, tmp_path: Path) -> None:
        names = [path.format(number, cwd=Path.cwd()) for number in range(20)]
        labels = pd.DataFrame({"path": names, "label": ["normal", "PNEUMONIA"] * 10})
        labels.to_csv(tmp_path / "labels.csv", index=False)
        found = estimate_performance(run, scored(run, 60), labels=tmp_path / "labels.csv")
        assert found.labels == 20
        assert "must be a random sample" in found.notes[0]

    def test_rows_without_a_label_are_told(self, run: Run) -> None:
        names = [f"{number}.png" for number in range(30)]
        labels = pd.DataFrame({"path": names, "label": ["NORMAL", "PNEUMONIA"] * 12 + [""] * 6})
        found = estimate_performance(run, scored(run, 60), labels=labels)
        assert found.labels == 24
        assert "6 rows of the DataFrame without a label" in found.notes[-1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"label": "sick"}, "there is no class 'sick'"),
            ({"path": "nowhere.png"}, "'nowhere.png' isn't among the images"),
            ({"path": "1.png"}, "'1.png' has a label already"),
            ({"sampling_weight": "-1"}, "isn't a positive number"),
            ({"sampling_weight": "much"}, "isn't a positive number"),
        ],
    )
    def test_what_can_not_be_used(self, run: Run, change: dict[str, str], message: str) -> None:
        names = [f"{number}.png" for number in range(30)]
        labels = pd.DataFrame({"path": names, "label": ["NORMAL", "PNEUMONIA"] * 15})
        labels = labels.assign(sampling_weight="1")
        for column, value in change.items():
            labels.loc[0, column] = value
        with pytest.raises(InputError, match=message):
            estimate_performance(run, scored(run, 60), labels=labels)

    def test_too_few_labels(self, run: Run, tmp_path: Path) -> None:
        labels = pd.DataFrame({"path": ["1.png"], "label": ["NORMAL"]})
        with pytest.raises(InputError, match=r"has 1 label\. Label 20 images or more"):
            estimate_performance(run, scored(run, 60), labels=labels)
        with pytest.raises(InputError, match="there is no file of labels at"):
            estimate_performance(run, scored(run, 60), labels=tmp_path / "none.csv")
