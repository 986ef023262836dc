"""``featx evaluate --protocol stress``: what is printed, drawn, written and refused."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import h5py
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from featx_cache._index import INDEX_NAME
from featx_cli.stress_protocol import stress_table

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once")
STRESS = ("--protocol", "stress")


@pytest.fixture
def gone(tiny_cache: Path, tmp_path: Path) -> Path:
    """The tiny cache, whose images aren't where they were."""
    cache = shutil.copytree(tiny_cache, tmp_path / "cache")
    with h5py.File(cache / INDEX_NAME, "r+") as index:
        index.attrs["data"] = "/nowhere/images"
    return cache


@pytest.mark.usefixtures("words_only")
def test_a_table_a_figure_both_files_and_a_section_of_the_report(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("s.json", "s.csv", "s.png")]
    written = [x for pair in zip(("--json", "--csv", "--figure"), files, strict=True) for x in pair]
    answer = featx("evaluate", tiny_run, *STRESS, "--disturbance", "blur", "--images", 20, *written)
    assert answer.code == 0
    assert answer.out.startswith("Positive class (sick): PNEUMONIA.")
    lines = answer.out.splitlines()
    assert max(map(len, lines[:12])) <= 100
    assert [line.split()[0] for line in lines[:12] if "σ" in line] == ["blur", "σ", "σ"]
    assert "stored copies" in answer.out
    plain = json.loads(files[0].read_text())
    assert [r["name"] for r in plain["results"]][:4] == ["untouched", "blur", "blur", "blur"]
    table = pd.read_csv(files[1])
    assert table["roc_auc"].tolist() == [r["roc_auc"] for r in plain["results"]]
    with Image.open(files[2]) as image:
        assert image.width > image.height

    page = tmp_path / "r.html"
    assert featx("report", tiny_run, "--out", page, "--stress", files[0]).code == 0
    assert "Under disturbances" in page.read_text()
    files[0].write_text(json.dumps(plain | {"threshold": 2.0}))
    answer = featx("report", tiny_run, "--out", tmp_path / "s.html", "--stress", files[0])
    assert answer.code == 2
    assert "is the stress test of another run" in answer.error


@pytest.mark.parametrize("text", [None, "{", "[]", '{"results": []}', '{"results": [{"name": 1}]}'])
def test_a_file_that_is_no_stress_test_is_refused(
    featx: Featx, tiny_run: Path, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "s.json"
    if text is not None:
        file.write_text(text)
    answer = featx("report", tiny_run, "--out", tmp_path / "r.html", "--stress", file)
    assert answer.code == 2
    assert "is no result of the stress test" in answer.error
    assert "`featx evaluate RUN --protocol stress --json FILE` makes one" in answer.error


def test_without_images_stored_copies_are_scored(featx: Featx, tiny_run: Path, gone: Path) -> None:
    answer = featx("evaluate", tiny_run, gone, *STRESS)
    assert answer.code == 0
    assert "There is no folder /nowhere/images any more" in answer.err
    assert "stored copies" in answer.out
    assert "crop" not in answer.out


def test_the_folder_that_the_images_were_moved_to(
    featx: Featx, tiny_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(phantom_data, tmp_path / "moved")
    next(iter((moved / "train").rglob("*.png"))).unlink()
    answer = featx("evaluate", tiny_run, moved, *STRESS, "--disturbance", "crop", "--images", "all")
    assert answer.code == 0
    assert "Left out: 1 image (no such file or directory)" in answer.out


def test_json_alone_goes_to_standard_output(featx: Featx, tiny_run: Path) -> None:
    answer = featx("evaluate", tiny_run, *STRESS, "--disturbance", "conflict", "--json", "-")
    assert answer.code == 0
    assert json.loads(answer.out)["results"][0]["name"] == "all untouched"


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    row = {"name": "brightness", "strength": 1, "value": "±80", "images": 5232, "specificity": 0.95}
    for name in ("roc_auc", "recall", "accuracy"):
        row |= {name: 0.95, f"{name}_low": 0.9, f"{name}_high": 1.0}
    rows = pd.DataFrame([row, row | {"name": "conflict images", "value": "", "strength": 0}])
    report = SimpleNamespace(head=SimpleNamespace(name="logreg"), to_frame=lambda: rows)
    console = Console(width=80, force_terminal=True, record=True, file=StringIO())
    console.print(stress_table(report))  # type: ignore[arg-type]
    page = console.export_text()
    assert "specificity" in page
    assert page.count("0.90–1.00") == 6
    assert "…" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seam", "hospital", *STRESS), "--seam is for --protocol shift"),
        (("--images", "50"), "--images is for --protocol stress"),
        (("--figure", "a.png", "--protocol", "shift"), "--figure is for --protocol stress"),
        ((*STRESS, "--by", "mode"), "--by has no use with --protocol stress"),
        ((*STRESS, "--prevalence", "0.1"), "--prevalence has no use with --protocol stress"),
        ((*STRESS, "--keep-known-patients"), "--keep-known-patients has no use with"),
        ((*STRESS, "--group-regex", "(p)"), "--group-regex has no use with --protocol stress"),
        ((*STRESS, "--disturbance", "blurr"), "Did you mean blur?"),
        ((*STRESS, "--images", "few"), "--images can't be 'few'"),
        ((*STRESS, "--images", "3"), "Give --images at least 20"),
        ((*STRESS, "--figure", "a.txt"), ".png or .svg or .pdf"),
        (("a", "b", *STRESS), "takes one cache, or one folder"),
        (("/nowhere", *STRESS), "neither a cache nor a folder of images"),
    ],
)
def test_misuse(featx: Featx, tiny_run: Path, arguments: tuple[str, ...], message: str) -> None:
    answer = featx("evaluate", tiny_run, *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert not Path("a.png").exists()
