"""`fit`, `tune` and `report` killed at random moments: what is there is whole, and stays.

(`extract`: test_extract_random_kills.py; a Keras training that goes on: test_fit_resume.py.)
"""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from featx._run import load_run
from featx.tuning._storage import StudyLocation, open_storage
from tests.processes import Server

GOALS = [
    pytest.param(8, marks=pytest.mark.long),
    pytest.param(100, marks=[pytest.mark.torture, pytest.mark.timeout(1200)]),
]
TRIALS = 6


def killed_again_and_again(
    commands: Server,
    goal: int,
    orders: list[list[str | Path]],
    look: Callable[[], None],
    *,
    seconds: float,
) -> None:
    """Kill commands at random until so many died at work. Look at what is left each time.

    `seconds` is about what one takes.
    """
    chance, kills, number = random.Random(11), 0, 0
    while kills < goal:
        command, started = commands.start(*orders[number % len(orders)]), time.monotonic()
        # Late rather than early: writing comes last.
        end = started + seconds * chance.triangular(0.0, 1.15, 0.9)
        while command.works and time.monotonic() < end:
            time.sleep(0.002)
        if not command.works:  # what else the machine does changes
            seconds = time.monotonic() - started
        command.kill()
        killed = command.wait() != 0
        assert command.code in (0, -9), command.err
        kills, number = kills + killed, number + 1
        look()


def seconds_of(commands: Server, order: list[str | Path], target: Path) -> float:
    """Measure a command, after one to warm up, and take away what it made."""
    for _ in range(2):
        started = time.monotonic()
        commands.run(*order)
        took = time.monotonic() - started
        for path in target.parent.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return took


def assert_whole_run(run: Path) -> str:
    """Read every file of a run. Return which head it has."""
    opened = load_run(run)
    for name in opened.record.files:
        opened.file(name)
    assert len(opened.out_of_fold) == opened.record.images
    assert opened.head is not None
    return opened.record.head.name


@pytest.mark.parametrize("goal", GOALS)
def test_fit_leaves_the_old_run_or_the_new_one(
    commands: Server, tiny_cache: Path, tmp_path: Path, goal: int
) -> None:
    run = tmp_path / "runs" / "run"
    orders: list[list[str | Path]] = [
        ["fit", tiny_cache, "--head", head, "--run", run, "--accuracy-floor", "0.5", "--force"]
        for head in ("logreg", "lda")
    ]
    seconds = seconds_of(commands, orders[0], run)
    heads: list[str] = []

    def look() -> None:
        if heads or run.exists():  # once there is a run there always is one
            heads.append(assert_whole_run(run))

    killed_again_and_again(commands, goal, orders, look, seconds=seconds)
    commands.run(*orders[1])
    assert assert_whole_run(run) == "lda"
    assert [path.name for path in run.parent.iterdir()] == ["run"], "leftovers"


def trials_of(study: Path, name: str) -> dict[int, tuple[TrialState, dict[str, object]]]:
    """Return the finished trials of a study."""
    place = StudyLocation(study, None, name)
    try:
        found = optuna.load_study(study_name=name, storage=open_storage(place))
    except KeyError:  # it wasn't begun
        return {}
    return {t.number: (t.state, t.params) for t in found.trials if t.state.is_finished()}


@pytest.mark.parametrize("goal", GOALS)
def test_tune_loses_no_finished_trial(
    commands: Server, tiny_cache: Path, tmp_path: Path, goal: int
) -> None:
    run, study = tmp_path / "runs" / "run", tmp_path / "runs" / "run.study"
    order: list[str | Path] = ["tune", tiny_cache, "--head", "logreg", "--run", run]
    order += ["--accuracy-floor", "0.5", "--trials", str(TRIALS)]
    seconds = seconds_of(commands, order, run)
    kept: dict[int, tuple[TrialState, dict[str, object]]] = {}

    def look() -> None:
        if run.exists():
            assert_whole_run(run)
            after = trials_of(run / "study", "run")
            assert {number: after[number] for number in kept} == kept
            shutil.rmtree(run.parent)  # finished: begin anew
            kept.clear()
        elif study.exists():
            if torn := not (study / "study.journal").exists():
                assert not kept
            after = {} if torn else trials_of(study, "run")
            assert {number: after.get(number) for number in kept} == kept
            kept.update(after)

    killed_again_and_again(commands, goal, [order], look, seconds=seconds)
    if not run.exists():
        commands.run(*order)
    assert_whole_run(run)
    assert {number: trials_of(run / "study", "run")[number] for number in kept} == kept
    assert [path.name for path in run.parent.iterdir()] == ["run"], "leftovers"


@pytest.mark.parametrize("goal", GOALS)
def test_report_leaves_whole_files_of_one_report(
    commands: Server, tiny_cache: Path, tmp_path: Path, goal: int
) -> None:
    runs, page = tmp_path / "runs", tmp_path / "out" / "r.html"
    for head in ("logreg", "lda"):
        commands.run(
            "fit", tiny_cache, "--head", head, "--run", runs / head, "--accuracy-floor", "0.5"
        )
    orders: list[list[str | Path]] = [
        ["report", runs / run, "--out", page, "--title", title, "--out-of-fold", "--force"]
        for run, title in (("logreg", "One"), ("lda", "Other"))
    ]
    seconds = seconds_of(commands, orders[0], page)
    seen: list[str] = []

    def look() -> None:
        if seen or page.exists():
            html = page.read_text()
            assert html.rstrip().endswith("</html>")
            seen.extend(re.findall(r"<title>(One|Other)</title>", html))
        card = page.parent / "r_model_card.md"
        if card.exists():
            assert "How to use it" in card.read_text()
        if page.with_suffix(".md").exists():
            text = page.with_suffix(".md").read_text()
            figures = page.with_name("r_files")
            assert set(re.findall(r"\]\(r_files/([^)]+)\)", text)) == {
                path.name for path in figures.glob("[!.]*")
            }
            assert all(path.stat().st_size for path in figures.iterdir())

    killed_again_and_again(commands, goal, orders, look, seconds=seconds)
    commands.run(*orders[1])
    look()
    assert seen[-1] == "Other"
    assert {path.name for path in page.parent.iterdir()} == {
        "r.html", "r.md", "r_files", "r_model_card.md",
    }, "leftovers"  # fmt: skip


def test_a_report_that_was_killed_while_it_was_written_leaves_nothing_that_is_in_the_way(
    commands: Server, tiny_cache: Path, tmp_path: Path
) -> None:
    run, page = tmp_path / "run", tmp_path / "out" / "r.html"
    commands.run("fit", tiny_cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.5")
    order: list[str | Path] = ["report", run, "--out", page, "--out-of-fold"]
    command = commands.start(*order)
    while not list(page.parent.glob(".r_files.*.tmp")):
        assert command.works, "it ended before it was killed"
        time.sleep(0.001)
    command.kill()
    assert command.wait() == -9
    assert all(path.name.startswith(".") for path in page.parent.iterdir())
    commands.run(*order)
    assert {path.name for path in page.parent.iterdir()} == {
        "r.html", "r.md", "r_files", "r_model_card.md",
    }  # fmt: skip
