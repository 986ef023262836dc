"""A study on a real PostgreSQL: many processes, no lost trials, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from featx.heads import HeadSpec
from featx.tuning import Budget, SearchSpec
from featx.tuning._storage import StudyLocation, open_storage
from featx.tuning._workers import Task, Worker, run_trials
from tests.postgres import PASSWORD, server
from tests.processes import Server

pytestmark = pytest.mark.long
TRIALS, SECONDS = 100, 0.1


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@dataclass(frozen=True)
class Sleeper:
    """An objective that takes a while and no processor."""

    seconds: float

    def __call__(self) -> object:
        seconds = self.seconds

        def objective(trial: optuna.Trial) -> float:
            time.sleep(seconds)
            return trial.suggest_float("threshold", 0.0, 1.0)

        return objective


@pytest.mark.timeout(600)
def test_four_processes_work_at_once_and_lose_no_trial(postgres: str, tmp_path: Path) -> None:
    search = SearchSpec(heads=(HeadSpec.choose("logreg"),), threshold_only=True)
    task = Task(
        location=StudyLocation(tmp_path, postgres, "four"),
        identity=json.dumps({}),
        directions=("maximize",),
        search=search.model_dump_json(),
        budget=Budget(trials=TRIALS, jobs=4, sampler="random"),
        factory=Sleeper(SECONDS),  # type: ignore[arg-type]
    )
    worker = Worker(task, repeatable=False)
    run_trials(task, worker, description="trials")
    trials = worker.study.trials
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params["threshold"] for trial in trials}) == TRIALS
    # benchmarks/tune.py measures the speed. Here four of them are under way together.
    begun = [(trial.datetime_start, 1) for trial in trials]
    ended = [(trial.datetime_complete, -1) for trial in trials]
    under_way = itertools.accumulate(change for _, change in sorted(begun + ended))
    assert max(under_way) == 4


class TestCommandLine:
    def test_a_study_in_postgres_is_tuned_and_goes_on_elsewhere(
        self, commands: Server, tiny_cache: Path, postgres: str, tmp_path: Path
    ) -> None:
        options = ["--accuracy-floor", "0.5", "--study", "shared", "--threshold-only", "--trials"]

        def tune(run: Path, trials: int) -> None:
            words = ["tune", tiny_cache, "--head", "logreg", "--run", run, *options, trials]
            answer = commands.run(*words, env={"FEATX_STORAGE": postgres})
            assert PASSWORD not in answer.out + answer.err
            written = [p for p in run.rglob("*") if p.is_file() and p.suffix in (".json", ".log")]
            assert written
            assert all(PASSWORD not in path.read_text() for path in written)

        tune(tmp_path / "a", 6)
        tune(tmp_path / "b", 10)
        storage = open_storage(StudyLocation(tmp_path, postgres, "shared"))
        study = optuna.load_study(study_name="shared", storage=storage)
        own = [t for t in study.trials if "source" not in t.user_attrs]
        assert len(own) == 10
        assert all(t.constraints for t in own)
        assert json.loads((tmp_path / "b" / "run.json").read_text())["tuning"]["study"] == "shared"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("127.0.0.1", "127.0.0.9"), "can't be used"),
            ((PASSWORD, PASSWORD + "x"), "password authentication"),
            (("/postgres", "/nowhere"), "nowhere"),
        ],
        ids=["no server", "wrong password", "no database"],
    )
    def test_what_cant_be_reached_is_one_line_without_the_password(
        self,
        change: tuple[str, str],
        said: str,
        commands: Server,
        tiny_cache: Path,
        postgres: str,
        tmp_path: Path,
    ) -> None:
        before, after = change
        url = after.join(postgres.rsplit(before, 1))
        options = ["--head", "logreg", "--run", tmp_path / "run", "--storage", url]
        answer = commands.start("tune", tiny_cache, *options)
        assert answer.wait() == 2
        assert said in answer.error
        assert PASSWORD not in answer.err
        assert not list(tmp_path.iterdir())
