"""``featx predict RUN1 RUN2``: verdicts of several runs side by side."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from featx.fitting import fit
from featx.heads import HeadSpec
from featx_cache import open_cache
from featx_cli.prediction_writers import COLUMNS
from tests.folds import use_two_folds

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once")


@pytest.fixture(scope="module")
def lda(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run on the tiny cache."""
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        run = tmp_path_factory.mktemp("other") / "lda"
        return fit(
            open_cache(tiny_cache), HeadSpec(name="lda"), run, accuracy_floor=0.1, progress=False
        ).path


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


def rows_of(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


class TestRows:
    def test_of_csv_are_those_of_each_run_alone_after_the_run_s_name(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        answer = featx("predict", tiny_run, lda, images, "--format", "csv")
        assert answer.code == 3
        assert answer.out.splitlines()[0] == ",".join(["run", *COLUMNS])
        rows = rows_of(answer.out)
        assert [row.pop("run") for row in rows] == ["logreg", "lda"] * 4
        for number, run in enumerate((tiny_run, lda)):
            alone = rows_of(featx("predict", run, images, "--format", "csv").out)
            assert rows[number::2] == alone

    def test_of_json_have_the_same_columns_and_values(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        content = json.loads(featx("predict", tiny_run, lda, images, "--format", "json").out)
        assert [list(item) for item in content] == [["run", *COLUMNS]] * 8
        rows = rows_of(featx("predict", tiny_run, lda, images, "--format", "csv").out)
        assert [(item["run"], item["path"], item["error"]) for item in content] == [
            (row["run"], row["path"], row["error"]) for row in rows
        ]
        assert [str(item["score"] or "") for item in content] == [row["score"] for row in rows]

    def test_of_the_table_stand_together_for_each_image(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(images)
        out = featx("predict", tiny_run, lda, "a.png", "c.png").out
        head, one, other, between, *bad = out.splitlines()
        assert head.split() == ["run", *COLUMNS[1:-1], "path", "error"]
        where = head.index("path")
        assert [line.split()[0] for line in (one, other)] == ["logreg", "lda"]
        assert [line[where:] for line in (one, other)] == ["a.png"] * 2
        assert between == ""
        assert [line.split()[0] for line in bad] == ["logreg", "lda"]
        assert [line[where:] for line in bad] == ["c.png  text, not an image"] * 2

    def test_of_runs_of_the_same_name_have_as_much_of_the_path_as_tells_them_apart(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        for place in ("=1+1", "two"):
            shutil.copytree(tiny_run, tmp_path / place / "logreg")
        runs = (tmp_path / "=1+1" / "logreg", tmp_path / "two" / "logreg")
        answer = featx("predict", *runs, images / "a.png", "--format", "csv")
        # A spreadsheet would run a cell that begins with =.
        assert [row["run"] for row in rows_of(answer.out)] == ["'=1+1/logreg", "two/logreg"]
        assert "The runs disagree on 0 of 1 image." in answer.err.splitlines()

    def test_of_one_run_have_no_such_column(
        self, featx: Featx, tiny_run: Path, images: Path
    ) -> None:
        answer = featx("predict", tiny_run, images, "--format", "csv")
        assert answer.out.splitlines()[0] == ",".join(COLUMNS)
        assert "disagree" not in answer.err


class TestSummary:
    def test_counts_each_run_s_verdicts_and_the_disagreements(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        _, out, err = featx("predict", tiny_run, lda, images, "--format", "csv")
        scored = [row for row in rows_of(out) if row["score"]]
        called: dict[str, list[str]] = {}
        for row in scored:
            called.setdefault(row["run"], []).append(row["prediction"])
        lines = err.splitlines()
        for name, verdicts in called.items():
            said = f"{name}: {verdicts.count('PNEUMONIA')} of 3 called PNEUMONIA, "
            assert any(line.startswith(said) for line in lines)
            assert any(line.startswith(f"{name}: The run's embeddings are") for line in lines)
        different = sum(one != two for one, two in zip(*called.values(), strict=True))
        assert f"The runs disagree on {different} of 3 images." in lines
        assert lines[-1] == "1 of 4 files could not be scored. The column error says why."

    def test_is_warnings_alone_if_quiet(
        self,
        featx: Featx,
        tiny_run: Path,
        lda: Path,
        images: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("featx.evaluation.Reference.limit", 0.0)
        err = featx("predict", tiny_run, lda, images, "-q").err
        assert [line.split(" ")[0] for line in err.splitlines()] == ["logreg:", "lda:"]
        assert err.count("3 of 3 images are unlike those that the run was fitted on") == 2


class TestExplaining:
    def test_each_run_gets_a_folder(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "maps"
        command: list[Any] = ["predict", tiny_run, lda, images / "a.png", "--explain", out]
        assert featx(*command).code == 0
        assert sorted(path.name for path in out.iterdir()) == ["lda", "logreg"]
        for name in ("lda", "logreg"):
            assert (out / name / "a-explained.png").exists()
            (row,) = json.loads((out / name / "explanations.json").read_text())["explanations"]
            assert Path(row["path"]) == images / "a.png"
        again = featx(*command)
        assert (again.code, again.out) == (2, "")
        assert f"{out / 'logreg' / 'explanations.csv'} exists already" in again.error


class TestMisuse:
    def test_runs_without_images(self, featx: Featx, tiny_run: Path, lda: Path) -> None:
        answer = featx("predict", tiny_run, lda)
        assert answer.code == 2
        assert answer.error == (
            f"Error: there are no images to predict: {lda} is a run. "
            "Give images, or folders of them, after the runs."
        )

    def test_a_run_after_images(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        answer = featx("predict", tiny_run, images, lda)
        assert answer.code == 2
        assert answer.error == (
            f"Error: the run {lda} comes after images. Give the runs first, then the images."
        )

    def test_images_before_all_runs_are_no_run(self, featx: Featx, lda: Path, images: Path) -> None:
        answer = featx("predict", images, lda)
        assert (answer.code, answer.out) == (2, "")
        assert f"{images} is not a run" in answer.error

    def test_a_run_twice(self, featx: Featx, tiny_run: Path, images: Path) -> None:
        answer = featx("predict", tiny_run, tiny_run, images)
        assert answer.code == 2
        assert "compared with itself. Give each run once." in answer.error

    def test_a_path_that_is_neither_a_run_nor_images(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").mkdir()
        for name, error in (("empty", "no images in"), ("gone", "there is no image or folder")):
            answer = featx("predict", tiny_run, tmp_path / name, images)
            assert answer.code == 2
            assert f"{error} {tmp_path / name}" in answer.error

    def test_a_damaged_run_among_them_stops_all_before_any_work(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path, tmp_path: Path
    ) -> None:
        bad = Path(shutil.copytree(lda, tmp_path / "bad"))
        (bad / "reference.h5").write_bytes(b"")
        out = tmp_path / "verdicts.csv"
        answer = featx("predict", tiny_run, bad, images, "--out", out)
        assert (answer.code, answer.out) == (2, "")
        assert "reference.h5" in answer.error
        assert not out.exists()
