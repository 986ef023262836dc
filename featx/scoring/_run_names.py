"""Names that tell runs apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featx.errors import InputError
from featx.runs._fitted import FittedRun


def names_of(
    runs: Sequence[FittedRun], hint: str = "Give `compare` other runs."
) -> tuple[str, ...]:
    """Name runs by their folders, with as much of the path as tells them apart.

    `hint` says what to do if a run is there twice.
    """
    if not runs:
        raise InputError("no run is given", "Give one or more.", parameter="runs")
    paths = [run.path.resolve() for run in runs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise InputError(
                f"the run {runs[number].path} would be compared with itself",
                hint,
            )
    for parts in range(1, max(len(path.parts) for path in paths)):
        names = tuple("/".join(path.parts[-parts:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(map(str, paths))


def folder_of(name: str) -> str:
    """Return the name of a folder for a run: its own name, without the separators of a path."""
    return "-".join(filter(None, re.split(r"[/\\:]", name)))
