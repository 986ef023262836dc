"""``featx evaluate`` on other people's images, on several runs, and by subgroup."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from featx._run import load_run
from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


pytestmark = pytest.mark.usefixtures("networks_are_built_once")


@pytest.fixture(scope="module")
def other_run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nearest neighbours on the same cache."""
    run = tmp_path_factory.mktemp("other") / "knn"
    fit(open_cache(tiny_cache), HeadSpec(name="knn"), run, accuracy_floor=0.5)
    return run


@pytest.fixture(scope="module")
def larger_run(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on embeddings of a larger input."""
    folder = tmp_path_factory.mktemp("larger")
    backbone = load_backbone("vgg16", weights="random", input_size=48, precision="float32")
    manifest = load_manifest(phantom_data)
    extract(manifest, folder / "cache", backbone, augmentation=AugmentationSpec(copies=0))
    fit(open_cache(folder / "cache"), HeadSpec(name="logreg"), folder / "large", accuracy_floor=0.5)
    return folder / "large"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of temporary caches."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class TestData:
    def test_images_are_embedded_as_the_run_s_own_and_nothing_stays(
        self, featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path, temporary: Path
    ) -> None:
        scores = tmp_path / "scores.csv"
        answer = featx("evaluate", tiny_run, hospital, "--csv", scores)
        assert answer.code == 0
        assert "logreg on all" in answer.out
        assert "has no test split: all of it is taken" in answer.err
        table = pd.read_csv(scores)
        files = [hospital / path for path in table["path"]]
        assert sorted(files) == sorted(hospital.rglob("*.png"))
        predicted = [p.score for p in load_run(tiny_run).predict(files)]
        assert table["score"].to_numpy() == pytest.approx(predicted, abs=2e-3)
        assert not list(temporary.iterdir())

    def test_a_cache_folder_keeps_the_embeddings(
        self, featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path, temporary: Path
    ) -> None:
        kept = tmp_path / "kept"
        first = featx("evaluate", tiny_run, hospital, "--cache", kept)
        assert first.code == 0
        cache = open_cache(kept)
        assert set(cache.rows["copy"]) == {0}
        again = featx("evaluate", tiny_run, kept)
        assert again.out == first.out
        assert not list(temporary.iterdir())

    def test_several_data_are_reported_one_after_another(
        self, featx: Featx, tiny_run: Path, tiny_cache: Path, hospital: Path, tmp_path: Path
    ) -> None:
        file, scores = tmp_path / "m.json", tmp_path / "s.csv"
        answer = featx("evaluate", tiny_run, hospital, tiny_cache, "--json", file, "--csv", scores)
        assert answer.code == 0
        letters = "".join(answer.out.split())  # a long path may be folded anywhere
        assert f"logregonallof{hospital}" in letters
        assert f"logregontestof{tiny_cache}" in letters
        content = json.loads(file.read_text())
        assert [each["data"] for each in content] == [str(hospital), str(tiny_cache)]
        assert set(pd.read_csv(scores)["data"]) == {str(hospital), str(tiny_cache)}

    def test_the_test_split_is_taken_and_only_that_is_embedded(
        self, featx: Featx, tiny_run: Path, phantom_data: Path, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept"
        answer = featx("evaluate", tiny_run, phantom_data, "--cache", kept)
        assert answer.code == 0
        assert f"The test split of {phantom_data}: " in answer.err
        assert set(open_cache(kept).images["split"]) == {"test"}

    def test_one_class_is_measured_as_far_as_it_goes(
        self, featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(hospital / "NORMAL", tmp_path / "well" / "NORMAL")
        answer = featx("evaluate", tiny_run, tmp_path / "well", "--json", tmp_path / "m.json")
        assert answer.code == 0
        assert "undefined" in answer.out
        content = json.loads((tmp_path / "m.json").read_text())
        assert content["roc_auc"] is None
        assert content["specificity"] is not None

    def test_other_names_of_the_classes_are_refused_until_they_are_told(
        self, featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        shutil.copytree(hospital / "NORMAL", data / "healthy")
        shutil.copytree(hospital / "PNEUMONIA", data / "ill")
        refused = featx("evaluate", tiny_run, data)
        assert refused.code == 2
        assert "there is no class 'NORMAL' in the data. It has: healthy, ill." in refused.error
        assert "--classes NEGATIVE,POSITIVE" in refused.error
        answer = featx(
            "evaluate", tiny_run, data, "--classes", "healthy,ill", "--csv", tmp_path / "s.csv"
        )
        assert answer.code == 0
        table = pd.read_csv(tmp_path / "s.csv")
        ill = table["path"].str.startswith("ill/")
        assert (table["label"] == np.where(ill, "PNEUMONIA", "NORMAL")).all()


class TestRefusals:
    """Each in one line, before the backbone is loaded, with exit code 2."""

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(*_: object, **__: object) -> None:
            pytest.fail("the backbone was loaded")

        monkeypatch.setattr("featx.runs._fitted.load_backbone", load)

    def refused(self, featx: Featx, *arguments: str | Path) -> str:
        answer = featx("evaluate", *arguments)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
        assert answer.out == ""
        return answer.error

    def test_images_without_labels(
        self, featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
    ) -> None:
        image = next(hospital.rglob("*.png"))
        bare = tmp_path / "bare"
        bare.mkdir()
        shutil.copy(image, bare / "a.png")
        error = self.refused(featx, tiny_run, bare)
        assert "1 image of 1 patient can't say how good the run is: that takes 50 pat" in error
        assert "`featx predict` scores images without labels" in error
        assert "is an image without a label" in self.refused(featx, tiny_run, image)

    @pytest.mark.parametrize("text", ["path\nNORMAL/x.png\n", "path,label\nNORMAL/x.png,\n"])
    def test_a_table_without_labels(
        self, featx: Featx, tiny_run: Path, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "m.csv").write_text(text)
        error = self.refused(featx, tiny_run, tmp_path / "m.csv")
        assert "metrics need labels" in error
        assert "featx predict" in error

    def test_nothing_there(self, featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
        error = self.refused(featx, tiny_run, tmp_path / "none")
        assert f"there is no cache and no data at {tmp_path / 'none'}" in error

    def test_an_empty_split(
        self, featx: Featx, tiny_run: Path, tiny_cache: Path, hospital: Path
    ) -> None:
        error = self.refused(featx, tiny_run, hospital, "--split", "val")
        assert "has no image in split 'val'. Its splits are: train. --split all takes" in error
        assert "test, train, val" in self.refused(featx, tiny_run, tiny_cache, "--split", "tset")

    def test_a_column_that_there_is_not(
        self, featx: Featx, tiny_run: Path, tiny_cache: Path, hospital: Path
    ) -> None:
        for source in (hospital, tiny_cache):
            error = self.refused(featx, tiny_run, source, "--by", "sise")
            assert "there is no column 'sise'. Did you mean size?" in error

    def test_the_same_run_twice(self, featx: Featx, tiny_run: Path) -> None:
        error = self.refused(featx, tiny_run, "--compare", tiny_run)
        assert "would be compared with itself" in error

    def test_a_run_in_the_place_of_data(
        self, featx: Featx, tiny_run: Path, other_run: Path
    ) -> None:
        error = self.refused(featx, tiny_run, other_run)
        assert f"{other_run} is a run, not data. To compare with it, give --compare" in error

    def test_a_cache_of_other_embeddings(
        self, featx: Featx, tiny_run: Path, larger_run: Path
    ) -> None:
        error = self.refused(featx, tiny_run, "--compare", larger_run)
        assert "backbone.input_size: 48 -> 32" in error
        assert "Give the folder of images instead of a cache" in error

    def test_embeddings_and_scores_that_are_no_numbers(
        self,
        featx: Featx,
        tiny_run: Path,
        tiny_cache: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import h5py

        shutil.copytree(tiny_cache, tmp_path / "cache")
        for shard in (tmp_path / "cache" / "shards").glob("*.h5"):
            with h5py.File(shard, "r+") as file:
                file["embeddings"][...] = np.nan
        error = self.refused(featx, tiny_run, tmp_path / "cache", "--split", "test")
        assert "contains NaN" in error
        # A head that doesn't look at its input.
        monkeypatch.setattr(
            "featx.runs._fitted.FittedRun.head_scores",
            lambda _, embeddings: np.full(len(embeddings), np.nan),
        )
        error = self.refused(featx, tiny_run)
        assert "are not finite numbers (the first is that of test/" in error
        assert "`featx cache verify" in error

    def test_options_of_images_for_a_cache(
        self, featx: Featx, tiny_run: Path, tiny_cache: Path, tmp_path: Path
    ) -> None:
        error = self.refused(featx, tiny_run, tiny_cache, "--classes", "a,b")
        assert "--classes is for images" in error
        error = self.refused(featx, tiny_run, "--cache", tmp_path / "c")
        assert "--cache keeps the embeddings of one DATA" in error

    def test_a_prevalence_that_is_none(self, featx: Featx, tiny_run: Path, hospital: Path) -> None:
        error = self.refused(featx, tiny_run, hospital, "--prevalence", "5")
        assert "--prevalence 5 is not between 0 and 1" in error


class TestComparison:
    def test_runs_are_compared_on_the_same_images(
        self, featx: Featx, tiny_run: Path, other_run: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "m.json"
        answer = featx("evaluate", tiny_run, "--compare", other_run, "--json", file)
        assert answer.code == 0
        assert "knn against logreg" in answer.out
        words = " ".join(answer.out.split())
        for name in ("ROC AUC (DeLong)", "Errors (McNemar)", "Holm"):
            assert name in words
        content = json.loads(file.read_text())
        assert content["comparison"]["runs"] == ["logreg", "knn"]
        assert content["comparison"]["images"] == content["images"]
        recall = next(
            d for d in content["comparison"]["differences"]
            if (d["metric"], d["method"]) == ("recall", "bootstrap")
        )  # fmt: skip
        assert recall["first"] == content["recall"]
        other = load_run(other_run).evaluate().metrics.recall
        assert recall["other"] == other
        assert recall["difference"] == pytest.approx(other - content["recall"])

    def test_runs_of_other_backbones_get_embeddings_of_their_own(
        self,
        featx: Featx,
        tiny_run: Path,
        other_run: Path,
        larger_run: Path,
        hospital: Path,
        tmp_path: Path,
    ) -> None:
        kept = tmp_path / "kept"
        answer = featx(
            "evaluate", tiny_run, hospital, "--compare", other_run, larger_run, "--cache", kept
        )
        assert answer.code == 0
        assert "knn against logreg" in answer.out
        assert "large against logreg" in answer.out
        sizes = {path.name: open_cache(path).spec["backbone"]["input_size"]
                 for path in kept.iterdir()}  # fmt: skip
        assert sizes == {"logreg": 32, "large": 48}


class TestSubgroups:
    def test_parts_are_shown_smallest_first_with_notes(
        self, featx: Featx, tiny_run: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "m.json"
        answer = featx("evaluate", tiny_run, "--by", "size", "--by", "mode", "--json", file)
        assert answer.code == 0
        assert "By size" in answer.out
        assert "below 256 px: too few patients: " in answer.out
        columns = [each["column"] for each in json.loads(file.read_text())["subgroups"]]
        assert columns == ["size", "mode"]


class TestShift:
    def test_it_says_whether_the_population_differs(
        self, featx: Featx, tiny_run: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "m.json"
        answer = featx("evaluate", tiny_run, "--json", file)
        shift = json.loads(file.read_text())["shift"]
        assert " ".join(shift["sentence"].split()) in " ".join(answer.out.split())
        assert {signal["name"] for signal in shift["signals"]} == {
            "scores", "stability", "scores_of_negatives", "scores_of_positives", "far", "distances",
        }  # fmt: skip

    def test_another_population_is_told(
        self, featx: Featx, tiny_run: Path, tiny_cache: Path, tmp_path: Path
    ) -> None:
        import h5py

        shutil.copytree(tiny_cache, tmp_path / "cache")
        for shard in (tmp_path / "cache" / "shards").glob("*.h5"):
            with h5py.File(shard, "r+") as file:
                file["embeddings"][...] = file["embeddings"][...] * 3 + 1
        answer = featx("evaluate", tiny_run, tmp_path / "cache")
        assert answer.code == 0
        words = " ".join(answer.out.split())
        assert "This population differs from the training population" in words
        assert "The operating point may not hold here" in words
