"""``featx evaluate`` without labels or with a few, and ``featx calibrate --suggest``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from featx._run import load_run
from featx.demo._phantoms import write_phantoms
from featx.populations import UnlabelledImages
from featx.runs._record import write_record
from tests.cli.conftest import other_name

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once")


@pytest.fixture(scope="module")
def able_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of untrained embeddings, made to believe that its scores tell sick from healthy."""
    folder = tmp_path_factory.mktemp("able") / "able"
    shutil.copytree(tiny_run, folder)
    table = pd.read_csv(folder / "oof.csv")
    sick = table["label"] == "PNEUMONIA"
    table["score"] = np.random.default_rng(0).uniform(0.0, 0.6, len(table)) + 0.4 * sick
    table.to_csv(folder / "oof.csv", index=False)
    record = load_run(folder).record
    (folder / "run.json").unlink()
    write_record(folder, record)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn X-rays of other patients in one folder without classes."""
    root = tmp_path_factory.mktemp("site")
    write_phantoms(root / "drawn", patients=30, size=48, seed=9)
    (root / "images").mkdir()
    for path in sorted((root / "drawn").rglob("*.png")):
        shutil.copy(path, root / "images" / other_name(path.name))
    return root / "images"


@pytest.fixture
def few_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fewer patients be enough, and images that differ as untrained embeddings say."""
    monkeypatch.setattr("featx.populations._estimate_performance.MIN_PATIENTS", 5)
    monkeypatch.setattr("featx.evaluation._shift.SHIFT_P_VALUE", 0.0)


@pytest.mark.usefixtures("few_will_do")
class TestWithoutLabels:
    def test_a_folder_without_classes_is_estimated_and_says_so(
        self, featx: Featx, able_run: Path, site: Path, tmp_path: Path
    ) -> None:
        answer = featx("evaluate", able_run, site, "--json", tmp_path / "e.json")
        assert answer.code == 0
        words = " ".join(answer.out.split())
        assert words.startswith("Positive class (sick): PNEUMONIA.")
        assert "No labels: estimated." in words
        assert "expected from the scores and were not measured here" in words
        assert "as far from the training images as their augmented copies are" in words
        assert "Share of the sick" in words
        content = json.loads((tmp_path / "e.json").read_text())
        assert content["estimated"]
        assert content["labels"] == 0
        assert content["images"] == len(list(site.iterdir()))

    def test_labels_that_are_there_are_not_looked_at_if_asked(
        self, featx: Featx, able_run: Path, hospital: Path
    ) -> None:
        measured = featx("evaluate", able_run, hospital)
        assert measured.code == 0
        assert "estimated" not in measured.out
        asked = featx("evaluate", able_run, hospital, "--unlabelled")
        assert asked.code == 0
        assert "No labels: estimated." in asked.out

    def test_a_class_folder_is_no_folder_without_labels(
        self, featx: Featx, able_run: Path, hospital: Path
    ) -> None:
        answer = featx("evaluate", able_run, hospital / "NORMAL")
        assert answer.code == 2
        assert "metrics need labels" in answer.error
        assert answer.out == ""

    @pytest.mark.parametrize(
        ("arguments", "option"),
        [
            (("--by", "size"), "--by"),
            (("--prevalence", "0.1"), "--prevalence"),
            (("--split", "test"), "--split"),
            (("--csv", "s.csv"), "--csv"),
        ],
    )
    def test_what_needs_labels_is_refused(
        self, featx: Featx, able_run: Path, site: Path, arguments: tuple[str, ...], option: str
    ) -> None:
        answer = featx("evaluate", able_run, site, *arguments)
        assert answer.code == 2
        assert f"{option} needs labels of all images" in answer.error

    def test_several_data_at_once(
        self, featx: Featx, able_run: Path, site: Path, hospital: Path, tmp_path: Path
    ) -> None:
        answer = featx("evaluate", able_run, hospital, site, "--json", tmp_path / "m.json")
        assert answer.code == 0
        measured, estimated = json.loads((tmp_path / "m.json").read_text())
        assert "confusion" in measured
        assert estimated["estimated"]
        refused = featx("evaluate", able_run, hospital, site, "--unlabelled")
        assert "--unlabelled and --labels are for one DATA" in refused.error


def test_the_images_that_it_was_fitted_on_are_left_out(
    featx: Featx, able_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    answer = featx("evaluate", able_run, phantom_data / "train", "--unlabelled")
    assert answer.code == 2
    known = tmp_path / "known"
    known.mkdir()
    for path in (phantom_data / "train").rglob("*.png"):
        shutil.copy(path, known)
    answer = featx("calibrate", able_run, known, "--suggest", "2", "--csv", "-")
    assert answer.code == 2
    assert "was fitted on these very images" in answer.error


def test_few_images_are_refused_before_the_long_work(
    featx: Featx, able_run: Path, hospital: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "featx.runs._fitted.load_backbone", lambda *_, **__: pytest.fail("it was loaded")
    )
    answer = featx("evaluate", able_run, hospital, "--unlabelled")
    assert answer.code == 2
    assert "can't say how good the run is: that takes 50 patients" in answer.error


def test_images_unlike_the_training_images_get_no_number(
    featx: Featx, able_run: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(able_run)
    far = run.out_of_fold.assign(distance=run.reference.limit * 3)
    names = [f"{number}.png" for number in range(len(far))]
    images = UnlabelledImages(far.assign(path=names, group=names))
    monkeypatch.setattr(
        "featx.populations._estimate_performance.score_unlabelled", lambda *_, **__: images
    )
    monkeypatch.setattr("featx.populations._estimate_performance.MIN_PATIENTS", 10)
    answer = featx("evaluate", able_run, site, "--json", tmp_path / "e.json")
    assert answer.code == 1
    assert "no number can be trusted on these images" in answer.error
    assert "`featx calibrate --suggest`" in answer.error
    assert "--labels FILE" in answer.error
    assert answer.out == ""
    assert not (tmp_path / "e.json").exists()


class TestSuggesting:
    def test_from_a_suggestion_to_an_estimate_and_a_threshold(
        self, featx: Featx, able_run: Path, site: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "labels.csv"
        answer = featx("calibrate", able_run, site, "--suggest", "24", "--csv", file)
        assert answer.code == 0
        assert "24 images to label, one of a patient" in " ".join(answer.out.split())
        assert f"--labels {file}" in answer.err
        table = pd.read_csv(file, keep_default_na=False)
        assert list(table) == ["path", "score", "verdict", "label", "sampling_weight"]
        assert all((site / path).is_file() for path in table["path"])
        assert set(table["label"]) == {""}
        assert table["sampling_weight"].sum() == pytest.approx(len(list(site.iterdir())), rel=0.2)

        blank = featx("evaluate", able_run, site, "--labels", file)
        assert blank.code == 2
        assert "has 0 labels and 24 rows without one" in blank.error

        sick = table["path"].str.contains("person")
        table["label"] = np.where(sick, "PNEUMONIA", "NORMAL")
        table.to_csv(file, index=False)
        estimated = featx("evaluate", able_run, site, "--labels", file)
        assert estimated.code == 0
        words = " ".join(estimated.out.split())
        assert "24 labels and all scores: estimated." in words
        assert "They count as often as their sampling weights say." in words

        new = ("--root", site, "--run", tmp_path / "new", "--accuracy-floor", "0.3")
        calibrated = featx("calibrate", able_run, file, *new)
        assert calibrated.code == 0
        words = " ".join(calibrated.out.split())
        assert "Images count as often as their sampling weights say" in words
        counts = re.findall(r"(\d+) of (\d+)", words)
        assert sum(int(among) for _, among in counts[:2]) == 24
        record = load_run(tmp_path / "new").record
        assert record.calibrated is not None
        assert record.calibrated["images"] == 24
        assert len(pd.read_csv(tmp_path / "new" / "calibration.csv")) == 24
        promised = featx("calibrate", able_run, file, *new, "--force", "--guarantee", "0.6")
        assert promised.code == 2
        assert "a guarantee needs a random sample of patients" in promised.error

    def test_to_standard_output(self, featx: Featx, able_run: Path, site: Path) -> None:
        answer = featx("calibrate", able_run, site, "--suggest", "5", "--csv", "-")
        assert answer.code == 0
        assert answer.out.startswith("path,score,verdict,label,sampling_weight\n")
        assert len(answer.out.splitlines()) == 6

    def test_more_than_there_are_is_one_line(
        self, featx: Featx, able_run: Path, site: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "labels.csv"
        answer = featx("calibrate", able_run, site, "--suggest", "500", "--csv", file)
        assert answer.code == 2
        assert "and 500 images of different patients were asked for" in answer.error
        assert not file.exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--suggest", "5"), "the suggested images need a file. Give --csv"),
            (("--suggest", "0", "--csv", "a.csv"), "--suggest"),
            (("--suggest", "5", "--csv", "a.csv", "--unlabelled"), "--unlabelled has no use"),
            (("--suggest", "5", "--csv", "a.csv", "--run", "new"), "--run has no use with --sug"),
            (("--csv", "a.csv", "--run", "new"), "--csv is for --suggest"),
            ((), "missing option --run"),
        ],
    )
    def test_misuse(
        self, featx: Featx, able_run: Path, site: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        answer = featx("calibrate", able_run, site, *arguments)
        assert answer.code == 2
        assert message in answer.error
