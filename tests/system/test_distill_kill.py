"""`featx distill` stopped in mid-training: the same command goes on to the same student."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.featx.distilling.test_distill import make_student, weights_of
from tests.processes import Command, Server

SMALL_BATCHES = """
import featx.distilling._training as training
training.BATCH_SIZE, training.STEPS_BETWEEN_STATES = 4, 2
main()
"""


def start(commands: Server, data: Path, student: Path, out: Path) -> Command:
    """Start a distillation whose state is kept every second step."""
    words = ["distill", data, "--student", student, "--out", out, "--epochs", "5"]
    words += ["--weights", "random", "--input-size", "32", "--precision", "float32"]
    words += ["--runtime", "tensorflow", "--batch-size", "4", "--copies", "1"]
    return commands.start(*words, "--cache", out.parent / "cache", program=SMALL_BATCHES)


def wait_for_state(command: Command, out: Path) -> None:
    """Wait until the state is written another time."""
    state = out.with_name(f"{out.name}.unfinished") / "state.npz"
    before, deadline = state.stat().st_mtime_ns if state.exists() else 0, time.monotonic() + 120
    while not state.exists() or state.stat().st_mtime_ns == before:
        assert command.works, f"it ended before it was stopped: {command.err}"
        assert time.monotonic() < deadline, "no state is written"
        time.sleep(0.002)


@pytest.mark.timeout(280)
def test_a_stopped_distillation_goes_on_to_the_same_student(
    commands: Server, phantom_data: Path, tmp_path: Path
) -> None:
    student = make_student(tmp_path / "student.keras")
    whole, out = tmp_path / "whole.keras", tmp_path / "mini.keras"
    assert start(commands, phantom_data, student, whole).wait() == 0

    command = start(commands, phantom_data, student, out)
    wait_for_state(command, out)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    assert not out.exists()

    command = start(commands, phantom_data, student, out)
    wait_for_state(command, out)
    command.send_signal(signal.SIGINT)
    assert command.wait() == 130, command.err
    assert "interrupted. Finished work is kept. Run the same" in command.error
    assert not out.exists()

    command = start(commands, phantom_data, student, out)
    assert command.wait() == 0, command.err
    assert "Traceback" not in command.err
    for one, other in zip(weights_of(out), weights_of(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("student.keras", "cache"),
        *(f"{name}.{suffix}" for name in ("mini", "whole") for suffix in ("keras", "json")),
    }
