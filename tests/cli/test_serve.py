"""``featx serve``: what it refuses in a line, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from featx.serving._listening import listen
from tests.cli.conftest import Featx
from tests.processes import Command, Server


class TestRefusals:
    """Each is one line, before a network is loaded."""

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--port", "70000"], "--port: there is no port 70000"),
            (["--dicom-port", "70000"], "--dicom-port: there is no port 70000"),
            (["--keep-days", "inf"], "--keep-days: inf is no number of days"),
            (["--keep-days", "-1"], "--keep-days: -1.0 is no number of days"),
            (["--ae-title", "A" * 17], "--ae-title: "),
            (["--watch", "nowhere"], "--watch: there is no folder nowhere"),
            (["--host", "0.0.0.0"], "Give --token-file, a file with one token a line."),
            (["--host", "no.such.name.invalid"], "can't listen at no.such.name.invalid:8000"),
            (["--allowed-host", "x.example"], "Give --token-file, too."),
            (["--dicom-peer", "XRAY@192.0.2.7"], "Give --dicom-port, too."),
            (["--heat-maps"], "Give --results, too."),
            (["--token-file", "nowhere"], "--token-file: nowhere can't be read"),
        ],
    )
    def test_of_options(
        self, featx: Featx, tiny_run: Path, tmp_path: Path, options: list[str], said: str
    ) -> None:
        answer = featx("serve", tiny_run, "--state", tmp_path / "state", *options)
        assert answer.code == 2
        assert said in answer.error
        assert not re.search("`[a-z_]+`", answer.error)  # the library's names of parameters
        assert not (tmp_path / "state").exists()

    @pytest.mark.parametrize("options", [["--dicom-port", "0"], ["--results", "results"]])
    def test_of_a_missing_extra(
        self, featx: Featx, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        options: list[str],
    ) -> None:  # fmt: skip
        monkeypatch.setattr("featx.dicomnet._libraries._LIBRARIES", ("not_there",))
        answer = featx("serve", tiny_run, "--state", tmp_path / "state", *options)
        assert answer.code == 2
        assert "pip install 'featx[dicomnet]'" in answer.error
        assert not (tmp_path / "state").exists()

    def test_of_a_port_in_use(self, featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
        with listen("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
            answer = featx("serve", tiny_run, "--state", tmp_path / "state", "--port", str(port))
        assert answer.code == 2
        assert f"port {port} of 127.0.0.1 is in use. Give another --port." in answer.error

    def test_of_what_is_no_run(self, featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
        for runs, said in (
            ([tmp_path / "none"], "there is no run at"),
            ([tiny_run, tiny_run], "is given twice"),
        ):
            answer = featx("serve", *runs)
            assert answer.code == 2
            assert said in answer.error
        assert not list(tmp_path.iterdir())


def started(commands: Server, run: Path, folder: Path, *options: str) -> tuple[Command, str]:
    """Start a service. Return it and its address."""
    command = commands.start(
        "serve", run, "--state", folder / "state", "--port", "0", "--runtime", "ncnn", *options
    )
    for _ in range(1200):
        if found := re.search(r"Worklist: (\S+)", command.out):
            return command, found[1]
        assert command.works, command.err
        time.sleep(0.05)
    raise AssertionError(command.err)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ends_when_it_is_told_to(
    commands: Server, tiny_run: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command, url = started(commands, tiny_run, tmp_path)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    with urllib.request.urlopen(f"{url}healthz") as answer:
        assert json.load(answer)["status"] == "ok"
    command.send_signal(number)
    assert command.wait(60) == code
    assert "Traceback" not in command.err
    assert "unexpected" not in command.err
    assert "died" not in command.err
    assert "interrupted" not in command.err
    assert not (tmp_path / "state" / "scratch").exists()
