"""A search that is interrupted keeps its finished trials, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from featx._run import load_run
from featx.tuning._storage import StudyLocation, open_storage
from featx_cache import open_cache
from featx_cli.__main__ import _run
from tests.processes import Server

TRIALS = 12
ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


def words(cache: Path, run: Path, *more: str) -> list[str]:
    """A search whose every trial has to compute scores, with one setting apart from the others."""
    options = ["--head", "logreg", "--accuracy-floor", "0.5", "--trials", str(TRIALS), *more]
    return ["tune", str(cache), "--run", str(run), *options]


def study_at(folder: Path, name: str, url: str | None = None) -> optuna.Study:
    return optuna.load_study(
        study_name=name, storage=open_storage(StudyLocation(folder, url, name))
    )


def finished(study: optuna.Study) -> list[int]:
    return [t.number for t in study.trials if t.state is TrialState.COMPLETE]


def wait_for_trials(works: Callable[[], bool], study: Path, name: str, trials: int) -> None:
    """Wait until a search has so many finished trials."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert works(), "it ended before it could be interrupted"
        if (study / "study.journal").is_file():
            try:
                if len(finished(study_at(study, name))) >= trials:
                    return
            except KeyError:  # the study isn't there yet
                pass
        time.sleep(0.02)
    raise AssertionError("no trials")


@pytest.mark.parametrize("how", ENDINGS, ids=lambda how: how.name)
def test_finished_trials_are_kept_and_the_same_command_goes_on(
    how: signal.Signals, commands: Server, tiny_cache: Path, tmp_path: Path
) -> None:
    run, study = tmp_path / "run", tmp_path / "run.study"
    arguments = words(tiny_cache, run)
    command = commands.start(*arguments)
    wait_for_trials(lambda: command.works, study, "run", 4)
    command.send_signal(how)
    assert command.wait(60) == ENDINGS[how]
    assert not run.exists()
    kept = {t.number: t.params for t in study_at(study, "run").trials if t.state.is_finished()}
    assert len(kept) >= 4
    if how is not signal.SIGKILL:
        return  # what is kept is the same
    left = study_at(study, "run")
    if not [t for t in left.trials if t.state is TrialState.RUNNING]:
        left.ask()  # it was killed between two trials; this one is nobody's, too
    (dead,) = [t for t in study_at(study, "run").trials if t.state is TrialState.RUNNING]
    with (study / "study.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"half a li')
    commands.run(*arguments)
    assert not study.exists()
    after = study_at(run / "study", "run")
    assert {n: after.trials[n].params for n in kept} == kept
    own = [t for t in after.trials if "source" not in t.user_attrs]
    assert sum(t.state is TrialState.COMPLETE for t in own) == TRIALS
    assert not [t for t in after.trials if t.state is TrialState.RUNNING]
    evaluation = load_run(run).evaluate(open_cache(tiny_cache))
    assert evaluation.metrics.images > 0
    # The trial whose process died is run again; half a line of the journal was dropped.
    assert after.trials[dead.number].state is TrialState.FAIL
    again = [
        t
        for t in after.trials
        if optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(t) == dead.number
    ]
    assert [t.state for t in again] == [TrialState.COMPLETE]
    assert dead.params.items() <= again[0].params.items()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_that_dies_is_told_of_and_the_same_command_goes_on(
    tiny_cache: Path, tmp_path: Path
) -> None:
    run, study, log = tmp_path / "run", tmp_path / "run.study", tmp_path / "log"
    arguments = words(tiny_cache, run, "--jobs", "2", "--trials", "300")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "featx", *arguments], stdout=subprocess.DEVNULL, stderr=file
        )
    wait_for_trials(lambda: process.poll() is None, study, "run", 3)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "loky.backend.popen_loky" in " ".join(child.cmdline())
    ]
    workers[0].kill()
    assert process.wait(120) == 1
    (error,) = [a for a in log.read_text().splitlines() if a.startswith("featx: error: ")]
    assert error.startswith("featx: error: a worker process died. ")
    kept = finished(study_at(study, "run"))
    assert 3 <= len(kept) < 300
    arguments[-1] = str(len(kept) + 5)
    assert _run(arguments) == 0
    after = study_at(run / "study", "run")
    assert [t.number for t in after.trials] == list(range(len(after.trials)))
    assert set(kept) < set(finished(after))


LEFT = """
from featx._silence import start_silent_tracker
from joblib.externals.loky.backend import resource_tracker
start_silent_tracker()
resource_tracker.register("/nowhere/left", "folder")  # which it will not find, either
"""


@pytest.mark.parametrize("warnings", [None, "error", "always"])
def test_what_dead_workers_left_is_removed_silently(warnings: str | None) -> None:
    own = {} if warnings is None else {"PYTHONWARNINGS": warnings}
    done = subprocess.run(  # it ends when the tracker has closed the pipe, too
        [sys.executable, "-c", LEFT], capture_output=True, env={**os.environ, **own}, check=True
    )
    assert done.stderr == b""


STUDY = """
import os, signal, sys
from pathlib import Path
import optuna
from featx.tuning._storage import StudyLocation, open_storage
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = open_storage(StudyLocation(Path(sys.argv[1]), None, "run"))
study = optuna.create_study(storage=storage, study_name="run", load_if_exists=True)
def objective(trial):
    if sys.argv[2] == "killed":
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # the lock is held here
    return trial.suggest_float("threshold", 0, 1)
study.optimize(objective, n_trials=int(sys.argv[3]))
"""


@pytest.mark.parametrize("where", ["relative", "absolute", "relative, by an earlier version"])
def test_a_lock_of_a_killed_process_stops_nobody(
    where: str, commands: Server, tmp_path: Path
) -> None:
    (tmp_path / "study").mkdir()
    folder = str(tmp_path / "study") if where == "absolute" else "study"

    def run(*more: str) -> int:
        return commands.start(folder, *more, program=STUDY, folder=tmp_path).wait(25)

    if where.endswith("version"):
        assert run("well", "1") == 0
        # Optuna's own lock: a link whose target is relative to the folder that it was made from.
        (tmp_path / "study" / "study.journal.lock").symlink_to("study/study.journal")
    else:
        assert run("killed", "1") == -signal.SIGKILL
        assert (tmp_path / "study" / ".study.journal.lock").exists()
    assert run("well", "1") == 0
    states = [trial.state for trial in study_at(tmp_path / "study", "run").trials]
    assert states[-1] is TrialState.COMPLETE
    assert not (tmp_path / "study" / ".study.journal.lock").exists()


def test_many_at_once_wait_for_each_other(commands: Server, tmp_path: Path) -> None:
    assert commands.start(tmp_path, "well", 1, program=STUDY).wait() == 0
    several = [commands.start(tmp_path, "well", 40, program=STUDY) for _ in range(4)]
    assert [each.wait() for each in several] == [0] * 4
    trials = study_at(tmp_path, "run").trials
    assert [trial.number for trial in trials] == list(range(161))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_a_database_finds_dead_trials_by_their_heartbeat(
    commands: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.tuning._storage.HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr("featx.tuning._storage.GRACE_SECONDS", 2)
    url = f"sqlite:///{tmp_path}/study.db"
    code = (
        "import os, signal, sys; from pathlib import Path; import featx.tuning._storage as s;"
        "s.HEARTBEAT_SECONDS, s.GRACE_SECONDS = 1, 2;"
        "import optuna;"
        "study = optuna.create_study(storage=s.open_storage(s.StudyLocation(Path('.'), sys.argv[1],"
        "'run')), study_name='run', direction='maximize');"
        "study.optimize(lambda t: (t.suggest_float('threshold', 0, 1),"
        "os.kill(os.getpid(), signal.SIGKILL))[0], n_trials=1)"
    )
    assert commands.start(url, program=code).wait() == -signal.SIGKILL
    study = study_at(tmp_path, "run", url)
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    time.sleep(4)
    study.optimize(lambda t: t.suggest_float("threshold", 0, 1), n_trials=1)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[0].params == study.trials[1].params
