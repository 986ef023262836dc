"""How the command line ends: every error is one line, every end has its exit code."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

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
    assert "featx --debug" in answer.err


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
