"""Commands in processes of their own that start in a moment: forked from one that has imported."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from featx_cli.__main__ import _run

# Importing takes longer than most commands here take, so it is done once, and each command is a
# process forked before TensorFlow has started a thread.
PROGRAM = """
import json, os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GRPC_VERBOSITY="ERROR")
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # two at once are slow with more
import keras, tensorflow, sklearn.pipeline, optuna, matplotlib.figure, skops.io, mapie, joblib
import featx.reports, featx.runs, featx.tuning, featx.inspection, featx.training
from featx_cli.__main__ import main

def run(arguments, log, cpus):
    if cpus:
        os.sched_setaffinity(0, cpus)
    for number in (1, 2):
        os.dup2(os.open(f"{log}.{number}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setpgid(0, 0)
    code = 99
    try:
        main(arguments)
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        _, status = os.waitpid(order["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        run(order["arguments"], order["log"], order["cpus"])
"""


@dataclass
class Command:
    """A command that was started."""

    server: Server
    pid: int
    log: Path
    code: int | None = None

    def kill(self) -> None:
        """Kill it, and the processes that it started, in the middle of whatever it does."""
        with contextlib.suppress(ProcessLookupError):  # it may be done already
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit code, negative for a signal."""
        self.code = int(self.server.ask({"wait": self.pid}))
        return self.code

    @property
    def works(self) -> bool:
        """Whether it is still at work."""
        return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE

    @property
    def out(self) -> str:
        return Path(f"{self.log}.1").read_text()

    @property
    def err(self) -> str:
        return Path(f"{self.log}.2").read_text()

    @property
    def error(self) -> str:
        """Its last line on standard error, which is the only one that is an error."""
        *before, last = self.err.splitlines() or [""]
        assert last.startswith("featx: error: "), self.err
        assert "unexpected" not in last
        assert "Traceback" not in self.err
        assert not [line for line in before if "rror:" in line], self.err
        return last.removeprefix("featx: error: ")


class Server:
    """Starts commands."""

    def __init__(self, logs: Path) -> None:
        self._logs, self._number = logs, 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(logs / "server").open("wb"),
            text=True,
        )

    def ask(self, order: Mapping[str, object]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, (self._logs / "server").read_text()
        return answer

    def start(self, *arguments: object, cpus: tuple[int, ...] = ()) -> Command:
        """Start ``featx ARGUMENTS``, perhaps on some processors only."""
        self._number += 1
        log = self._logs / str(self._number)
        order = {"arguments": [str(a) for a in arguments], "log": str(log), "cpus": cpus}
        return Command(self, int(self.ask(order)), log)

    def run(self, *arguments: object) -> Command:
        """Run ``featx ARGUMENTS``, which succeeds."""
        command = self.start(*arguments)
        assert command.wait() == 0, command.err
        return command

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


Refused = Callable[..., str]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must fail and change nothing. Return its last line."""

    def run(*arguments: object, code: int = 2) -> str:
        before = tree(tmp_path)
        capfd.readouterr()
        assert _run([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert tree(tmp_path) == before
        return last_line(err)

    return run


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of everything below a folder."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        size = status.st_size if path.is_file() else 0
        found[str(path)] = (size, status.st_mtime_ns if path.is_file() else 0)
    return found


def last_line(err: str) -> str:
    """Return the last line, which is the only one that is an error."""
    lines = err.splitlines()
    assert lines[-1].startswith("featx: error: ")
    assert sum("error" in line.lower() for line in lines) == 1
    assert "Traceback" not in err
    return lines[-1].removeprefix("featx: error: ")
