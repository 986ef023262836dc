"""A DataFrame is read as a CSV file of it would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx.data import Manifest, load_manifest
from featx.errors import InputError, NoLabelsError
from tests.featx.data.conftest import Recorder
from tests.featx.data.test_columns import of
from tests.featx.data.test_folders import draw

ROWS: dict[str, Any] = {
    "path": ["0.png", "1.png", "2.png", "3.png"],
    "label": pd.Categorical(["well", "ill", "ill", " well "]),
    "split": ["train", None, "Test", ""],
    "mrn": [7001.0, 7002.0, np.nan, 7003.0],
    "hospital": ["A", "B", "A", "B"],
    "PatientName": ["Q", "R", "S", "Q"],
}


pytestmark = pytest.mark.usefixtures("salt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        draw(tmp_path / f"{number}.png", 9 * number + 5)
    return tmp_path


def refused(frame: pd.DataFrame, error: type[InputError] = InputError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        load_manifest(frame, **options)
    assert type(caught.value) is error
    return str(caught.value)


def test_is_what_a_csv_of_it_is(folder: Path) -> None:
    frame = pd.DataFrame(ROWS, index=["w", "x", "y", "z"])
    frame.to_csv(folder / "m.csv", index=False)
    options: dict[str, Any] = {"keep": ["hospital", "PatientName"], "positive": "ill"}
    notes = Recorder()
    manifest = load_manifest(frame, root=folder, progress=notes, **options)
    assert manifest.to_frame().equals(load_manifest(folder / "m.csv", **options).table)
    assert manifest.table["split"].tolist() == ["train", "train", "test", "train"]
    assert manifest.table["group"].tolist() == [of("7001"), of("7002"), "2.png", of("7003")]
    assert manifest.table["hospital"].tolist() == ["A", "B", "A", "B"]
    assert manifest.table["PatientName"].tolist() == [of(name) for name in "QRSQ"]
    assert notes.notes == ["The column 'mrn' of the DataFrame tells the patient."]


def test_paths_are_relative_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert load_manifest(pd.DataFrame(ROWS)).root == folder


def test_a_manifest_and_its_table_are_read_without_opening_an_image(folder: Path) -> None:
    manifest = load_manifest(pd.DataFrame(ROWS), root=folder)
    assert load_manifest(manifest) is manifest
    for path in folder.iterdir():
        path.unlink()
    again = load_manifest(manifest.to_frame(), root=folder)
    assert again.table.equals(manifest.table)
    with pytest.raises(InputError, match="a manifest is read already, and `positive` can't"):
        load_manifest(manifest, positive="well")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": ["0.png", "1.png", "0.png", "3.png"]}, "y: the path '0.png' was there before"),
        ({"path": ["0.png", "1.png", None, "3.png"]}, "the DataFrame, row y: no path"),
        ({"path": ["0.png", "1.png", "../2.png", "3.png"]}, "y: the path '../2.png' leads out"),
        ({"split": ["train", "trai", "", ""]}, "row x: there is no split 'trai'"),
        (
            {"label": ["well", "ill", "Ill", "well"]},
            "y: the label 'Ill' is almost 'ill' (row x",
        ),
        ({"label": ["a", "b", "b", "c"]}, "row z: featx needs exactly two classes"),
    ],
)
def test_refusals_name_the_row(folder: Path, changes: dict[str, Any], said: str) -> None:
    frame = pd.DataFrame(ROWS, index=["w", "x", "y", "z"]).assign(**changes)
    assert said in refused(frame, root=folder)


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({"label": ["A"]}, InputError, "there is no column 'path' in 'label'"),
        ({"path": ["0.png"]}, NoLabelsError, "there is no column 'label' in 'path'"),
        ({"path": ["0.png"], "label": [None]}, NoLabelsError, "row 0: no label"),
        ({"path": [], "label": []}, InputError, "the DataFrame has no rows"),
        ({"path": ["a"], "label": ["b"], "LABEL": ["c"]}, InputError, "'label' is there twice"),
    ],
)
def test_frames_that_are_no_listing(
    columns: dict[str, Any], error: type[InputError], said: str
) -> None:
    assert said in refused(pd.DataFrame(columns), error)


def test_images_without_class_folders_have_no_labels(folder: Path) -> None:
    (folder / "m.csv").write_text("path\n0.png\n")
    np.savez(folder / "a.npz", train_images=np.zeros((2, 8, 8), np.uint8))
    for data in (folder, folder / "m.csv", folder / "a.npz"):
        with pytest.raises(NoLabelsError) as caught:
            load_manifest(data)
        assert caught.value.code == "no-labels"


def test_how_a_manifest_prints(folder: Path) -> None:
    frame = pd.DataFrame(ROWS).drop(columns="mrn")
    manifest = load_manifest(frame, root=folder, positive="ill")
    assert repr(manifest) == ("Manifest(4 images of 4 patients: 2 well, 2 ill; train 3, test 1)")
    page = Manifest(folder, manifest.table, manifest.classes, {"x.png": "<gone>"})._repr_html_()
    assert "Positive class (sick): ill." in page
    assert "Unreadable files: 1." in page
    assert page.count("<tr") == 5  # two lines of the head, train, test, all
