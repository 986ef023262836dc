"""The stress test: disturbed images of held-out patients, stored copies, conflict images."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image
from scipy.ndimage import gaussian_filter

import featx
from featx._progress import SILENT
from featx.backbones import Backbone, load_backbone
from featx.data import load_manifest
from featx.errors import InputError
from featx.evaluation import evaluate_scores
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx.populations import DISTURBANCES, StressReport
from featx.populations._conflict_images import best_cut, evaluate_conflict
from featx.populations._disturbed_images import HeldOut, choose_images, score_disturbed
from featx.populations._fold_heads import fit_fold_heads
from featx.populations._stress_protocol import stress_runs
from featx.training import load_training_data
from featx_cache import Cache, open_cache

PATIENTS = 72
CONFLICT_SHARE = 6
"""One image of so many of a class is a conflict image."""


class Made(NamedTuple):
    """A folder of images, a cache of them, and the run on it."""

    data: Path
    cache: Path
    run: featx.Run


@pytest.fixture(scope="module")
def shallow() -> Iterator[Backbone]:
    """Two blocks of VGG16, which runs get, too: building and passing more takes seconds."""
    network = load_backbone(
        "vgg16", weights="random", input_size=32, layer="block2_pool", precision="float32"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featx.runs._fitted.load_backbone", lambda *_, **__: network)
        yield network


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharp normal and blurred sick images, one a patient. In a sixth it is the other way round.

    The sick have a lower half that is a little brighter, too.
    """
    root = tmp_path_factory.mktemp("stress") / "data"
    random = np.random.default_rng(0)
    for patient in range(PATIENTS):
        sick = patient % 2 == 1
        blurred = sick != (patient // 2 % CONFLICT_SHARE == 0)
        pixels = random.normal(120.0, 45.0, (32, 32))
        if blurred:
            pixels = gaussian_filter(pixels, 1.5) + random.normal(0.0, 2.0, (32, 32))
        pixels += random.normal(0.0, 10.0)
        pixels[16:] += 5.0 * sick
        folder = root / "train" / ("PNEUMONIA" if sick else "NORMAL")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"p{patient:02}_0.png")
    return root


def run_on(data: Path, folder: Path, backbone: Backbone, copies: int) -> Made:
    manifest = load_manifest(data, group_regex=r"(p\d+)_")
    extract(manifest, folder / "cache", backbone, augmentation=AugmentationSpec(copies=copies))
    cache = open_cache(folder / "cache")
    spec = HeadSpec.choose("logreg")
    fit(cache, spec, folder / "run", accuracy_floor=0.5, use_copies=copies > 0, progress=False)
    return Made(data, folder / "cache", featx.load_run(folder / "run"))


@pytest.fixture(scope="module")
def plain(data: Path, shallow: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run on a cache without copies."""
    return run_on(data, tmp_path_factory.mktemp("plain"), shallow, 0)


@pytest.fixture(scope="module")
def copied(data: Path, shallow: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run on a cache with two copies of each image, which it was fitted on."""
    return run_on(data, tmp_path_factory.mktemp("copied"), shallow, 2)


@pytest.fixture(scope="module")
def report(plain: Made) -> StressReport:
    """All images under all disturbances."""
    return plain.run.stress_protocol(images=None, progress=False)


def result(report: StressReport, name: str, strength: int = 0) -> Any:
    (found,) = [r for r in report.results if (r.name, r.strength) == (name, strength)]
    return found.metrics


class TestDisturbedImages:
    def test_blur_takes_away_what_a_head_leans_on(self, report: StressReport) -> None:
        untouched = result(report, "untouched").roc_auc
        assert untouched > 0.7
        assert result(report, "blur", 3).roc_auc < untouched - 0.15

    def test_there_is_a_row_for_each_strength(self, report: StressReport) -> None:
        table = report.to_frame()
        assert len(table) == 1 + 3 * len(DISTURBANCES) + 2
        assert (table["images"][:-2] == PATIENTS).all()
        assert (table["roc_auc_low"] <= table["roc_auc"]).all()

    def test_untouched_images_have_the_run_s_out_of_fold_metrics(
        self, plain: Made, report: StressReport
    ) -> None:
        own = evaluate_scores(plain.run.scores, plain.run.record.threshold)
        assert result(report, "untouched") == own

    def test_the_same_once_more_and_in_json(self, plain: Made, report: StressReport) -> None:
        again = plain.run.stress_protocol(images=None, disturbances=["noise"], progress=False)
        assert [r.name for r in again.results] == ["untouched", *["noise"] * 3]
        assert result(again, "noise", 2) == result(report, "noise", 2)
        assert json.loads(json.dumps(report.as_dict())) == report.as_dict()

    def test_another_seed_draws_other_noise(self, plain: Made, report: StressReport) -> None:
        other = plain.run.stress_protocol(
            images=None, disturbances=["noise"], seed=1, progress=False
        )
        assert result(other, "noise", 3).brier != result(report, "noise", 3).brier

    def test_runs_that_are_tested_together_have_the_scores_that_each_has_alone(
        self, plain: Made, tmp_path: Path
    ) -> None:
        cache = open_cache(plain.cache)
        spec = HeadSpec.choose("logreg", settings={"representation": "average"})
        fit(cache, spec, tmp_path / "other", accuracy_floor=0.5, progress=False)
        runs = [plain.run, featx.load_run(tmp_path / "other")]
        options: Any = {"images": 20, "disturbances": ["blur"], "progress": False}
        together = stress_runs(runs, **options)
        assert together == [run.stress_protocol(**options) for run in runs]
        assert result(together[0], "blur", 3).brier != result(together[1], "blur", 3).brier

    def test_scores_do_not_depend_on_the_other_images(self, plain: Made, shallow: Backbone) -> None:
        cache = open_cache(plain.cache)
        data = load_training_data(cache, plain.run.record.head, use_copies=False)
        heads = fit_fold_heads(plain.run, cache, data, SILENT)
        table = data.table.assign(
            file=[plain.data / path for path in data.table["path"]], fold=heads.fold
        ).iloc[:11]
        specs = [*DISTURBANCES["blur"].augmentations, *DISTURBANCES["shift"].augmentations]

        def scores(images: pd.DataFrame, batch_size: int) -> Any:
            one = HeldOut(plain.run, heads.heads, images["fold"].to_numpy())
            (found,) = score_disturbed(
                [one], shallow, images, specs, batch_size=batch_size, progress=SILENT
            )
            return found.scores

        found = scores(table, 8)
        np.testing.assert_allclose(scores(table.iloc[::-1], 8)[::-1], found, rtol=0, atol=1e-12)
        np.testing.assert_allclose(scores(table, 3), found, rtol=0, atol=2e-3)

    def test_a_changed_and_a_missing_file_are_left_out_and_counted(
        self, plain: Made, tmp_path: Path
    ) -> None:
        moved = shutil.copytree(plain.data, tmp_path / "moved")
        changed, gone = sorted(moved.rglob("*.png"))[:2]
        Image.new("L", (32, 32), 7).save(changed)
        gone.unlink()
        found = plain.run.stress_protocol(moved, images=None, disturbances=["blur"], progress=False)
        assert result(found, "blur", 1).images == result(found, "untouched").images == PATIENTS - 2
        assert {Path(path).name for path in found.left_out} == {changed.name, gone.name}
        assert sum("Left out: 1 image" in note for note in found.notes) == 2

    def test_averaging_over_copies_is_done_with_disturbed_images_too(
        self, copied: Made, tmp_path: Path
    ) -> None:
        cache = open_cache(copied.cache)
        fit(cache, "logreg", tmp_path / "tta", accuracy_floor=0.5, tta=True, progress=False)
        run = featx.load_run(tmp_path / "tta")
        found = run.stress_protocol(images=20, disturbances=["rotation"], progress=False)
        assert result(found, "all untouched") == evaluate_scores(run.scores, run.record.threshold)
        assert result(found, "rotation", 1).images == 20


class TestTheDraw:
    def test_it_has_one_image_a_patient_and_the_shares_of_the_classes(self) -> None:
        table = pd.DataFrame(
            {
                "path": [f"{n}.png" for n in range(400)],
                "sha256": [f"{n:064x}" for n in range(400)],
                "label": ["A"] * 100 + ["B"] * 300,
                "group": [f"p{n // 2}" for n in range(400)],
            }
        )
        drawn = table.iloc[choose_images(table, 40, 0)]
        assert drawn["group"].is_unique
        assert drawn["label"].value_counts().to_dict() == {"B": 30, "A": 10}
        shuffled = table.sample(frac=1.0, random_state=1)
        again = shuffled.iloc[choose_images(shuffled, 40, 0)]
        assert set(again["path"]) == set(drawn["path"])
        assert set(table.iloc[choose_images(table, 40, 1)]["path"]) != set(drawn["path"])
        assert len(choose_images(table, 1000, 0)) == 200


class TestConflictImages:
    def test_a_head_trained_without_them_fails_on_them(self, report: StressReport) -> None:
        found = report.conflict
        assert found is not None
        assert found.sharper == "NORMAL"
        assert found.shortcut_auc > 0.6
        assert found.metrics.images == PATIENTS // CONFLICT_SHARE
        assert found.trained + found.metrics.images == PATIENTS
        assert found.metrics.roc_auc < 0.3 < result(report, "untouched").roc_auc
        assert found.metrics.accuracy < found.ordinary.accuracy

    def test_they_need_no_network(self, plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("featx.runs._fitted.load_backbone", None)
        found = plain.run.stress_protocol(disturbances=["conflict"], progress=False)
        assert found.conflict is not None
        assert [one.name for one in found.results] == ["all untouched"]

    @pytest.mark.parametrize(
        ("change", "remark"),
        [
            (lambda truth: np.arange(len(truth)) % 7 / 7.0, "no such shortcut to speak of"),
            (lambda truth: 1.0 * truth, "fewer than 5 patients"),
            (lambda truth: np.where(truth, 1.0, np.nan), "of one class only"),
        ],
    )
    def test_where_there_are_none_a_sentence_says_why(
        self, plain: Made, change: Callable[[Any], Any], remark: str
    ) -> None:
        cache = open_cache(plain.cache)
        data = load_training_data(cache, plain.run.record.head, use_copies=False)
        truth = data.y == 1
        found = evaluate_conflict(plain.run, data, change(truth), 1.0 * truth, SILENT)
        assert isinstance(found, str)
        assert remark in found

    def test_the_cut_is_where_it_best_separates(self) -> None:
        truth = np.array([True, True, True, False, False, False, False])
        cut = best_cut(truth, np.array([1.0, 2.0, 9.0, 8.0, 7.0, 6.0, 1.5]))
        assert not cut.positive_sharper
        assert cut.auc == pytest.approx(7 / 12)
        assert cut.conflict.tolist() == [False, False, True, False, False, False, True]


class TestStoredCopies:
    def test_they_are_scored_by_heads_that_have_not_seen_the_patient(self, copied: Made) -> None:
        found = copied.run.stress_protocol(images=20, disturbances=["crop"], progress=False)
        names = [one.name for one in found.results]
        assert names == ["untouched", *["crop"] * 3, "all untouched", "stored copies"]
        assert result(found, "stored copies").images == 2 * PATIENTS
        assert result(found, "stored copies").patients == PATIENTS
        own = evaluate_scores(copied.run.scores, copied.run.record.threshold)
        assert result(found, "all untouched") == own

    def test_they_are_what_is_left_if_the_images_are_gone(self, copied: Made) -> None:
        found = copied.run.stress_protocol(without_images(copied), progress=False)
        assert [one.name for one in found.results] == ["all untouched", "stored copies"]
        assert found.conflict is None
        assert "no folder /nowhere" in found.notes[-1]
        assert "stored copies" in repr(found)

    def test_without_them_and_without_images_nothing_can_be_done(self, plain: Made) -> None:
        with pytest.raises(InputError, match=r"no folder /nowhere .* A cache with copies allows"):
            plain.run.stress_protocol(without_images(plain), progress=False)

    def test_a_folder_that_has_other_images_is_refused(self, plain: Made, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none of 20 images in .* could be used"):
            plain.run.stress_protocol(tmp_path, images=20, disturbances=["blur"], progress=False)


def without_images(made: Made) -> Cache:
    cache = open_cache(made.cache)
    cache.data = "/nowhere"
    return cache


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"disturbances": ["blurr"]}, "Did you mean blur"),
            ({"images": 3}, "`images` at least"),
            ({"images": "all"}, "whole number"),
            ({"data": 7}, "can't be of type int"),
            ({"data": "/nowhere"}, "neither a cache nor a folder"),
        ],
    )
    def test_it_is_refused_before_the_work(
        self, plain: Made, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            plain.run.stress_protocol(**arguments, progress=False)

    def test_a_cache_of_another_network_is_refused(self, plain: Made, make_cache: Any) -> None:
        cache = make_cache(plain.cache.parent / "other")
        with pytest.raises(featx.errors.SpecMismatchError):
            plain.run.stress_protocol(cache, progress=False)

    def test_an_interrupt_ends_it_and_leaves_no_thread(self, plain: Made) -> None:
        class Interrupted:
            @contextlib.contextmanager
            def task(self, description: str, *_: Any) -> Iterator[Callable[..., None]]:
                def advance(_: int) -> None:
                    if description == "Disturbed images":
                        raise KeyboardInterrupt

                yield advance

            def note(self, message: str) -> None:
                raise AssertionError(message)

        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            plain.run.stress_protocol(progress=Interrupted())
        assert threading.active_count() <= before


def test_each_disturbance_grows_and_changes_one_thing() -> None:
    default = AugmentationSpec(
        copies=1, rotation=0, zoom=0, width_shift=0, height_shift=0, horizontal_flip=False
    )
    for name, series in DISTURBANCES.items():
        changed = [
            {name for name, value in one if value != getattr(default, name)}
            for one in series.augmentations
        ]
        assert len(series.values) == len(changed) == len(set(series.augmentations)) == 3
        assert changed[0] == changed[1] == changed[2]
        assert (len(changed[0]) == 1) == (name != "shift")
    assert DISTURBANCES["shift"].augmentations[1] == featx.images.preset_augmentation(
        "shift", copies=1
    )


def test_a_notebook_shows_a_table_and_a_figure(report: StressReport) -> None:
    assert "logreg under disturbances" in report._repr_html_()
    titles = [axes.get_title() for axes in report.plot().axes]
    pyplot.close("all")
    assert titles == [*DISTURBANCES, "other images"]
