"""``featx predict``: table, CSV and JSON of verdicts on image files."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from featx._run import load_run
from featx.scoring import Prediction
from featx_cli.prediction_writers import write_verdicts

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.processes import Server

COLUMNS = [
    "path",
    "score",
    "probability",
    "threshold",
    "prediction",
    "uncertain",
    "unlike_training",
    "distance",
    "error",
    "view",
]
CLASSES = ("NORMAL", "PNEUMONIA")


pytestmark = pytest.mark.usefixtures("networks_are_built_once")


def verdict(name: str) -> Prediction:
    return Prediction(f"{name}.png", 0.25, 0.3, 0.5, "NORMAL", False, True, 31.4)


def failure(name: str) -> Prediction:
    return Prediction(f"{name}.png", None, None, 0.5, "", error="not an image")


def written(format: str, predictions: list[Prediction]) -> str:
    file = io.StringIO()
    rows = [(prediction,) for prediction in predictions]
    assert list(write_verdicts(rows, format, file, CLASSES)) == rows
    return file.getvalue()


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


class TestLeftOut:
    def test_files_in_a_folder_are_counted_and_a_named_one_has_a_row(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        (images / "c.png").unlink()
        for name in ("notes.txt", "more.txt"):
            (images / name).write_text("hello")
        (images / "x.gif").write_bytes(b"GIF89a")
        answer = featx("predict", tiny_run, images, "--format", "csv")
        assert answer.code == 0
        assert len(answer.out.splitlines()) == 4
        assert answer.err.splitlines()[-1] == (
            "3 files left out: 2 .txt (not an image), "
            "1 GIF (an image format that featx doesn't read)."
        )
        named = featx("predict", tiny_run, images / "x.gif", "--format", "csv")
        assert named.code == 3
        assert "GIF, an image format that featx doesn't read" in named.out
        assert "left out" not in named.err


class TestFormats:
    def test_csv_has_exactly_these_columns_in_this_order(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        out = featx("predict", tiny_run, images, "--format", "csv").out
        assert out.splitlines()[0] == ",".join(COLUMNS)
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
        threshold = load_run(tiny_run).record.threshold
        for row in rows:
            assert float(row["threshold"]) == threshold
            if row["error"]:
                empty = set(COLUMNS) - {"path", "threshold", "error"}
                assert {row[column] for column in empty} == {""}
            else:
                positive = float(row["score"]) >= threshold
                assert row["prediction"] == ("PNEUMONIA" if positive else "NORMAL")
                assert 0 < float(row["probability"]) < 1
                assert float(row["distance"]) > 0
                assert {row["uncertain"], row["unlike_training"]} <= {"true", "false"}

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

    def test_the_table_has_a_line_an_image_with_names_last(
        self, featx: Featx, tiny_run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(images)
        lines = featx("predict", tiny_run, "a.png", "c.png", "b.png").out.splitlines()
        assert lines[0].split() == [*COLUMNS[1:-2], "path", "error", "view"]
        where = lines[0].index("path")
        assert [line[where:].split()[0] for line in lines[1:]] == ["a.png", "c.png", "b.png"]
        assert lines[2].endswith("c.png  text, not an image")
        assert lines[1].split()[3] in ("NORMAL", "PNEUMONIA")

    def test_rows_are_written_as_they_come(self) -> None:
        for format in ("csv", "json", "table"):
            file = io.StringIO()
            verdicts = [(verdict("a"),), (verdict("b"),)]
            rows = iter(write_verdicts(verdicts, format, file, CLASSES))
            next(rows)
            assert "a.png" in file.getvalue()
            assert "b.png" not in file.getvalue()

    def test_commas_quotes_and_line_ends_in_names_survive_csv_and_json(self) -> None:
        odd = 'a,"b"\nc.png'
        predictions = [Prediction(odd, 0.1 + 0.2, 0.3, 0.5, "NORMAL"), failure("x")]
        rows = list(csv.DictReader(io.StringIO(written("csv", predictions), newline="")))
        assert rows[0]["path"] == odd
        assert float(rows[0]["score"]) == 0.1 + 0.2
        assert rows[1]["score"] == ""
        items = json.loads(written("json", predictions))
        assert items[0]["path"] == odd
        assert items[0]["score"] == 0.1 + 0.2
        assert items[1]["score"] is None
        assert len(written("table", predictions).splitlines()) == 3

    def test_no_predictions_are_an_empty_list_and_a_header(self) -> None:
        assert json.loads(written("json", [])) == []
        assert written("csv", []) == ",".join(COLUMNS) + "\n"
        assert len(written("table", []).splitlines()) == 1

    @pytest.mark.parametrize("name", ["[red]x.png", "[/x].png", "a:dog:.png"])
    def test_brackets_and_colons_in_a_name_are_no_markup(self, name: str) -> None:
        assert name in written("table", [Prediction(name, 0.5, 0.5, 0.5, "NORMAL")])


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
        assert "1 of 4 files could not be scored. The column error says why." in err

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
        out = tmp_path / "out" / "verdicts.csv"
        out.parent.mkdir()
        out.write_text("old")

        def half(predictions: Any, *_: Any) -> Iterator[Any]:
            yield next(iter(predictions))
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("featx_cli.commands.predict.write_verdicts", half)
        answer = featx("predict", tiny_run, images, "--format", "csv", "--out", out, "--force")
        assert answer.code == 2
        assert "no room left on the disk" in answer.error
        assert out.read_text() == "old"
        assert [path.name for path in out.parent.iterdir()] == ["verdicts.csv"]

    def test_ctrl_c_leaves_neither_half_a_file_nor_a_new_folder(
        self,
        featx: Featx,
        tiny_run: Path,
        images: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupted(predictions: Any, *_: Any) -> Iterator[Any]:
            yield next(iter(predictions))
            raise KeyboardInterrupt

        monkeypatch.setattr("featx_cli.commands.predict.write_verdicts", interrupted)
        out = tmp_path / "new" / "folder" / "verdicts.json"
        assert featx("predict", tiny_run, images, "--out", out).code == 130
        assert not (tmp_path / "new").exists()

    def test_nothing_is_written_for_a_run_that_is_damaged(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_run, tmp_path / "run")
        (tmp_path / "run" / "head.skops").write_bytes(b"")
        out = tmp_path / "new" / "verdicts.csv"
        answer = featx("predict", tmp_path / "run", images, "--out", out)
        assert answer.code == 2
        assert "head.skops is damaged" in answer.error
        assert not out.parent.exists()

    def test_a_folder_is_not_written_over(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        answer = featx("predict", tiny_run, images / "a.png", "--out", tmp_path)
        assert answer.code == 2
        assert "it is a folder" in answer.error


class TestExplaining:
    def test_images_that_have_a_score_get_a_figure_and_the_rows_are_the_same(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        plain = featx("predict", tiny_run, images, "--format", "csv").out
        out = tmp_path / "maps"
        answer = featx("predict", tiny_run, images, "--format", "csv", "--explain", out)
        assert (answer.code, answer.out) == (3, plain)
        figures = sorted(path.name for path in out.glob("*.png"))
        assert figures == [f"{name}-explained.png" for name in "abd"]


class TestRemarks:
    def test_verdicts_are_counted_in_words(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        code, out, err = featx("predict", tiny_run, images, "--format", "csv")
        assert code == 3
        rows = [row for row in csv.DictReader(io.StringIO(out)) if row["score"]]
        positive = sum(row["prediction"] == "PNEUMONIA" for row in rows)
        uncertain = sum(row["uncertain"] == "true" for row in rows)
        said = f"{positive} of 3 called PNEUMONIA, {uncertain} uncertain."
        assert said in err.splitlines()
        assert "called PNEUMONIA" not in featx("-q", "predict", tiny_run, images).err

    def test_many_images_unlike_the_training_set_are_warned_of_in_one_line(
        self, featx: Featx, tiny_run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("featx.evaluation.Reference.limit", 0.0)
        code, _, err = featx("predict", tiny_run, images)
        assert code == 3
        (line,) = (line for line in err.splitlines() if "unlike" in line)
        assert line.startswith("3 of 3 images are unlike those that the run was fitted on")
        quiet, views = featx("predict", tiny_run, images, "-q").err.splitlines()
        assert views.startswith("3 of 3 images may not be an upright frontal chest X-ray: 3 other")
        assert quiet == line

    def test_an_inverted_image_is_marked_in_its_row_and_in_a_warning_and_keeps_its_verdict(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        upright = Image.open(images / "d.png")
        upright.point(lambda value: 255 - value).save(images / "c.png")
        warning = "1 of 4 images may not be an upright frontal chest X-ray: 1 inverted (c.png)."
        code, out, err = featx("predict", tiny_run, images)
        assert code == 0
        marked = [line for line in out.splitlines() if line.endswith("inverted")]
        assert [Path(line.split()[-2]).name for line in marked] == ["c.png"]
        assert warning in err
        code, out, err = featx("predict", tiny_run, images, "--format", "csv", "-q")
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["view"] for row in rows] == ["", "", "inverted", ""]
        assert all(row["prediction"] for row in rows)
        assert warning in err

    def test_images_like_the_training_set_are_not(
        self, featx: Featx, tiny_run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("featx.evaluation.Reference.limit", 1e9)
        assert "unlike" not in featx("predict", tiny_run, images).err

    def test_a_run_of_an_earlier_version_is_told_of(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_run, tmp_path / "run")
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        for name in ("checksum", "files", "band"):
            del record[name]
        (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"schema_version": 2}))
        code, out, err = featx("predict", tmp_path / "run", images / "a.png", "--format", "csv")
        assert code == 0
        assert "An earlier version of featx fitted this run" in err
        (row,) = csv.DictReader(io.StringIO(out))
        assert (row["uncertain"], row["unlike_training"], row["distance"]) == ("", "", "")
        assert row["probability"] != ""


def test_quiet_prints_the_results_alone(featx: Featx, tiny_run: Path, images: Path) -> None:
    answer = featx("-q", "predict", tiny_run, images, "--format", "csv")
    assert answer.err == ""
    assert len(answer.out.splitlines()) == 5


def test_in_a_process_of_its_own_a_name_that_is_not_utf8_comes_out_as_it_went_in(
    commands: Server, tiny_run: Path, images: Path
) -> None:
    odd = os.fsencode(images) + b"/\xff.png"
    shutil.copy(os.fsencode(images / "a.png"), odd)
    words = ("-q", "predict", tiny_run, os.fsdecode(odd), "--format", "csv")
    done = commands.start(*words, out=images / "out.csv")
    assert (done.wait(), done.err) == (0, "")
    assert (images / "out.csv").read_bytes().splitlines()[1].startswith(odd + b",0.")
