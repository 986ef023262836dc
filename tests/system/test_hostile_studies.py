"""Studies made to do harm: journals of foreign objects, foreign databases, trials of others."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from featx.errors import FeatxError
from featx.tuning._score_store import HeadScores, ScoreStore
from featx.tuning._storage import JOURNAL_NAME, StudyLocation, drop_torn_line, open_storage
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity
from tests.archives import Bomb, npy, objects_in_npy, write
from tests.studies import IDENTITY, use_study
from tests.system.test_hostile_runs import rewrite

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("unharmed")]
WORKER = b'"worker_id": "w"'
LINES = [
    b"",
    b"garbage",
    b"\xff\xfe\x00",
    pickle.dumps({"op_code": 0}),
    b"{}",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"NaN",
    b"1" * 5000,
    b"[" * 10**5,
    b'{"op_code":' * 10**5,
    b'{"op_code": 99, %s}' % WORKER,
    b'{"op_code": "0", %s}' % WORKER,
    b'{"op_code": %s}' % (b"9" * 5000),
    b'{"op_code": 0, %s}' % WORKER,
    b'{"op_code": 0, %s, "study_name": "study", "directions": [7]}' % WORKER,
    b'{"op_code": 0, %s, "study_name": 3, "directions": 3}' % WORKER,
    b'{"op_code": 1, %s, "study_id": 77}' % WORKER,
    b'{"op_code": 2, %s, "study_id": 0, "user_attr": {"featx": 3}}' % WORKER,
    b'{"op_code": 2, %s, "study_id": 0, "user_attr": 3}' % WORKER,
    b'{"op_code": 4, %s, "study_id": "x"}' % WORKER,
    b'{"op_code": 4, %s, "study_id": 0, "datetime_start": "never"}' % WORKER,
    b'{"op_code": 4, %s, "study_id": 0, "state": 1, "values": ["a"], "params": {"x": 1},'
    b' "distributions": {"x": "{}"}, "user_attrs": {}, "system_attrs": {},'
    b' "intermediate_values": {}}' % WORKER,
    b'{"op_code": 5, %s, "trial_id": 0, "param_name": "x", "param_value_internal": "a",'
    b' "distribution": "{\\"name\\": \\"Popen\\", \\"attributes\\": {}}"}' % WORKER,
    b'{"op_code": 5, %s, "trial_id": 999999999, "param_name": "x"}' % WORKER,
    b'{"op_code": 6, %s, "trial_id": 0, "state": 77, "values": [1]}' % WORKER,
    b'{"op_code": 6, %s, "trial_id": 0, "state": 1, "values": "abc"}' % WORKER,
    b'{"op_code": 7, %s, "trial_id": 0, "step": "x", "intermediate_value": 1}' % WORKER,
]
"""Lines that somebody else may put into a journal."""

STATEMENTS = [
    "UPDATE study_user_attributes SET value_json = '{'",
    "UPDATE study_user_attributes SET value_json = '[1]'",
    "UPDATE version_info SET schema_version = 99",
    "UPDATE alembic_version SET version_num = 'foreign'",
    "UPDATE trials SET state = 'FOREIGN'",
    "UPDATE trial_values SET value = 'text'",
    "UPDATE study_directions SET direction = 'UP'",
    "UPDATE trial_params SET distribution_json = '{'",
    "DELETE FROM study_directions",
    "DELETE FROM version_info",
    "DROP TABLE trials",
    "DROP TABLE studies",
]
"""Changes that somebody else may make to a database."""


def outcome(place: StudyLocation) -> str:
    """Return what was said, empty for a result. Anything but a FeatxError gets through."""
    try:
        use_study(place)
    except FeatxError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return str(error)
    return ""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a study of two trials."""
    folder = tmp_path_factory.mktemp("journal")
    for _ in range(2):
        use_study(StudyLocation(folder, None, "study"))
    return (folder / JOURNAL_NAME).read_bytes()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study in SQLite."""
    folder = tmp_path_factory.mktemp("database")
    use_study(StudyLocation(folder, f"sqlite:///{folder}/study.db", "study"))
    return folder / "study.db"


class TestJournals:
    @pytest.mark.parametrize("line", LINES, ids=lambda line: repr(line[:30]))
    @pytest.mark.parametrize("where", ["first", "between", "last", "torn", "alone"])
    def test_with_a_foreign_line_are_a_result_or_one_error(
        self, journal: bytes, tmp_path: Path, line: bytes, where: str
    ) -> None:
        first, *rest = journal.splitlines(keepends=True)
        content = {
            "first": line + b"\n" + journal,
            "between": b"".join([first, line, b"\n", *rest]),
            "last": journal + line + b"\n",
            "torn": journal + line,
            "alone": line + b"\n",
        }[where]
        (tmp_path / JOURNAL_NAME).write_bytes(content)
        said = outcome(StudyLocation(tmp_path, None, "study"))
        assert not said or str(tmp_path / JOURNAL_NAME) in said
        if where == "torn":
            assert not said

    def test_that_are_links_are_refused_and_what_they_lead_to_is_untouched(
        self, journal: bytes, tmp_path: Path
    ) -> None:
        """A torn line would be cut off, and trials would be written at its end."""
        (tmp_path / "mine.txt").write_bytes(journal + b"my last words")
        (tmp_path / JOURNAL_NAME).symlink_to(tmp_path / "mine.txt")
        assert "is a link" in outcome(StudyLocation(tmp_path, None, "study"))
        with pytest.raises(FeatxError, match="is a link"):
            open_storage(StudyLocation(tmp_path, None, "study"))
        assert (tmp_path / "mine.txt").read_bytes().endswith(b"my last words")

    def test_in_folders_that_are_links_are_refused(self, journal: bytes, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / JOURNAL_NAME).write_bytes(journal + b"my last words")
        (tmp_path / "study").symlink_to(tmp_path / "mine")
        assert "is a link" in outcome(StudyLocation(tmp_path / "study", None, "study"))
        with pytest.raises(FeatxError, match="is a link"):
            drop_torn_line(tmp_path / "study" / JOURNAL_NAME)
        assert [path.name for path in (tmp_path / "mine").iterdir()] == [JOURNAL_NAME]

    def test_that_are_pipes_are_refused_at_once(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / JOURNAL_NAME)
        assert "is not a file" in outcome(StudyLocation(tmp_path, None, "study"))


@pytest.fixture(scope="module")
def searched(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its study. Copy it before a change."""
    run = tmp_path_factory.mktemp("searched") / "run"
    options = ["--head", "logreg", "--accuracy-floor", "0.5", "--trials", "2"]
    assert _run(["-q", "tune", str(tiny_cache), "--run", str(run), *options]) == 0
    set_verbosity(Verbosity.NORMAL)
    return run


FOREIGN = [
    "postgresql+psycopg://127.0.0.1:{port}/db",
    "postgresql+psycopg://me:***@127.0.0.1:{port}/db",
    "postgresql+psycopg:///db?host=127.0.0.1&port={port}",
    "sqlite:///{folder}/mine.db",
    "sqlite:///{folder}/new.db",
    "sqlite:///{folder}/run/study/new.db",
    "postgresql://127.0.0.1:{port}x/db",
    "\x1b]0;harm\x07",
    3,
]
"""Databases that a stranger's run may name."""


class TestPlaces:
    """A stranger's run may name a database. It is never followed."""

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize(
        ("command", "storage"),
        [
            ("report", FOREIGN[0]),
            *itertools.product(["dashboard", "evaluate", "tune"], FOREIGN),
        ],
    )
    def test_that_a_run_names_are_not_gone_to(
        self,
        storage: Any,
        command: str,
        searched: Path,
        tiny_cache: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr("featx_cli.commands.dashboard.serve", lambda *_, **__: None)
        monkeypatch.delenv("FEATX_STORAGE", raising=False)
        run = Path(shutil.copytree(searched, tmp_path / "run"))
        (run / "study" / JOURNAL_NAME).unlink()
        with contextlib.closing(sqlite3.connect(tmp_path / "mine.db")) as mine:
            mine.execute("CREATE TABLE patients (name TEXT)")
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            port = server.getsockname()[1]
            if isinstance(storage, str):
                storage = storage.format(port=port, folder=tmp_path)
            rewrite(run, lambda values: values["tuning"].update(storage=storage))
            files = sorted(tmp_path.rglob("*"))
            code = _run(
                {
                    "dashboard": ["dashboard", str(run)],
                    "report": ["report", str(run), "--out", str(tmp_path / "r.html")],
                    "evaluate": ["-q", "evaluate", str(run)],
                    "tune": ["tune", str(tiny_cache), "--run", str(run), "--head", "logreg"],
                }[command]
            )
            set_verbosity(Verbosity.NORMAL)
            with pytest.raises(BlockingIOError):
                server.accept()
        said = capsys.readouterr().err
        assert "\x1b" not in said
        if command == "dashboard":
            assert code == 2
            assert said.count("\n") == 1
            assert ("tuning.storage: " if storage == 3 else "Give --storage URL") in said
        if command in ("dashboard", "tune", "evaluate"):
            assert sorted(tmp_path.rglob("*")) == files
        with contextlib.closing(sqlite3.connect(tmp_path / "mine.db")) as mine:
            tables = mine.execute("SELECT name FROM sqlite_master").fetchall()
        assert tables == [("patients",)]

    @pytest.mark.parametrize("name", [3, [], {}, None, "\x1b[2J", "x" * 10**5])
    def test_of_names_that_nobody_gives_are_told_in_one_line(
        self, name: Any, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = Path(shutil.copytree(searched, tmp_path / "run"))
        rewrite(run, lambda values: values["tuning"].update(study=name))
        assert _run(["dashboard", str(run), "--port", "0"]) == 2
        said = capsys.readouterr().err
        assert (said.count("\n"), "\x1b" in said, "unexpected" in said) == (1, False, False)


class TestDatabases:
    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_that_were_changed_are_a_result_or_one_error(
        self, database: Path, tmp_path: Path, statement: str
    ) -> None:
        path = Path(shutil.copy(database, tmp_path))
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        said = outcome(StudyLocation(tmp_path, f"sqlite:///{path}", "study"))
        assert not said or str(path) in said

    @pytest.mark.parametrize("table", ["patients", "studies", "version_info", "alembic_version"])
    def test_of_something_else_are_a_result_or_one_error(self, tmp_path: Path, table: str) -> None:
        path = tmp_path / "other.db"
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"CREATE TABLE {table} (name TEXT)")
            connection.execute(f"INSERT INTO {table} VALUES ('Doe')")
        said = outcome(StudyLocation(tmp_path, f"sqlite:///{path}", "study"))
        assert not said or str(path) in said
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute(f"SELECT name FROM {table}").fetchall() == [("Doe",)]

    @pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
    def test_that_are_truncated_are_a_result_or_one_error(
        self, database: Path, tmp_path: Path, kept: float
    ) -> None:
        content = database.read_bytes()
        (tmp_path / "torn.db").write_bytes(content[: int(kept * len(content))])
        outcome(StudyLocation(tmp_path, f"sqlite:///{tmp_path}/torn.db", "study"))

    @pytest.mark.parametrize("content", [b"hello" * 1000, b"SQLite format 3\0" + bytes(5000)])
    def test_that_are_none_are_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "none.db").write_bytes(content)
        assert "none.db" in outcome(
            StudyLocation(tmp_path, f"sqlite:///{tmp_path}/none.db", "study")
        )


class TestRememberedScores:
    @pytest.mark.parametrize(
        "content", [b"", b"harm", pickle.dumps(3)], ids=["empty", "text", "pickle"]
    )
    def test_that_are_none_are_computed_again(self, tmp_path: Path, content: bytes) -> None:
        self.remembered_again(tmp_path, lambda path: path.write_bytes(content))

    @pytest.mark.parametrize(
        "array", [objects_in_npy(), npy((10**12,)), npy((1,), "|O")], ids=["pickle", "huge", "O"]
    )
    def test_of_hostile_arrays_are_computed_again(self, tmp_path: Path, array: bytes) -> None:
        self.remembered_again(tmp_path, lambda path: write(path, {"scores.npy": array}))

    @pytest.mark.parametrize("scores", [np.array([0.1, np.nan]), np.zeros((2, 2)), np.array(["a"])])
    def test_that_are_no_numbers_are_computed_again(self, tmp_path: Path, scores: Any) -> None:
        self.remembered_again(tmp_path, lambda path: np.savez(path, scores=scores, seconds=1.0))

    def remembered_again(self, folder: Path, spoil: Callable[[Path], object]) -> None:
        store, scores = ScoreStore(folder / "scores"), HeadScores(np.array([3.0, 3.0]), 0.1)
        store.write("key", scores)
        spoil(store.path("key"))
        assert store.read("key") is None
        store.write("key", scores)
        found = store.read("key")
        assert found is not None
        np.testing.assert_array_equal(found.scores, scores.scores)


class TestForeignTrials:
    def test_in_a_study_of_featx_are_named_in_one_line(
        self, tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--head", "logreg", "--accuracy-floor", "0.5", "--run", f"{tmp_path}/run"]
        arguments = ["tune", f"{tiny_cache}", *options, "--storage", f"sqlite:///{tmp_path}/s.db"]
        assert _run([*arguments, "--trials", "2"]) == 0
        (summary,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/s.db")
        study = optuna.load_study(
            study_name=summary.study_name, storage=f"sqlite:///{tmp_path}/s.db"
        )
        study.add_trial(optuna.create_trial(value=1.0))
        shutil.rmtree(tmp_path / "run")
        capsys.readouterr()
        code = _run([*arguments, "--trials", "4"])
        set_verbosity(Verbosity.NORMAL)
        last = capsys.readouterr().err.splitlines()[-1]
        assert code == 2
        assert "was not made by featx" in last
        assert not (tmp_path / "run").exists()


def test_a_bomb_would_go_off(tmp_path: Path) -> None:
    """The proof that a pickle that was read would be noticed."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").is_dir()
    assert json.dumps(IDENTITY)
