"""File names that aren't UTF-8, and in which no patient is named, so that they name one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.processes import Server


def test_they_go_through_fit_and_evaluate(
    phantom_data: Path, commands: Server, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for number, path in enumerate(sorted(phantom_data.rglob("*.png"))):
        folder = data / path.relative_to(phantom_data).parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(bytes(path), os.fsencode(folder) + b"/x\xff%d.png" % number)
    cache, run = tmp_path / "cache", tmp_path / "run"
    small = ["--weights", "random", "--input-size", "32", "--copies", "0"]
    commands.run("extract", data, "--cache", cache, "--backbone", "vgg16", *small)
    commands.run("fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.3")
    commands.run("evaluate", run, "--split", "test")
