"""How the command line ends: every error is one line, every end has its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from featx.errors import InputError
from featx_cli import __main__ as command_line
from featx_cli.__main__ import _run

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


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


def test_main_exits_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sys.argv", ["featx", "cache", "info", "/nowhere/at/all"])
    try:
        with pytest.raises(SystemExit) as caught:
            command_line.main()
        assert signal.getsignal(signal.SIGTERM) is command_line._terminate
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 2
    assert "there is no cache at /nowhere/at/all" in capsys.readouterr().err
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
