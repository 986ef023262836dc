"""Which patient an image belongs to, read from its file name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from featx.data.manifest import ImageInputError

# The Kaggle "Chest X-Ray Images (Pneumonia)" names. The person number restarts with each cause,
# so the cause is part of the patient.
_KAGGLE = (
    re.compile(r"^(?P<group>person\d+_(?:bacteria|virus))_\d+"),
    re.compile(r"^(?P<group>(?:NORMAL2-)?IM-\d+)-\d+"),
)


_CAUSE = re.compile(r"^person\d+_(bacteria|virus)_\d+")


def cause_of(path: str) -> str:
    """Return the cause of pneumonia that a name of the Kaggle chest X-ray set tells, or nothing."""
    match = _CAUSE.match(PurePosixPath(path).name)
    return match[1] if match else ""


def group_of(path: str, pattern: re.Pattern[str] | None = None) -> str:
    """Return the patient (group) of an image.

    Parameters
    ----------
    path
        Relative path of the image, with ``/`` between its parts.
    pattern
        Searched in `path`; the patient is its first group, or the whole match. None understands
        the names of the Kaggle chest X-ray set and takes any other file for a patient of its own.

    Returns
    -------
    str
        ``person12_bacteria``, ``IM-0117``, ``NORMAL2-IM-0927``, or the path itself.

    Raises
    ------
    ImageInputError
        When `pattern` finds no patient, or an empty one.
    """
    if pattern is not None:
        match = pattern.search(path)
        group = match.group(1 if pattern.groups else 0) if match else None
        if not group:
            raise ImageInputError(
                path,
                f"--group-regex {pattern.pattern!r} doesn't match {path!r}",
                "Every image needs a patient.",
            )
        return group
    name = PurePosixPath(path).name
    for known in _KAGGLE:
        if match := known.match(name):
            return match["group"]
    return path
