"""``featx predict``: table, CSV and JSON of verdicts on image files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featx.runs import Prediction, load_run
from featx_cli.commands.predict import as_csv, as_json, as_table

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

COLUMNS = ["path", "score", "threshold", "prediction", "error"]


@pytest.fixture
def images(phantom_data: Path, tmp_path: Path) -> Path:
    """Three readable images and an unreadable one, in the order of their names."""
    folder = tmp_path / "images"
    folder.mkdir()
    good = sorted((phantom_data / "test").rglob("*.png"))[:3]
    for name, path in zip(("a.png", "b.png", "d.png"), good, strict=True):
        shutil.copy(path, folder / name)
    (folder / "c.png").write_text("not an image")
    return folder


class TestFormats:
    def test_csv_has_exactly_these_columns_in_this_order(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        out = featx("predict", tiny_run, images, "--format", "csv").out
        assert out.splitlines()[0] == "path,score,threshold,prediction,error"
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
        threshold = load_run(tiny_run).record.threshold
        for row in rows:
            assert float(row["threshold"]) == threshold
            if row["error"]:
                assert (row["score"], row["prediction"]) == ("", "")
            else:
                positive = float(row["score"]) >= threshold
                assert row["prediction"] == ("PNEUMONIA" if positive else "NORMAL")

    def test_json_has_these_keys_in_this_order_and_the_same_values(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        content = json.loads(featx("predict", tiny_run, images, "--format", "json").out)
        rows = list(
            csv.DictReader(io.StringIO(featx("predict", tiny_run, images, "--format", "csv").out))
        )
        assert [list(item) for item in content] == [COLUMNS] * 4
        assert [item["score"] for item in content] == [
            float(row["score"]) if row["score"] else None for row in rows
        ]
        assert [item["error"] for item in content] == [row["error"] for row in rows]

    def test_the_table_has_a_line_an_image(
        self, featx: Featx, tiny_run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(images)
        out = featx("predict", tiny_run, "a.png", "c.png").out
        lines = [line.split() for line in out.splitlines()]
        assert COLUMNS in lines
        assert [line[0] for line in lines if line and line[0].endswith(".png")] == [
            "a.png",
            "c.png",
        ]
        assert "not a JPEG or PNG image" in out

    def test_commas_quotes_and_line_ends_in_names_survive_csv(self) -> None:
        odd = 'a,"b"\nc.png'
        text = as_csv([Prediction(odd, 0.1 + 0.2, 0.5, "NORMAL"), Prediction("x", None, 0.5, "")])
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert rows[0]["path"] == odd
        assert float(rows[0]["score"]) == 0.1 + 0.2
        assert rows[1]["score"] == ""

    def test_no_predictions_are_an_empty_list_and_a_header(self) -> None:
        assert json.loads(as_json([])) == []
        assert as_csv([]) == "path,score,threshold,prediction,error\n"
        assert all(column in as_table([]) for column in COLUMNS)

    @pytest.mark.parametrize("name", ["[red]x.png", "[/x].png", "a:dog:.png"])
    def test_brackets_and_colons_in_a_name_are_no_markup(self, name: str) -> None:
        assert name in as_table([Prediction(name, 0.5, 0.5, "NORMAL")])


class TestExitCodes:
    def test_it_is_0_when_all_could_be_read(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        assert featx("predict", tiny_run, images / "a.png", images / "b.png").code == 0

    def test_it_is_3_when_some_could_not_and_the_others_are_still_scored(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        code, out, err = featx("predict", tiny_run, images, "--format", "csv")
        assert code == 3
        assert len(out.splitlines()) == 5
        assert "1 of 4 files could not be read." in err

    def test_it_says_that_verdicts_of_untrained_embeddings_mean_nothing(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        assert "mean nothing" in featx("predict", tiny_run, images / "a.png").err


class TestWritingToAFile:
    def test_the_file_has_what_would_have_been_printed(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        printed = featx("predict", tiny_run, images, "--format", "csv").out
        out = tmp_path / "new folder" / "verdicts.csv"
        code, text, _ = featx("predict", tiny_run, images, "--format", "csv", "--out", out)
        assert (code, text) == (3, "")
        assert out.read_text() == printed
        assert [path.name for path in out.parent.iterdir()] == ["verdicts.csv"]

    def test_an_old_file_stays_when_the_new_one_cannot_be_written_whole(
        self,
        featx: Featx,
        tiny_run: Path,
        images: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import errno

        out = tmp_path / "out" / "verdicts.csv"
        out.parent.mkdir()
        out.write_text("old")
        write = Path.write_text

        def half(self: Path, text: str, **options: str) -> int:
            write(self, text[:10], **options)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", half)
        answer = featx("predict", tiny_run, images / "a.png", "--format", "csv", "--out", out)
        monkeypatch.undo()
        assert answer.code == 2
        assert "no room left on the disk" in answer.error
        assert out.read_text() == "old"
        assert [path.name for path in out.parent.iterdir()] == ["verdicts.csv"]

    def test_a_folder_is_not_written_over(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        answer = featx("predict", tiny_run, images / "a.png", "--out", tmp_path)
        assert answer.code == 2
        assert "it is a folder" in answer.error


def test_quiet_prints_the_results_alone(featx: Featx, tiny_run: Path, images: Path) -> None:
    answer = featx("-q", "predict", tiny_run, images, "--format", "csv")
    assert answer.err == ""
    assert len(answer.out.splitlines()) == 5


def test_in_a_process_of_its_own_a_name_that_is_not_utf8_comes_out_as_it_went_in(
    tiny_run: Path, images: Path
) -> None:
    odd = os.fsencode(images) + b"/\xff.png"
    shutil.copy(images / "a.png", odd)
    done = subprocess.run(
        [sys.executable, "-m", "featx", "-q", "predict", tiny_run, odd, "--format", "csv"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == b""
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith(odd + b",0.")
