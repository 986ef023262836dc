"""``featx evaluate`` on the same images in every form that they come in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from featx._run import load_run
from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec, decode
from featx_cache import open_cache
from tests.dicoms import dicom

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once")


def in_dicom(images: list[Path], folder: Path) -> Path:
    for number, path in enumerate(images):
        # At the network's size: DICOM is resized without rounding, PNG by Pillow in whole numbers.
        pixels = decode(path, 32)[..., 0].astype(np.uint8)
        dicom(folder / path.parent.name / f"{number:02}.dcm", pixels, PatientID=f"Q-{number}")
    return folder


def in_one_array(images: list[Path], folder: Path) -> Path:
    pixels = np.stack([np.asarray(Image.open(path).convert("L")) for path in images])
    labels = np.array([[path.parent.name == "PNEUMONIA"] for path in images], np.uint8)
    np.savez(folder / "images.npz", test_images=pixels, test_labels=labels)
    return folder / "images.npz"


def in_a_table(images: list[Path], folder: Path) -> Path:
    rows = [f"{path},{path.parent.name}" for path in images]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder / "list.csv"


FORMS = {
    "DICOM": (in_dicom, ()),
    "NPZ": (in_one_array, ("--classes", "0,1")),
    "CSV": (in_a_table, ("--allow-outside",)),
}


@pytest.fixture(scope="module")
def images(hospital: Path) -> list[Path]:
    return sorted(hospital.rglob("*.png"))


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_images_changes_no_score(
    form: str, featx: Featx, tiny_run: Path, images: list[Path], tmp_path: Path
) -> None:
    make, options = FORMS[form]
    data = make(images, tmp_path)
    answer = featx("evaluate", tiny_run, data, "--csv", tmp_path / "scores.csv", *options)
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["label"].tolist() == [path.parent.name for path in images]
    predicted = [prediction.score for prediction in load_run(tiny_run).predict(images)]
    assert table["score"].to_numpy() == pytest.approx(predicted, abs=2e-3)


def test_a_run_that_averages_over_copies_does_so_on_a_folder(
    featx: Featx,
    phantom_data: Path,
    tiny_backbone: Backbone,
    hospital: Path,
    images: list[Path],
    tmp_path: Path,
) -> None:
    extract(
        load_manifest(phantom_data),
        tmp_path / "cache",
        tiny_backbone,
        augmentation=AugmentationSpec(copies=2),
        copies_of="all",
    )
    run = tmp_path / "run"
    cache = open_cache(tmp_path / "cache")
    fit(cache, HeadSpec(name="logreg"), run, accuracy_floor=0.5, tta=True)
    kept, scores = tmp_path / "kept", tmp_path / "scores.csv"
    answer = featx("evaluate", run, hospital, "--cache", kept, "--csv", scores)
    assert answer.code == 0, answer.err
    assert sorted(set(open_cache(kept).rows["copy"])) == [0, 1, 2]
    predicted = [prediction.score for prediction in load_run(run).predict(images)]
    assert pd.read_csv(scores)["score"].to_numpy() == pytest.approx(predicted, abs=2e-3)
