"""Patients: found in the names of files, unknown, or in several splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.data._manifest import ImageInputError

# The Kaggle "Chest X-Ray Images (Pneumonia)" names. The person number restarts with each cause,
# so the cause is part of the patient.
_KAGGLE = (
    re.compile(r"^(?P<group>person\d+_(?:bacteria|virus))_\d+"),
    re.compile(r"^(?P<group>(?:NORMAL2-)?IM-\d+)-\d+"),
)
_PATIENT = re.compile(r"person\d+_(bacteria|virus)|(NORMAL2-)?IM-\d+")

MAX_UNKNOWN_SHARE = 0.1
"""Share of images of unknown patients that isn't warned of."""

_CAUSE_PATTERN = re.compile(r"^person\d+_(bacteria|virus)_\d+")


def cause_of(path: str) -> str:
    """Return the cause of pneumonia in a name of the Kaggle chest X-ray set, or nothing."""
    match = _CAUSE_PATTERN.match(PurePosixPath(path).name)
    return match[1] if match else ""


def group_of(path: str, pattern: re.Pattern[str] | None = None) -> str:
    """Return the patient (group) of an image.

    Parameters
    ----------
    path
        Relative path of the image, with ``/`` between its parts.
    pattern
        Expression to find in `path`. The patient is its first group, or the whole match. None
        understands the names of the Kaggle chest X-ray set. Any other file is then a patient of its
        own.

    Returns
    -------
    str
        ``person12_bacteria``, ``IM-0117``, ``NORMAL2-IM-0927``, or the path itself.

    Raises
    ------
    ImageInputError
        If `pattern` finds no patient, or an empty one.

    Examples
    --------
    >>> group_of("train/PNEUMONIA/person12_bacteria_46.jpeg"), group_of("train/NORMAL/a.png")
    ('person12_bacteria', 'train/NORMAL/a.png')
    """
    if pattern is not None:
        match = pattern.search(path)
        group = match.group(1 if pattern.groups else 0) if match else None
        if not group:
            raise ImageInputError(
                path,
                f"`group_regex` {pattern.pattern!r} doesn't match {path!r}",
                "Every image needs a patient.",
            )
        return group
    name = PurePosixPath(path).name
    for known in _KAGGLE:
        if match := known.match(name):
            return match["group"]
    return path


def is_kaggle_patient(group: str) -> bool:
    """Say whether a group is a patient of the Kaggle set, as `group_of` names them."""
    return _PATIENT.fullmatch(group) is not None


def is_own_patient(path: str, group: str) -> bool:
    """Say whether a group is the image itself, because nothing tells the patient.

    A path may have been lengthened since, by `featx.data.Manifest.seen_from`.
    """
    return path == group or path.endswith("/" + group)


def own_patients(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Say of each image whether it counts as a patient of its own."""
    pairs = zip(table["path"], table["group"], strict=True)
    return np.array([is_own_patient(path, group) for path, group in pairs], bool)


def unknown_patients(table: pd.DataFrame) -> str:
    """Say how many images have an unknown patient, or nothing if nearly all are known.

    Parameters
    ----------
    table
        Images of a manifest or a cache, with path and group.

    Examples
    --------
    >>> table = pd.DataFrame({"path": ["a.png", "b.png"], "group": ["a.png", "b.png"]})
    >>> unknown_patients(table)[:64]
    'No patient is known: every image counts as a patient of its own.'
    """
    unknown = int(own_patients(table).sum())
    if unknown <= MAX_UNKNOWN_SHARE * len(table):
        return ""
    few = f"The patient of {unknown:,} of {len(table):,} images isn't known: each of them"
    who = "No patient is known: every image" if unknown == len(table) else few
    return (
        f"{who} counts as a patient of its own. Intervals and folds may be too optimistic. Give "
        "`group_column` or `group_regex` when the images are read, if a column of a CSV file or "
        "the names of files tell the patient."
    )


def shared_patients(table: pd.DataFrame, fitted: Sequence[str] = ("train", "val")) -> str:
    """Say how many patients are both trained on and tested on, or nothing.

    Parameters
    ----------
    table
        Images of a manifest or a cache, with group and split.
    fitted
        Splits that a head is fitted on.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["p", "p", "q"], "split": ["train", "test", "test"]})
    >>> shared_patients(table)[:62]
    'WARNING: 1 patient has images in train or val and in test, too'
    """
    known, test = np.isin(table["split"], fitted), (table["split"] == "test").to_numpy()
    shared = test & table["group"].isin(table["group"][known]).to_numpy()
    if not shared.any():
        return ""
    patients = table["group"][shared].nunique()
    return (
        f"WARNING: {patients:,} {'patient has' if patients == 1 else 'patients have'} images in "
        f"{' or '.join(fitted)} and in test, too ({shared.sum():,} of {test.sum():,} test images). "
        "A head knows them, so a test on them flatters it. `featx.split_manifest` keeps patients "
        "together."
    )
