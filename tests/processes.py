"""featx in processes of their own that start in a moment: forked from one that has imported.

Importing takes seconds, which is longer than most commands here take. So it is done once, and each
command is a process forked before TensorFlow has started a thread. It takes signals and has its own
standard streams. Libraries aren't taken apart when it ends: that takes longer still.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS = 150.0
"""Time that a command may take."""
SETTINGS = {
    "PYTHONFAULTHANDLER": "1",  # a crash says where
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    # Two at once are slow with more threads.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
PROGRAM = """
import json, os, signal, sys
import keras, tensorflow, sklearn.pipeline, optuna, matplotlib.figure, skops.io, mapie, joblib
import featx.reports, featx.runs, featx.tuning, featx.inspection, featx.training
from featx_cli.__main__ import main

def become(order):
    os.setpgid(0, 0)
    # Whoever starts the tests in the background makes Python ignore Ctrl-C; here it has to count.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order["cpus"]:
        os.sched_setaffinity(0, order["cpus"])
    if order["folder"]:
        os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, file in ((1, order["out"]), (2, order["err"])):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["featx", *order["arguments"]]
    code = 99
    try:
        exec(order["program"], {"__name__": "__main__", "main": main})
        code = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())
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
        become(order)
"""


@dataclass
class Command:
    """A command that was started."""

    server: Server
    pid: int
    log: Path
    code: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and the processes that it started, in the middle of whatever it does."""
        with contextlib.suppress(ProcessLookupError):  # it may be done already
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = SECONDS) -> int:
        """Return its exit code, negative for a signal."""
        if self.code is None:
            end = time.monotonic() + seconds
            while self.works and time.monotonic() < end:
                time.sleep(0.005)
            if late := self.works:
                self.kill()
            self.code = int(self.server.ask({"wait": self.pid}))
            assert not late, f"it took longer than {seconds} s: {self.err}"
        return self.code

    @property
    def works(self) -> bool:
        """Whether it is still at work."""
        return self.code is None and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE

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

    def __init__(self, logs: Path, env: Mapping[str, str] | None = None) -> None:
        self._logs, self._number = logs, 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(logs / "server").open("wb"),
            env={**os.environ, **SETTINGS, **(env or {})},
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

    def start(
        self,
        *arguments: object,
        program: str = "main()",
        cpus: tuple[int, ...] = (),
        folder: str | Path = "",
        env: Mapping[str, str] | None = None,
        out: str | Path = "",
    ) -> Command:
        """Start ``featx ARGUMENTS``.

        Perhaps on some processors only, in another folder, with other variables, or with its
        standard output elsewhere; or start another `program` with these arguments, which may call
        `main`.
        """
        self._number += 1
        log = self._logs / str(self._number)
        for end in (1, 2):
            Path(f"{log}.{end}").touch()
        order = {
            "arguments": [str(argument) for argument in arguments],
            "program": program,
            "cpus": cpus,
            "folder": str(folder),
            "env": {**os.environ, **SETTINGS, **(env or {})},
            "out": str(out or f"{log}.1"),
            "err": f"{log}.2",
        }
        return Command(self, int(self.ask(order)), log)

    def run(self, *arguments: object, env: Mapping[str, str] | None = None) -> Command:
        """Run ``featx ARGUMENTS``, which succeeds."""
        command = self.start(*arguments, env=env)
        assert command.wait() == 0, command.err
        return command

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
