"""The dashboard as a person sees it: in a real browser."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.fitting import tune
from featx.heads import HeadSpec
from featx.tuning import Budget, SearchSpec
from featx_cache import open_cache
from tests.folds import use_two_folds
from tests.ports import free_port
from tests.processes import Command, Server


@contextlib.contextmanager
def served(commands: Server, *arguments: str | Path) -> Iterator[str]:
    """Run a featx command that serves, and give the address that it prints. End it politely."""
    command = commands.start(*arguments)
    try:
        yield address_of(command)
    finally:
        command.send_signal(signal.SIGTERM)
        code = command.wait(30)
    assert code == 143


def address_of(command: Command) -> str:
    """Wait for the first line of a server, and return the address in it."""
    while "\n" not in command.out:
        assert command.works, command.err
        time.sleep(0.02)
    return command.out.splitlines()[0].split()[-1]


@pytest.fixture(scope="module")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search whose floor some trials break."""
    folder = tmp_path_factory.mktemp("dashboard") / "tuned"
    heads = (HeadSpec.choose("logreg"),)
    spec = SearchSpec(heads=heads, accuracy_floor=0.55, threshold_only=True, use_copies=False)
    tuned = tune(open_cache(tiny_cache), spec, folder, budget=Budget(trials=25, sampler="random"))
    assert tuned.record.tuning is not None
    assert tuned.record.tuning.trials["infeasible"] > 0
    return folder


PUT = """([path, content]) => fetch(path, {
    method: "PUT",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(content),
}).then(answer => answer.status)"""


class Visit:
    """A page, and what went wrong on it."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(120_000)
        self.wrong: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")


def test_the_study_its_trials_and_their_figures_are_there(
    commands: Server, run: Path, browser: Any
) -> None:
    visit = Visit(browser)
    page = visit.page
    with served(commands, "dashboard", run, "--port", "0") as address:
        assert address.startswith("http://127.0.0.1:")
        page.goto(address)
        page.locator("h6,h5", has_text="History").first.wait_for()
        page.get_by_text("Infeasible", exact=True).first.wait_for()  # in the timeline's legend
        page.goto(f"{address}/trials")
        study = _study(address)
        trials = study["trials"]
        page.get_by_text(f"{len(trials)} Trials").wait_for()
        page.goto(f"{address}/trials?numbers={study['best_trials'][0]['number']}")
        page.get_by_text("Best Trial").first.wait_for()
        drawn = next(t["number"] for t in trials if len(t["artifacts"]) == 3)
        page.goto(f"{address}/trials?numbers={drawn}")
        figures = page.locator("img[src*='artifacts']")
        figures.nth(2).wait_for()
        loaded = "images => images.map(i => i.complete && i.naturalWidth)"
        page.wait_for_function(
            "[...document.querySelectorAll(\"img[src*='artifacts']\")]"
            ".every(i => i.complete && i.naturalWidth > 100)"
        )
        assert len(figures.evaluate_all(loaded)) == 3
        broken = next(t["number"] for t in trials if any(value > 0 for value in t["constraints"]))
        page.goto(f"{address}/trials?numbers={broken}")
        page.get_by_text("feasible False").wait_for()
        page.goto(f"{address}/note")
        page.get_by_text("alone would call everybody sick").wait_for()
        note = {"version": study["note"]["version"] + 1, "body": "Changed in the browser"}
        assert page.evaluate(PUT, [f"/api/studies/{address.split('/')[-1]}/note", note]) == 204
    assert visit.wrong == []


def _study(address: str) -> dict[str, Any]:
    """Ask the dashboard for what its page shows."""
    base, _, study = address.partition("/dashboard/studies/")
    with urllib.request.urlopen(f"{base}/api/studies/{study}?after=0") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_several_trials_break_the_floor_and_the_best_does_not(commands: Server, run: Path) -> None:
    with served(commands, "dashboard", run, "--port", "0") as address:
        study = _study(address)
    (best,) = study["best_trials"]
    infeasible = [t for t in study["trials"] if t["constraints"] and t["constraints"][0] > 0]
    assert max(t["values"][0] for t in infeasible) > best["values"][0] - 1e-12
    assert best["constraints"][0] <= 0


class TestTensorBoard:
    @pytest.fixture(scope="class")
    def keras_run(self, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("tensorboard") / "keras"
        settings = {"architecture": "gap", "epochs": 2, "precision": "float32"}
        spec = SearchSpec(
            heads=(HeadSpec.choose("keras", settings=settings),),
            accuracy_floor=0.4,
            threshold_only=True,
        )
        with pytest.MonkeyPatch.context() as patch:
            use_two_folds(patch)
            tune(open_cache(tiny_cache), spec, folder, budget=Budget(trials=2))
        return folder

    @pytest.mark.long
    def test_it_shows_the_trainings(self, commands: Server, keras_run: Path, browser: Any) -> None:
        visit = Visit(browser)
        with served(commands, "tensorboard", keras_run, "--port", "0") as address:
            # The page doesn't ask again before half a minute.
            while not json.load(urllib.request.urlopen(f"{address.rstrip('/')}/data/runs")):
                time.sleep(0.1)
            visit.page.goto(address)
            visit.page.get_by_text("final/train").first.wait_for()
            visit.page.get_by_text("epoch_loss").first.wait_for()
            foreign = urllib.request.Request(address, headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(foreign)
        assert visit.wrong == []

    def test_a_port_in_use_is_told(self, commands: Server, keras_run: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            answer = commands.start("tensorboard", keras_run, "--port", port)
            assert answer.wait() == 2
        assert answer.error.startswith("TensorBoard can't listen")


@pytest.mark.long
def test_a_browser_is_opened_where_that_is_wanted(
    commands: Server, run: Path, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    script.chmod(0o755)
    options = ["--port", free_port(), "--open"]
    command = commands.start("dashboard", run, *options, env={"BROWSER": f"{script} %s"})
    address = address_of(command)
    for _ in range(600):
        if opened.exists() and opened.read_text().strip():
            break
        time.sleep(0.1)
    command.send_signal(signal.SIGTERM)
    assert command.wait(30) == 143
    assert opened.read_text().strip() == address
