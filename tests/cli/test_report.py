"""``featx report``: the page, its options, and what it refuses before the work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


def test_it_says_where_the_page_the_markdown_and_the_card_are(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "r.html"
    code, said, _ = featx("report", tiny_run, "--out", out, "--title", "Mine & yours")
    assert code == 0
    files = {line.split(":", 1)[0]: Path(line.split()[-1]) for line in said.splitlines()}
    assert files == {
        "Report": out,
        "Markdown": out.with_suffix(".md"),
        "Model card": out.with_name("r_model_card.md"),
    }
    assert all(path.is_file() for path in files.values())
    assert "<title>Mine &amp; yours</title>" in out.read_text()
    assert "Performance on split test" in out.read_text()


@pytest.mark.usefixtures("words_only")
def test_evaluation_images_can_be_left_alone(featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert featx("report", tiny_run, "--out", out, "--out-of-fold").code == 0
    assert "Performance on" not in out.read_text()
    assert "These are out-of-fold numbers" in out.read_text()


@pytest.mark.usefixtures("words_only")
def test_what_could_not_be_shown_is_told_and_is_no_failure(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "oof.csv").unlink()
    answer = featx("report", run, "--out", tmp_path / "r.html", "--anonymous")
    assert answer.code == 0
    assert "Couldn't be shown: run out of fold: the run has no oof.csv" in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{there}"], "r.html exists already"),
        (["--out", "r.txt"], "is not the name of a page"),
        (["--out", "{new}", "--cache", "{nowhere}"], "there is no cache at"),
        (["--out", "{new}", "--cache", "{cache}", "--split", "holdout"], "no image in split"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    featx: Featx,
    tiny_run: Path,
    tiny_cache: Path,
    arguments: list[str],
    message: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "r.html").write_text("mine")
    places = {
        "there": tmp_path / "r.html",
        "new": tmp_path / "new.html",
        "nowhere": tmp_path / "nowhere",
        "cache": tiny_cache,
    }
    answer = featx("report", tiny_run, *(a.format(**places) for a in arguments))
    assert answer.code == 2
    assert message in answer.error
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_a_file_in_the_way_is_found_before_the_work(
    featx: Featx, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.reports._report.collect_data", None)
    for name in ("r.md", "r_model_card.md"):
        (tmp_path / name).write_text("mine")
        answer = featx("report", tiny_run, "--out", tmp_path / "r.html")
        assert (answer.code, f"{name} exists already" in answer.error) == (2, True)
        (tmp_path / name).unlink()


def test_a_run_that_is_none_is_refused(featx: Featx, tmp_path: Path) -> None:
    answer = featx("report", tmp_path / "nothing", "--out", tmp_path / "r.html")
    assert answer.code == 2
    assert "there is no run at" in answer.error
