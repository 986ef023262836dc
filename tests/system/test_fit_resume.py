"""`featx fit` killed in mid-training and resumed: the same run as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featx_cli.__main__ import _run
from tests.featx.runs.test_unfinished import weights_of
from tests.processes import Command, Server

SETTINGS = {
    "architecture": "gap",
    "dense_units": "16",
    "stopping": "dual",
    "accuracy_target": "0.5",
    "recall_target": "0.5",
    "batch_size": "8",
}


def words(cache: Path, run: Path, *more: str) -> list[str]:
    """Words that are typed after ``featx``."""
    command = ["fit", str(cache), "--head", "keras", "--run", str(run), "--epochs", "6"]
    command += ["--accuracy-floor", "0.1", "--folds", "2", *more]
    return command + [word for pair in SETTINGS.items() for word in ("--set", "=".join(pair))]


def states(run: Path) -> int:
    """Number of times that a state was written: its changes of inode are counted by mtime."""
    folder = run.with_name(f"{run.name}.unfinished")
    return sum(path.stat().st_mtime_ns for path in folder.glob("*/state-*.npz"))


def wait_for(condition: Callable[[], bool], command: Command) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert command.works, f"it ended before it was killed: {command.err}"
        assert time.monotonic() < deadline, "no epoch ends"
        time.sleep(0.005)


@pytest.mark.timeout(280)
def test_a_killed_and_resumed_training_gives_the_same_run(
    commands: Server, tiny_cache: Path, tmp_path: Path
) -> None:
    chance = random.Random(4)
    commands.run(*words(tiny_cache, tmp_path / "whole"))
    run = tmp_path / "runs" / "killed"
    command = commands.start(*words(tiny_cache, run))
    seen = [states(run)]

    def moved(count: int) -> bool:
        if (now := states(run)) != seen[-1]:
            seen.append(now)
        return len(seen) > count

    wait_for(lambda: moved(chance.randint(2, 12)), command)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    assert not run.exists()
    commands.run(*words(tiny_cache, run, "--resume"))

    whole = tmp_path / "whole"
    assert [path.name for path in run.parent.iterdir()] == ["killed"]
    assert (run / "oof.csv").read_bytes() == (whole / "oof.csv").read_bytes()
    assert all(map(np.array_equal, weights_of(run), weights_of(whole)))
    one, other = (pd.read_csv(r / "history.csv").drop(columns="seconds") for r in (run, whole))
    pd.testing.assert_frame_equal(one, other)
    assert list((run / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.usefixtures("two_folds")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_kept_and_says_how_to_go_on(
    commands: Server,
    tiny_cache: Path,
    tmp_path: Path,
    number: signal.Signals,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    command = commands.start(*words(tiny_cache, run))
    wait_for(lambda: states(run) > 0, command)
    command.send_signal(number)
    assert command.wait(60) == 128 + number, command.err
    assert "--resume goes on" in command.err
    assert [p.name for p in tmp_path.iterdir()] == ["run.unfinished"]
    if number is signal.SIGTERM:
        return  # what is kept is the same

    # Other settings are not of that training; without --resume it starts over, and says so.
    again = words(tiny_cache, run)
    assert _run([*again, "--resume", "--seed", "1"]) == 2
    assert "head.seed: 0 -> 1" in capfd.readouterr().err
    assert _run(again) == 0
    assert "Starting over" in capfd.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
