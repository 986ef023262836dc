"""Files in runs and beside them that featx may delete, because they are its own."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from featx.errors import InputError

_EVENTS = r"(?:train|validation)(?:/events\.out\.tfevents\..+)?"
_TRAINING = (
    r"(?:final|fold-\d+)(?:/(?:state-\d+\.npz|\.state-\d+\.npz\.[0-9a-f]{8}\.tmp"
    rf"|tensorboard-\d+(?:/{_EVENTS})?))?"
)
_ARTIFACT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_STUDY = rf"\.?study\.journal(?:\.lock.*)?|front\.(?:csv|png|svg)|artifacts(?:/{_ARTIFACT})?"

ARTIFACTS = re.compile(_ARTIFACT)
"""Names of the figures of a study: Optuna gives each a UUID."""

UNFINISHED = re.compile(rf"job\.json|\.job\.json\.[0-9a-f]{{8}}\.tmp|{_TRAINING}")
"""Names in ``RUN.unfinished``."""

STUDY = re.compile(
    rf"{_STUDY}|scores(?:/\.?[0-9a-f]{{64}}\.npz(?:\.[0-9a-f]{{8}}\.tmp)?)?"
    r"|scores/(?:\.gitignore|joblib(?:/.+)?)|\.tune\.lock"  # of earlier versions
    rf"|trials(?:/\.trial-\d+\..+)?|training-[0-9a-f]{{12}}(?:/(?:{_TRAINING}))?"
)
"""Names in ``RUN.study``."""

RUN_FOLDERS = re.compile(rf"tensorboard(?:/[^/]+(?:/{_EVENTS})?)?|study(?:/(?:{_STUDY}))?")
"""Names of folders in a run, which its record doesn't list, and in these folders."""

EARLIER_RUN = re.compile(
    r"head\.(?:keras|skops)|oof\.csv|training\.txt|fit\.log|history\.csv|curves\.png"
    r"|reference\.h5|standardization\.npz|calibration\.csv"
)
"""Names in runs of earlier versions, whose record lists nothing."""

_LOCK_LINKS = re.compile(r"study\.journal\.lock.*")
"""Optuna's locks are links."""


def foreign_in(folder: Path, *own: re.Pattern[str]) -> Path | None:
    """Return the first path in a folder that isn't featx's. Links aren't followed, and aren't."""
    if folder.is_symlink():
        return folder
    for parent, folders, files in os.walk(folder):
        for path in sorted(Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not _LOCK_LINKS.fullmatch(path.name):
                return path
            name = path.relative_to(folder).as_posix()
            if not any(pattern.fullmatch(name) for pattern in own):
                return path
    return None


def require_own(folder: Path, *own: re.Pattern[str], hint: str) -> None:
    """Refuse a folder that is to be emptied or replaced, and has something of somebody else's."""
    if (path := foreign_in(folder, *own)) is not None:
        raise InputError(f"{path} isn't of featx, and would be deleted", hint)


def remove_own(folder: Path, *own: re.Pattern[str]) -> None:
    """Remove what featx has made in a folder, and the folder if nothing else is in it."""
    if folder.is_symlink():
        return
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in (*files, *folders)):
            name = path.relative_to(folder).as_posix()
            if not any(pattern.fullmatch(name) for pattern in own):
                continue
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                elif not path.is_symlink() or _LOCK_LINKS.fullmatch(path.name):
                    path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
