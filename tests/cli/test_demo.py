"""The command of the demo: its lines, its table, and the commands it names for own images."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featx.demo import DemoSize, write_phantoms
from featx.demo._hospitals import HOME
from tests.folds import use_two_folds

if TYPE_CHECKING:
    from tests.cli.conftest import Answer, Featx

TINY = DemoSize(
    patients=12, next_door=16, labelled=8, input_size=32, copies=1, epochs=1, disturbed=0
)


@pytest.fixture
def answer(featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """What a demo says that is as small as it can be."""
    use_two_folds(monkeypatch)
    monkeypatch.setattr("featx.demo.DemoSize.tiny", lambda: TINY)
    return featx("demo", "--tiny", "--offline", "--out", tmp_path / "out")


def test_it_tells_stages_counts_places_and_the_next_commands(
    answer: Answer, featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer.code == 0, answer.err
    lines = answer.err.splitlines()
    assert sum(bool(re.search(r" … \d+ s$", line)) for line in lines) == 6
    assert "Network: featx-mini, because it comes with featx, and you are offline." in lines
    for head in ("keras", "svm", "logreg"):
        assert re.search(rf"{head} +out of fold +\d+ of \d+ +\d+ of \d+", answer.out)
    assert answer.out.count("next door, calibrated") == 3
    assert "mean little" in answer.out
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in answer.out
    # The commands work on images of one's own, in any folder, as they are printed.
    commands = re.findall(r"^  featx (.+)$", answer.out, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["extract", "fit", "report"]
    monkeypatch.chdir(tmp_path)
    phantoms = write_phantoms(tmp_path / "p", patients=36, size=96, hospital=HOME)
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "my-images" / label).mkdir(parents=True)
        for path in phantoms.glob(f"*/{label}/*1.png"):
            shutil.copy(path, tmp_path / "my-images" / label / path.name)
    for command in commands:
        done = featx(*command.replace("0.9", "0.6").split())
        assert done.code == 0, done.err
    assert (tmp_path / "my-report.html").stat().st_size > 50_000


def test_a_wrong_network_is_refused_before_anything_is_drawn(featx: Featx, tmp_path: Path) -> None:
    answer = featx("demo", "--backbone", "featx-minni", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "there is no backbone 'featx-minni'" in answer.error
    assert "featx" in answer.error.split("Did you mean")[-1]
    assert not (tmp_path / "out").exists()
