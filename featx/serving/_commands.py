"""The commands that a page prints to go on with."""

from __future__ import annotations

import shlex
from pathlib import Path

from featx.serving._readings import READINGS_NAME
from featx.serving._station import Station


def calibrate_command(station: Station) -> str:
    """Return the command that makes a local threshold of the readings."""
    settings = station.options.runs
    run = Path(station.worklist.runs[0].path).resolve()
    words = ["featx", "calibrate", str(run), READINGS_NAME,
             "--root", str(station.worklist.images_folder.resolve())]  # fmt: skip
    if settings.weights is not None:
        words += ["--weights", settings.weights]
    if settings.runtime is not None:
        words += ["--runtime", settings.runtime]
    return shlex.join([*words, "--run", str(_local(run))])


def serve_command(station: Station) -> str:
    """Return the command that serves the new run, on with the same worklist."""
    run = _local(Path(station.worklist.runs[0].path).resolve())
    return shlex.join(["featx", "serve", str(run), "--state", str(station.options.state.resolve())])


def _local(run: Path) -> Path:
    return run.with_name(f"{run.name}-local")
