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
from featx.scoring import Prediction
from featx_cache import open_cache
from featx_cli.prediction_writers import COLUMNS, write_verdicts
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


RUNS = ("logreg", "lda")


def written(format: str) -> str:
    """Write the verdicts of two runs on two images. The second image can't be read."""
    good = [
        Prediction("a.png", 0.25, 0.3, 0.5, "NORMAL", False, True, 31.4),
        Prediction("a.png", 0.75, 0.8, 0.4, "PNEUMONIA", None, None, None),
    ]
    bad = [Prediction("c.png", None, None, t, "", error="not an image") for t in (0.5, 0.4)]
    file = io.StringIO()
    classes = ("NORMAL", "PNEUMONIA")
    assert list(write_verdicts([good, bad], format, file, classes, RUNS)) == [good, bad]
    return file.getvalue()


class TestRows:
    def test_are_those_of_each_run_alone_after_the_run_s_name_and_are_summed_up(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        code, out, err = featx("predict", tiny_run, lda, images, "--format", "csv")
        assert code == 3
        assert out.splitlines()[0] == ",".join(["run", *COLUMNS])
        rows, lines = rows_of(out), err.splitlines()
        assert [row.pop("run") for row in rows] == [*RUNS] * 4
        for number, (name, run) in enumerate(zip(RUNS, (tiny_run, lda), strict=True)):
            alone = featx("predict", run, images, "--format", "csv")
            assert rows[number::2] == rows_of(alone.out)
            # A line of each run is its line alone, after its name.
            own = [line for line in alone.err.splitlines() if "could not be scored" not in line]
            assert own
            assert set(own) <= {line.removeprefix(f"{name}: ") for line in lines}
            assert "disagree" not in alone.err
        pairs = zip(rows[::2], rows[1::2], strict=True)
        different = sum(one["prediction"] != other["prediction"] for one, other in pairs)
        assert lines[-2:] == [
            f"The runs disagree on {different} of 3 images.",
            "1 of 4 files could not be scored. The column error says why.",
        ]

    def test_of_json_have_the_columns_of_csv(self) -> None:
        content = json.loads(written("json"))
        assert [list(item) for item in content] == [["run", *COLUMNS]] * 4
        assert [(item["run"], item["path"], item["score"]) for item in content] == [
            ("logreg", "a.png", 0.25),
            ("lda", "a.png", 0.75),
            ("logreg", "c.png", None),
            ("lda", "c.png", None),
        ]

    def test_of_the_table_stand_together_for_each_image(self) -> None:
        head, one, other, between, *bad = written("table").splitlines()
        assert head.split() == ["run", *COLUMNS[1:-2], "path", "error", "view"]
        assert " ".join(one.split()) == "logreg 0.2500 0.3000 0.5000 NORMAL no yes 31.40 a.png"
        assert " ".join(other.split()) == "lda 0.7500 0.8000 0.4000 PNEUMONIA a.png"
        assert between == ""
        where = head.index("path")
        assert [line[where:].strip() for line in (one, other)] == ["a.png"] * 2
        assert [line[where:].strip() for line in bad] == ["c.png  not an image"] * 2

    def test_of_runs_of_the_same_name_have_as_much_of_the_path_as_tells_them_apart(
        self, featx: Featx, tiny_run: Path, images: Path, tmp_path: Path
    ) -> None:
        runs = [tmp_path / place / "logreg" for place in ("=1+1", "two")]
        for run in runs:
            shutil.copytree(tiny_run, run)
        answer = featx("predict", *runs, images / "a.png", "--format", "csv")
        assert answer.code == 0
        # A spreadsheet would run a cell that begins with =.
        assert [row["run"] for row in rows_of(answer.out)] == ["'=1+1/logreg", "two/logreg"]


class TestSummary:
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
        assert [line.split(" ")[0] for line in err.splitlines()] == ["logreg:", "lda:", "3"]
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
            f"featx: error: there are no images to predict: {lda} is a run. "
            "Give images, or folders of them, after the runs."
        )

    def test_a_run_after_images(
        self, featx: Featx, tiny_run: Path, lda: Path, images: Path
    ) -> None:
        answer = featx("predict", tiny_run, images, lda)
        assert answer.code == 2
        assert answer.error == (
            f"featx: error: the run {lda} comes after images. Give the runs first, then the images."
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
