"""Names that tell runs apart."""

from __future__ import annotations

from collections.abc import Sequence

from featx.errors import InputError
from featx.runs._fitted import FittedRun


def names_of(runs: Sequence[FittedRun]) -> tuple[str, ...]:
    """Name runs by their folders, with as much of the path as tells them apart."""
    paths = [run.path.resolve() for run in runs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise InputError(
                f"the run {runs[number].path} would be compared with itself",
                "Give `compare` other runs.",
            )
    for parts in range(1, max(len(path.parts) for path in paths)):
        names = tuple("/".join(path.parts[-parts:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(map(str, paths))
