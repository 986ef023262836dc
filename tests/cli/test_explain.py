"""``featx explain``: figures in a folder, one line, exit codes."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


@pytest.fixture
def image(phantom_data: Path) -> Path:
    return sorted((phantom_data / "test").rglob("*.png"))[0]


def test_it_says_where_the_figures_are(
    featx: Featx, tiny_run: Path, image: Path, tmp_path: Path
) -> None:
    code, out, err = featx("explain", tiny_run, image, "--out", tmp_path / "why")
    folder = tmp_path / "why"
    assert (code, out) == (0, f"Written to {folder}: 1 figure, explanations.csv and .json\n")
    assert "mean nothing" in err  # random weights
    assert (tmp_path / "why" / f"{image.stem}-explained.png").is_file()


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    featx: Featx, tiny_run: Path, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(image, folder / "b.png")
    (folder / "a.png").write_text("no")
    code, out, err = featx("explain", tiny_run, folder, "--out", tmp_path / "why")
    assert code == 3
    assert "1 figure," in out
    assert f"{folder / 'a.png'}: text, not an image" in err
    assert "1 of 2 files could not be read." in err
    with (tmp_path / "why" / "explanations.csv").open(newline="") as file:
        assert [bool(line["error"]) for line in csv.DictReader(file)] == [True, False]


@pytest.mark.long
def test_a_file_in_the_way_is_kept(
    featx: Featx, tiny_run: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "explanations.csv").write_text("mine")
    answer = featx("explain", tiny_run, image, "--out", tmp_path)
    assert answer.code == 2
    assert "explanations.csv exists already. Give another folder, or --force" in answer.error
    answer = featx("explain", tiny_run, image, "--out", tmp_path, "--force")
    assert answer.code == 2
    assert "featx didn't make it" in answer.error
    assert (tmp_path / "explanations.csv").read_text() == "mine"
    (tmp_path / "explanations.csv").unlink()
    assert featx("explain", tiny_run, image, "--out", tmp_path).code == 0
    assert featx("explain", tiny_run, image, "--out", tmp_path, "--force").code == 0


@pytest.mark.parametrize("what", ["run", "image", "out"])
def test_misuse_is_one_line_and_exit_code_2(
    featx: Featx, tiny_run: Path, image: Path, tmp_path: Path, what: str
) -> None:
    (tmp_path / "file").write_text("")
    given = {"run": tiny_run, "image": image, "out": tmp_path / "why"}
    given[what] = tmp_path / "file" if what == "out" else tmp_path / "nothing"
    answer = featx("explain", given["run"], given["image"], "--out", given["out"])
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.out == ""
