"""Progress and messages: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from featx_cli import console
from featx_cli.console import TerminalProgress, Verbosity, say, set_verbosity


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _normal_again() -> Iterator[None]:
    yield
    set_verbosity(Verbosity.NORMAL)


class TestPlainLines:
    def test_come_every_ten_seconds_and_at_the_end(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with TerminalProgress().task("Extracting", 100, "image") as advance:
            for _ in range(5):
                clock.now += 4
                advance(20)
        assert capsys.readouterr().err.splitlines() == [
            "Extracting: 60/100 images, 5.0 images/s, 8 s left",
            "Extracting: 100/100 images, 5.0 images/s, in 20 s",
        ]

    def test_do_not_come_for_what_is_done_at_once(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with TerminalProgress().task("Reading", 10, "image") as advance:
            clock.now += 1
            advance(10)
        assert capsys.readouterr() == ("", "")


class TestBar:
    def test_shows_what_is_done_and_how_fast_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        with TerminalProgress().task("Extracting", 40, "image") as advance:
            advance(30)
            advance(10)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Extracting" in captured.err
        assert "40/40" in captured.err


class TestQuiet:
    @pytest.mark.usefixtures("clock")
    def test_shows_no_progress_and_no_message(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_verbosity(Verbosity.QUIET)
        with TerminalProgress().task("Extracting", 100, "image") as advance:
            clock.now += 60
            advance(50)
        TerminalProgress().note("a note")
        say("a line")
        assert capsys.readouterr() == ("", "")


def test_details_are_for_the_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    say("detail", detail=True)
    TerminalProgress().note("a note")
    set_verbosity(Verbosity.VERBOSE)
    say("detail", detail=True)
    assert capsys.readouterr().err.splitlines() == ["a note", "detail"]
