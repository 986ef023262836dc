"""``featx tune`` and ``featx dashboard``: what they print, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

from featx._run import load_run
from featx.reports import report
from featx.tuning._storage import StudyLocation, open_storage
from featx_cli.serving import warn_if_open

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

BASE = ("--head", "logreg", "--accuracy-floor", "0.5", "--trials", "4", "--threshold-only")


@pytest.fixture(scope="module")
def tuned(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from featx_cli.__main__ import _run

    run = tmp_path_factory.mktemp("cli-tuned") / "run"
    assert _run(["--quiet", "tune", str(tiny_cache), "--run", str(run), *BASE]) == 0
    return run


class TestOutput:
    def test_it_shows_search_and_fresh_folds_side_by_side(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        answer = featx("tune", tiny_cache, "--run", run, *BASE)
        assert answer.code == 0
        record = json.loads((run / "run.json").read_text())
        for words in ("folds of the search", "fresh folds", "optimism", "Trials: ", str(run)):
            assert words in answer.out
        assert f"{record['tuning']['recall']:.4f}" in answer.out
        assert f"{record['metrics']['out_of_fold']['recall']:.4f}" in answer.out
        assert f"featx dashboard {run}" in answer.err

    @pytest.mark.usefixtures("words_only")
    def test_a_promise_is_printed(self, featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        answer = featx(
            "tune", tiny_cache, "--run", run, *BASE, "--guarantee", "0.2", "--accuracy-floor", "0.1"
        )
        assert answer.code == 0, answer.err
        sentence = json.loads((run / "run.json").read_text())["promise"]["sentence"]
        assert sentence in answer.out
        loaded = load_run(run)
        assert sentence in report(loaded, progress=False).html

    def test_the_criterion_is_searched_and_told(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        options = ("--head", "logreg", "--trials", "4", "--threshold-only")
        floors = ("--recall-floor", "0.5", "--specificity-floor", "0.2")
        answer = featx("tune", tiny_cache, "--run", run, *options, *floors)
        assert answer.code == 0, answer.err
        record = load_run(run).record
        words = "highest specificity with recall ≥ 0.5 and specificity ≥ 0.2"
        assert record.criterion.in_words == words
        assert record.tuning is not None
        assert record.tuning.recall >= 0.5
        storage = open_storage(StudyLocation(run / "study", None, ""))
        study = optuna.load_study(study_name="run", storage=storage)
        assert study.metric_names == ["specificity"]
        assert words in str(storage.get_study_system_attrs(study._study_id))
        for trial in study.trials:
            recall, specificity = (trial.user_attrs[n] for n in ("recall", "specificity"))
            assert trial.values == [specificity]
            assert trial.constraints == {
                "recall_floor": 0.5 - recall,
                "specificity_floor": 0.2 - specificity,
            }
            assert trial.user_attrs["feasible"] == (recall >= 0.5 and specificity >= 0.2)
        assert study.best_trial.values == study.trials[record.tuning.winner].values
        # The same command would go on with the study, and another criterion's wouldn't.
        assert "--recall-floor 0.5 --specificity-floor 0.2" in report(load_run(run)).html

    def test_a_promise_needs_a_floor(self, featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
        options = ("--head", "logreg", "--guarantee", "0.9", "--youden")
        answer = featx("tune", tiny_cache, "--run", tmp_path / "run", *options)
        assert answer.code == 2
        assert "--guarantee promises floors, and the highest recall + specificity" in answer.error
        assert not list(tmp_path.iterdir())


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--accuracy-floor", "1.5"], "the accuracy floor 1.5 is not between 0 and 1"),
            (["--accuracy-floor", "-0.1"], "is not between 0 and 1"),
            (["--trials", "0"], "--trials 0 searches nothing"),
            (["--jobs", "0"], "--jobs 0 runs nothing"),
            (["--timeout", "0"], "--timeout 0 leaves no time"),
            (["--sampler", "cmaes"], "cmaes can't take constraints"),
            (["--sampler", "annealing"], "there is no sampler 'annealing'"),
            (["--sampler", "gp", "--objective", "pareto"], "doesn't follow two objectives"),
            (["--sampler", "grid", "--head", "all"], "grid searches one head"),
            (["--objective", "recall"], "there is no objective 'recall'"),
            (["--pruner", "shears"], "there is no pruner 'shears'"),
            (["--head", "forest"], "there is no head 'forest'"),
            (["--set", "Q=1"], "there is no setting of logreg 'Q'"),
            (["--guarantee", "90"], "--guarantee can't be 90"),
            (["--recall-floor", "9"], "the recall floor 9.0 is not between 0 and 1"),
            (["--cost", "9"], "'9' isn't FN:FP"),
            (["--cost", "9:1", "--youden"], "--cost and --youden are two objectives"),
            (["--storage", "nonsense"], "is not the URL of a database"),
            (["--storage", "postgresql://u:pass-word@h:54x/db"], "is not the URL of a database"),
            (["--storage", "postgresql:/u:pass-word@h/db"], "is not the URL of a database"),
            (["--storage", "postgresql://u:x@pass-word@h/db"], "write @ as %40"),
            (["--storage", "postgresql://u:x@h/pass-word@h/db"], "write @ as %40"),
            (["--storage", "postgresql://u:x@/pass-word@h/db"], "write @ as %40"),
            (["--storage", "postgresql://u/pass-word:x@h/db"], "write @ as %40"),
            (["--storage", "sqlite:x.db?password=pass-word"], "is not the URL of a database"),
            (["--storage", "sqlite:////nowhere/x.db?password=pass-word"], "x.db?…"),
            (["--storage", "sqlite:///x.db?password=pass-word"], "doesn't know the options in"),
            (["--storage", "mysql+nodriver://h/db?user=u&password=pass-word"], "mysql"),
            (["--storage", "nosuch://host/db"], "there is no kind of database nosuch"),
            (["--storage", "mysql+nodriver://u:pass-word@h/db"], "mysql"),
            (["--storage", "sqlite:////nowhere/at/all/study.db"], "unable to open database file"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_is_one_line_exit_code_2_and_nothing_written(
        self, options: list[str], said: str, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        answer = featx("tune", tiny_cache, "--run", tmp_path / "new" / "run", *BASE, *options)
        assert answer.code == 2
        assert answer.error.startswith("featx: error: ")
        assert said in answer.error
        assert "pass-word" not in answer.err
        assert answer.out == ""
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", [b"run\xff", b"run"])
    def test_a_name_that_is_not_utf_8_is_one_line(
        self, name: bytes, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        place = os.fsdecode(os.fsencode(tmp_path / "new") + b"/" + name)
        database = os.fsdecode(b"sqlite:///" + os.fsencode(tmp_path) + b"/x\xff.db")
        more = ["--storage", database] if name == b"run" else []
        answer = featx("tune", tiny_cache, "--run", place, *BASE, *more)
        assert answer.code == 2
        assert "is not UTF-8. Name the run" in answer.error
        assert not list(tmp_path.iterdir())

    def test_a_gaussian_process_says_what_it_needs(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
        answer = featx("tune", tiny_cache, "--run", tmp_path / "run", *BASE, "--sampler", "gp")
        assert answer.code == 2
        assert "pip install 'featx[gp]'" in answer.error

    def test_no_feasible_trial_names_the_nearest_miss_and_keeps_the_study(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        answer = featx("tune", tiny_cache, "--run", run, *BASE, "--accuracy-floor", "1")
        assert answer.code == 1
        assert "no trial reaches accuracy 1: the nearest is 0." in answer.error
        assert not run.exists()
        assert (tmp_path / "run.study" / "study.journal").is_file()


class TestDashboard:
    def test_without_anything_to_show(self, featx: Featx) -> None:
        answer = featx("dashboard")
        assert answer.code == 2
        assert "Give a RUN that `featx fit` or `featx tune` made, or --storage URL" in answer.error

    def test_a_run_that_is_not_there(self, featx: Featx, tmp_path: Path) -> None:
        answer = featx("dashboard", tmp_path / "nothing")
        assert answer.code == 2
        assert "has no study" in answer.error

    def test_a_port_in_use(self, featx: Featx, tuned: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            answer = featx("dashboard", tuned, "--port", str(port))
        assert answer.code == 2
        assert f"port {port} of 127.0.0.1 is in use. Give another --port" in answer.error

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--port", "99999"], "there is no port 99999"),
            (["--host", "192.0.2.1", "--port", "0"], "can't listen at 192.0.2.1:0"),
        ],
    )
    def test_an_address_that_cant_be(
        self, options: list[str], said: str, featx: Featx, tuned: Path
    ) -> None:
        answer = featx("dashboard", tuned, *options)
        assert answer.code == 2
        assert said in answer.error

    def test_a_study_that_is_not_in_the_storage(
        self, featx: Featx, tiny_cache: Path, tmp_path: Path
    ) -> None:
        run, database = tmp_path / "run", tmp_path / "study.db"
        url = f"sqlite:///{database}"
        assert featx("tune", tiny_cache, "--run", run, *BASE, "--storage", url).code == 0
        database.unlink()
        answer = featx("dashboard", run, "--storage", url)
        assert answer.code == 2
        assert f"there is no study 'run' in {url}. It has these: none." in answer.error

    def test_a_database_is_asked_for_where_the_study_is_in_one(
        self, featx: Featx, tuned: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tuned, run)
        (run / "study" / "study.journal").unlink()
        record = json.loads((run / "run.json").read_text())
        del record["checksum"]
        record["tuning"]["storage"] = "postgresql+psycopg://me:***@host/db"
        (run / "run.json").write_text(json.dumps(record))
        answer = featx("dashboard", run)
        assert answer.code == 2
        assert "in postgresql+psycopg://me:***@host/db. Give --storage URL" in answer.error

    def test_tensorboard_of_a_run_without_trainings(self, featx: Featx, tuned: Path) -> None:
        answer = featx("tensorboard", tuned)
        assert answer.code == 2
        assert "has no TensorBoard files. Runs of the head keras have some" in answer.error

    @pytest.mark.parametrize(
        ("host", "warned"),
        [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True)],
    )
    def test_others_are_let_in_with_a_warning_only(
        self, host: str, warned: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        warn_if_open(host, "the dashboard")
        assert ("has no log-in" in capsys.readouterr().err) == warned
