"""Names chosen to do harm: terminals don't obey them, spreadsheets don't run them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from featx._run import load_run
from featx.data import load_manifest
from featx.runs._record import checksum
from featx_cli.console import TerminalProgress, output, say
from featx_cli.prediction_writers import write_verdicts
from featx_cli.tables import plain_table
from tests.cli.conftest import Featx
from tests.cli.test_predict import CLASSES, failure, written

ACTING = ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\udcff")
NAME = "a\x1b]0;b\x07\x9b\u202egnp\r\udcff[b].png"
FORMULA = "=cmd|' C calc'!A0"


pytestmark = pytest.mark.usefixtures("networks_are_built_once")


def obeyed(text: str) -> list[str]:
    """Return what a terminal would obey."""
    return [character for character in ACTING if character in text]


@pytest.fixture
def data(phantom_data: Path, tmp_path: Path) -> Path:
    """Images of two classes, with names of both kinds."""
    folder = Path(shutil.copytree(phantom_data, tmp_path / "data"))
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        if number % 7 == 0:
            path.rename(path.with_name(f"{number}{NAME}"))
    return folder


class TestTerminals:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["data", "check", "{data}"],
            ["-v", "data", "split", "{data}", "--out", "{tmp}/m.csv", "--test", "0.2"],
            pytest.param(
                ["data", "show", "{data}", "--out", "{tmp}/" + NAME], marks=pytest.mark.long
            ),
            ["export", "{shallow}", "--onnx", "{tmp}/" + NAME + ".onnx"],
            ["predict", "{run}", "{data}/test"],
            ["predict", "{run}", "{tmp}/" + NAME],
            ["cache", "info", "{tmp}/" + NAME],
            ["evaluate", "{tmp}/" + NAME],
            ["dashboard", "{tmp}/" + NAME],
            ["fit", "{tmp}/" + NAME, "--head", NAME, "--run", "{tmp}/" + NAME],
            ["data", NAME],
            [NAME],
            ["predict", "--" + NAME],
        ],
        ids=lambda arguments: " ".join(arguments[:3]).replace(NAME, "NAME"),
    )
    def test_are_told_nothing_that_they_obey(
        self,
        arguments: list[str],
        featx: Featx,
        data: Path,
        tiny_run: Path,
        shallow_run: Path,
        tmp_path: Path,
    ) -> None:
        places = {"data": data, "tmp": tmp_path, "run": tiny_run, "shallow": shallow_run}
        answer = featx(*(argument.format(**places) for argument in arguments))
        assert obeyed(answer.out + answer.err) == []
        assert "unexpected" not in answer.err

    def test_see_question_marks_in_the_names_of_damaged_shards(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        cache = Path(shutil.copytree(tiny_cache, tmp_path / NAME))
        for shard in (cache / "shards").iterdir():
            shard.write_bytes(b"")
        answer = featx("cache", "verify", cache)
        assert answer.code == 2
        assert "a?]0;b???gnp" in answer.out
        assert obeyed(answer.out + answer.err) == []

    def test_see_question_marks_in_lines_tables_and_bars(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        say(NAME)
        table = plain_table(NAME, (NAME, "b"))
        table.add_row(NAME, "1")
        output().print(table)
        output().print(NAME)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        with TerminalProgress().task(f"{NAME}[/b]", 2, "image") as advance:
            advance(2)
        shown = capsys.readouterr()
        assert obeyed(shown.out) == []
        assert "\x1b]0;" not in shown.err  # the bar has escapes of its own
        assert obeyed(shown.err.replace("\x1b", "").replace("\r", "")) == []
        assert "a?]0;b???gnp" in shown.err
        assert "[b].png[/b]" in shown.err

    def test_see_verdicts_without_them_as_a_table_and_as_csv(self) -> None:
        class Screen(io.StringIO):
            def isatty(self) -> bool:
                return True

        assert obeyed(written("table", [failure(NAME)])) == []
        screen = Screen()
        list(write_verdicts([(failure(NAME),)], "csv", screen, CLASSES))
        assert obeyed(screen.getvalue()) == []

    def test_a_run_whose_classes_they_would_obey_is_refused(
        self, featx: Featx, tiny_run: Path, tmp_path: Path
    ) -> None:
        run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
        values = json.loads((run / "run.json").read_text())
        values["classes"] = ["NORMAL", "A\x1b[2J\u202e"]
        values["checksum"] = checksum(values)
        (run / "run.json").write_text(json.dumps(values))
        answer = featx("evaluate", run)
        assert answer.code == 2
        assert "is not printable text" in answer.error
        assert obeyed(answer.err) == []


class TestSpreadsheets:
    def test_verdicts_begin_no_formula_and_lead_to_their_files(
        self, featx: Featx, tiny_run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = next((data / "test").rglob("*.png"))
        monkeypatch.chdir(image.parent)
        names = [f"{start}{FORMULA}.png" for start in ("", "+", "-", "@", "\t")]
        for name in names:
            shutil.copy(image, name)
        arguments = ["predict", tiny_run, "--format", "csv", "--", *names]
        rows = list(csv.DictReader(io.StringIO(featx(*arguments).out, newline="")))
        assert [row["path"] for row in rows] == [f"./{name}" for name in names]
        assert all(Path(row["path"]).samefile(row["path"][2:]) for row in rows)
        arguments[3] = "json"
        assert [row["path"] for row in json.loads(featx(*arguments).out)] == names

    def test_errors_and_classes_begin_none(self) -> None:
        bad = failure("a")
        object.__setattr__(bad, "error", FORMULA)
        object.__setattr__(bad, "prediction", "+ve")
        (row,) = csv.DictReader(io.StringIO(written("csv", [bad])))
        assert (row["error"], row["prediction"]) == (f"'{FORMULA}", "'+ve")

    def test_manifests_and_scores_are_read_back_as_they_were(
        self, featx: Featx, phantom_data: Path, tmp_path: Path
    ) -> None:
        """Classes, patients and paths that look like formulas."""
        data = Path(shutil.copytree(phantom_data, tmp_path / "data"))
        first = next(data.rglob("*.png"))
        first.rename(first.with_name("a\r=1.png"))
        for path in sorted(data.rglob("NORMAL")):
            path.rename(path.with_name(FORMULA))
        for path in sorted(data.rglob("PNEUMONIA")):
            path.rename(path.with_name("+ve"))
        manifest = load_manifest(data, positive="+ve")
        manifest.table.loc[0, "group"] = FORMULA  # as a --group-regex finds it in the path
        manifest.save(data / "m.csv")
        with (data / "m.csv").open(newline="", errors="surrogateescape") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
        again = load_manifest(data / "m.csv", positive="+ve")
        assert again.table.equals(manifest.table)
        cache, run = tmp_path / "cache", tmp_path / "run"
        options = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
        answer = featx("extract", data / "m.csv", "--cache", cache, *options, "--copies", "0")
        assert answer.code == 0, answer.err
        fitted = ["fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.4"]
        assert featx(*fitted).code == 0
        with (run / "oof.csv").open(newline="", errors="surrogateescape") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
        answer = featx("evaluate", run, "--csv", tmp_path / "s.csv")
        assert answer.code == 0, answer.err
        assert set(load_run(run).out_of_fold["label"]) == {FORMULA, "+ve"}
        with (tmp_path / "s.csv").open(newline="", errors="surrogateescape") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
