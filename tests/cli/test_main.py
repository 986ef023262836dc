"""Ends of the command line: every error is one line, every end has its exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from featx.errors import InputError
from featx_cli import __main__ as command_line
from featx_cli.__main__ import _run
from featx_cli.interruptions import Leaving

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.processes import Server


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make every command raise what the test gives."""

    def make(error: BaseException) -> None:
        def main(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(command_line, "make_command", lambda: type("C", (), {"main": main})())

    return make


def test_an_error_that_nobody_foresaw_is_one_line_too(featx: Featx, broken: Any) -> None:
    broken(KeyError("first line\nsecond line"))
    answer = featx("doctor")
    assert answer.code == 1
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("featx: error: unexpected KeyError: ")
    assert "Run it again with --debug" in answer.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"),
        OSError("Unable to synchronously open file (memory allocation failed for raw data chunk)"),
    ],
)
def test_too_little_memory_is_one_line(featx: Featx, broken: Any, error: Exception) -> None:
    later = ValueError("something that comes of it")
    later.__context__ = error
    for each in (error, later):
        broken(each)
        answer = featx("doctor")
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert answer.err.startswith("featx: error: there isn't enough memory. ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ulimit -v is of Linux")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("extract {data} --cache {new} --backbone vgg16", marks=pytest.mark.long),
        "fit {cache} --head logreg --run {new}",
        pytest.param("predict {run} {data}", marks=pytest.mark.long),
        pytest.param("data check {data}", marks=pytest.mark.long),
    ],
)
def test_a_limit_on_memory_is_one_line(
    command: str, tiny_cache: Path, tiny_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    line = command.format(data=phantom_data, new=tmp_path / "new", cache=tiny_cache, run=tiny_run)
    for size in (400_000, 1_500_000, *([3_400_000] if command.startswith("extract") else [])):
        answer = shell(f"ulimit -v {size}; {sys.executable} -m featx -q {line} > {os.devnull}")
        assert answer.returncode in (0, 1)
        assert answer.stderr.count("\n") == answer.returncode, answer.stderr
        assert (answer.returncode == 1) == ("featx: error: " in answer.stderr), answer.stderr
        assert "unexpected" not in answer.stderr
        assert list(tmp_path.iterdir()) == []


def test_an_error_is_told_to_the_letter(featx: Featx, broken: Any) -> None:
    broken(InputError("the label 'L  O' is almost 'L O'\n\tin line 3"))
    answer = featx("doctor")
    assert answer.err == "featx: error: the label 'L  O' is almost 'L O' in line 3\n"


def test_debug_lets_it_through(broken: Any) -> None:
    broken(KeyError("first line"))
    with pytest.raises(KeyError, match="first line"):
        _run(["--debug", "doctor"])


def test_ctrl_c_is_one_line_and_exit_code_130(featx: Featx, broken: Any) -> None:
    broken(KeyboardInterrupt())
    answer = featx("doctor")
    assert answer.code == 130
    assert answer.err.startswith("featx: error: interrupted. Finished work is kept")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_an_interrupted_command_works_on_is_not_freed(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Threads of TensorFlow may still work on it, until the process ends."""
    worked_on = []

    def work() -> None:
        array = np.zeros(3)
        worked_on.append(weakref.ref(array))
        raise error(143)

    monkeypatch.setattr("featx_cli.commands.doctor._memory", work)
    monkeypatch.setattr(Leaving, "error", None)
    with contextlib.suppress(SystemExit):
        _run(["doctor"])
    gc.collect()
    assert worked_on[0]() is not None


def test_a_request_to_end_is_exit_code_143() -> None:
    with pytest.raises(SystemExit) as caught:
        command_line._terminate(signal.SIGTERM, None)
    assert caught.value.code == 143


LEAVE = """
import atexit, os, signal, sys
from featx.errors import InputError
from featx_cli import __main__ as command_line
atexit.register(print, "taken apart")  # as libraries would be, which were loaded before
signal.signal(signal.SIGINT, signal.default_int_handler)
def end(number):
    os.kill(os.getpid(), number)
def badly(number, error):
    try:
        end(number)
    except BaseException:
        raise error
def twice(*_):
    command_line._complain = lambda *_: end(signal.SIGINT)
    end(signal.SIGINT)
class Command:
    def main(self, *_, **__):
        {code}
command_line.make_command = Command
command_line.main({arguments!r})
"""


@pytest.mark.parametrize(
    ("code", "arguments", "exit_code"),
    [
        ("end(signal.SIGINT)", [], 130),
        ("end(signal.SIGTERM)", [], 143),
        ("badly(signal.SIGINT, ValueError('x'))", [], 130),
        ("badly(signal.SIGTERM, ValueError('x'))", [], 143),
        ("badly(signal.SIGTERM, InputError('x'))", [], 143),
        ("badly(signal.SIGINT, InputError('x'))", ["--debug"], 130),
        ("badly(signal.SIGTERM, ValueError('x'))", ["--debug"], 143),
        ("end(signal.SIGHUP)", [], 129),
        ("badly(signal.SIGHUP, ValueError('x'))", [], 129),
        ("twice()", [], 130),
        ("raise InputError('x')", [], 2),
        ("raise InputError('x')", ["--debug"], 1),
    ],
)
def test_an_interrupted_process_is_not_taken_apart_under_its_threads(
    code: str, arguments: list[str], exit_code: int
) -> None:
    program = LEAVE.format(code=code, arguments=arguments)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == exit_code, answer.stderr
    assert ("taken apart" in answer.stdout) == (exit_code in (1, 2))


WRITE = """
from pathlib import Path
from featx_cli.files import text_file
with text_file(Path("out.csv"), force=True) as file:
    file.write("half")
    file.flush()
    end(signal.SIGHUP)
    file.write(" and whole")
"""


def test_a_terminal_that_is_closed_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    program = LEAVE.format(code=f"exec({WRITE!r}, globals())", arguments=[])
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert ended.returncode == 129, ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "mine"
    # A program under `nohup` goes on.
    ended = subprocess.run(["nohup", sys.executable, "-c", program], cwd=tmp_path)
    assert ended.returncode == 0
    assert (tmp_path / "out.csv").read_text() == "half and whole"


OUTPUTS = [
    pytest.param("cache info {cache}", id="a table"),
    pytest.param("cache info {cache} --json", id="JSON"),
    pytest.param("fit --help", id="a page of help"),
    pytest.param("--version", id="the version"),
    pytest.param("data check {data}", id="a data set's page", marks=pytest.mark.long),
    pytest.param("data check {data} --json", id="a data set's JSON", marks=pytest.mark.long),
    pytest.param("heads", id="lines", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=OUTPUTS)
def command(request: pytest.FixtureRequest, tiny_cache: Path, phantom_data: Path) -> str:
    """A command that prints something, for a shell."""
    words = request.param.format(cache=tiny_cache, data=phantom_data)
    return f"{sys.executable} -m featx -q {words}"


def shell(command: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, **how
    )


def test_a_full_standard_output_is_one_line_and_exit_code_1(command: str) -> None:
    answer = shell(f"{command} > /dev/full")
    assert answer.returncode == 1
    assert answer.stderr == (
        "featx: error: can't write to standard output: no space left on device. "
        "Free some space, or send it elsewhere.\n"
    )


def test_a_reader_that_has_enough_is_no_failure(command: str) -> None:
    for reader in ("head -1", "true"):  # the latter is gone before anything is written
        answer = shell(f"{command} | {reader}")
        assert (answer.returncode, answer.stderr) == (0, "")


def test_a_standard_error_that_fails_changes_nothing(tiny_cache: Path) -> None:
    whole = shell(f"{sys.executable} -m featx -v cache verify {tiny_cache}")
    for end in ("2> /dev/full", "2>&1 >&3 3>&- | true"):
        answer = shell(f"exec 3>&1; {sys.executable} -m featx -v cache verify {tiny_cache} {end}")
        assert (answer.returncode, answer.stdout) == (0, whole.stdout)


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); main()"


def test_a_limit_on_the_size_of_files_is_one_line(
    commands: Server, tiny_cache: Path, phantom_data: Path, tmp_path: Path
) -> None:
    for words in (
        f"data split {phantom_data} --out {tmp_path}/m.csv",
        f"data show {phantom_data} --out {tmp_path}",
        f"fit {tiny_cache} --head logreg --run {tmp_path}/run --accuracy-floor 0.5",
    ):
        answer = commands.start("-q", *words.split(), program=LIMITED)
        assert answer.wait() == 2, answer.err
        assert answer.err.startswith("featx: error: can't write ")
        assert "the file would be larger than is allowed here" in answer.err
        assert answer.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []


def test_main_exits_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    hung_up = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr("sys.argv", ["featx", "cache", "info", "/nowhere/at/all"])
    try:
        with pytest.raises(SystemExit) as caught:
            command_line.main()
        assert signal.getsignal(signal.SIGTERM) is command_line._terminate
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, hung_up)
    assert caught.value.code == 2
    assert "there is no cache at /nowhere/at/all" in capsys.readouterr().err
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
