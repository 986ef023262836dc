"""Explaining images of a run: in memory, in a folder, and beside files that are there already."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx._run import Run, load_run
from featx.backbones import Backbone
from featx.errors import InputError
from featx.explain import explain_images, heat_maps
from featx.extraction._pipeline import stack, to_storage
from featx.images import decode
from featx.scoring import ImageScorer, ScoredImage
from tests.dicoms import dicom


@pytest.fixture
def images(phantom_data: Path, tmp_path: Path) -> list[Path]:
    """Two images of one name, one that can't be read, a DICOM file."""
    first, second = sorted((phantom_data / "test").rglob("*.png"))[:2]
    folder = tmp_path / "images"
    (folder / "other").mkdir(parents=True)
    shutil.copy(first, folder / "a.png")
    shutil.copy(second, folder / "other" / "A.png")
    (folder / "b.png").write_text("not an image")
    pixels = np.asarray(Image.open(first), np.uint16) * 257
    dicom(folder / "c.dcm", pixels)
    return [folder / "a.png", folder / "other" / "A.png", folder / "b.png", folder / "c.dcm"]


@pytest.fixture
def run(tiny_run: Path) -> Run:
    return load_run(tiny_run)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "explanations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_image_has_a_figure_and_a_line(
    run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = explain_images(run, images, out, backbone=tiny_backbone)
    names = ["a-explained.png", "A-explained-2.png", "", "c-explained.png"]
    assert found.to_frame()["figure"].tolist() == names
    written = {*filter(None, names), "explanations.csv", "explanations.json"}
    assert {path.name for path in out.iterdir()} == written
    lines = table(out)
    assert [line["path"] for line in lines] == [str(path) for path in images]
    assert lines[2]["error"] == "text, not an image"
    assert (lines[2]["score"], lines[2]["figure"], lines[2]["peak_row"]) == ("", "", "")
    for name in filter(None, names):
        with Image.open(out / name) as figure:
            assert min(figure.size) > 800


def test_scores_and_verdicts_are_those_of_predict(
    run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
) -> None:
    predictions = list(run.predict(images, backbone=tiny_backbone))
    explain_images(run, images, tmp_path / "out", backbone=tiny_backbone)
    for line, prediction in zip(table(tmp_path / "out"), predictions, strict=True):
        assert line["verdict"] == prediction.prediction
        if prediction.score is not None:
            assert float(line["score"]) == pytest.approx(prediction.score, abs=1e-6)
            assert float(line["threshold"]) == prediction.threshold


class TestInMemory:
    @pytest.mark.long
    def test_a_notebook_shows_the_figures_and_nothing_is_written(
        self, run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
    ) -> None:
        found = explain_images(run, images[:3], backbone=tiny_backbone, progress=False)
        png = found[0]._repr_png_()
        assert png is not None
        explain_images(run, images[0], tmp_path / "out", backbone=tiny_backbone)
        assert png == (tmp_path / "out" / "a-explained.png").read_bytes()
        assert found[2]._repr_png_() is None
        assert found._repr_html_().count("data:image/png;base64,") == 2
        assert "text, not an image" in found._repr_html_()
        assert repr(found) == "Explanations(3 images, 1 failed)"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]

    def test_figures_are_drawn_of_files_that_are_gone(
        self, run: Run, tiny_backbone: Backbone, images: list[Path]
    ) -> None:
        kept, gone = explain_images(run, [images[0], images[2]], backbone=tiny_backbone)
        images[0].unlink()
        assert kept.figure().get_axes()
        with pytest.raises(InputError, match="text, not an image"):
            gone.figure()


def test_a_file_that_vanishes_is_a_row_with_an_error(
    run: Run, tiny_backbone: Backbone, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = ImageScorer.score

    def score_and_remove(scorer: ImageScorer, paths: list[Path]) -> Iterator[ScoredImage]:
        for scored in list(score(scorer, paths)):
            images[1].unlink(missing_ok=True)
            yield scored

    monkeypatch.setattr(ImageScorer, "score", score_and_remove)
    images[3].unlink()
    found = explain_images(run, images, backbone=tiny_backbone)
    assert [bool(row.error) for row in found] == [False, True, True, True]
    assert found[1].error == found[3].error
    assert found[1].heat is None


def test_the_list_has_the_maps_themselves(
    run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
) -> None:
    explain_images(run, images[:1], tmp_path, backbone=tiny_backbone)
    content = json.loads((tmp_path / "explanations.json").read_text())
    assert content["head"] == "logreg"
    assert content["classes"] == ["NORMAL", "PNEUMONIA"]
    pixels = decode(images[0], 32)
    embeddings = to_storage(tiny_backbone.embed(stack([pixels])), "float16")
    expected = heat_maps(run.head, embeddings, mean=run.reference.mean)[0]
    assert np.array(content["explanations"][0]["heat"]) == pytest.approx(expected, abs=1e-3)


class TestNeighbors:
    def test_they_are_the_nearest_of_both_classes_the_called_one_first(
        self, run: Run, tiny_backbone: Backbone, images: list[Path]
    ) -> None:
        found = explain_images(run, images[:2], backbone=tiny_backbone)
        for explanation in found:
            assert explanation.verdict is not None
            called = explanation.verdict.called
            near = explanation.neighbors
            assert [neighbor.label == called for neighbor in near] == [True, True, False, False]
            assert near[0].distance <= near[1].distance
            assert near[2].distance <= near[3].distance
            known = run.out_of_fold.set_index("path")["label"]
            assert all(known[neighbor.path] == neighbor.label for neighbor in near)

    def test_a_training_image_is_no_neighbor_of_itself(
        self, run: Run, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        path = str(run.out_of_fold["path"].iloc[0])
        found = explain_images(run, [phantom_data / path], backbone=tiny_backbone)
        assert path not in [neighbor.path for neighbor in found[0].neighbors]

    def test_a_run_of_an_earlier_version_is_explained_without(
        self, tiny_run: Path, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
    ) -> None:
        old = shutil.copytree(tiny_run, tmp_path / "old")
        (old / "reference.h5").unlink()
        run = load_run(old)
        run.record = run.record.model_copy(update={"band": None, "files": {}})
        found = explain_images(run, images[:1], backbone=tiny_backbone)
        assert found[0].neighbors == ()
        assert found[0].heat is not None

    def test_a_damaged_reference_is_an_error(
        self, tiny_run: Path, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
    ) -> None:
        broken = shutil.copytree(tiny_run, tmp_path / "broken")
        (broken / "reference.h5").write_bytes(b"x")
        with pytest.raises(InputError, match=r"reference\.h5 is damaged"):
            explain_images(load_run(broken), images, tmp_path / "out", backbone=tiny_backbone)
        assert not (tmp_path / "out").exists()


class TestFilesThatAreThere:
    @pytest.mark.parametrize("name", ["a-explained.png", "explanations.csv", "explanations.json"])
    def test_others_never_are(
        self,
        run: Run,
        tiny_backbone: Backbone,
        images: list[Path],
        tmp_path: Path,
        name: str,
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        if name.endswith(".png"):
            Image.new("L", (5, 5)).save(out / name)
        else:
            (out / name).write_text("mine")
        before = (out / name).read_bytes()
        for force, said in ((False, "exists already"), (True, "didn't make it")):
            with pytest.raises(InputError, match=said):
                explain_images(run, images[:1], out, backbone=tiny_backbone, force=force)
            assert [path.name for path in out.iterdir()] == [name]
            assert (out / name).read_bytes() == before

    def test_explanations_are_replaced_when_asked(
        self, run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        explain_images(run, images[:2], out, backbone=tiny_backbone)
        with pytest.raises(InputError, match="exists already"):
            explain_images(run, images[:1], out, backbone=tiny_backbone)
        assert len(table(out)) == 2
        explain_images(run, images[:1], out, backbone=tiny_backbone, force=True)
        assert len(table(out)) == 1

    def test_a_long_name_is_shortened(
        self, run: Run, tiny_backbone: Backbone, images: list[Path], tmp_path: Path
    ) -> None:
        long = images[0].with_name("ü" * 120 + ".png")
        shutil.copy(images[0], long)
        (row,) = explain_images(run, long, tmp_path / "out", backbone=tiny_backbone)
        assert row.file == tmp_path / "out" / ("ü" * 90 + "-explained.png")
        assert row.file.is_file()
