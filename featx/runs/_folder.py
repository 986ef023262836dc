"""Folder of a run that isn't there yet: whether it may be written, and by whom."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from featx.errors import InputError
from featx.runs._own_files import EARLIER_RUN, RUN_FOLDERS, require_own
from featx.runs._record import RECORD_NAME, read_record
from featx_cache.files import atomic_folder, lock, storage_errors


@contextlib.contextmanager
def run_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """Give a folder that becomes the run when the block ends well.

    Others who write a run of this name wait. Without `force` the second then finds it there.
    """
    with lock(target):
        require_free(target, force)
        with atomic_folder(target, replace=force) as folder:
            yield folder
            require_free(target, force)  # somebody may have put something there meanwhile


def require_free(target: Path, force: bool) -> None:
    """Fail before the long work when the run can't be written."""
    if target.name in ("", ".."):
        raise InputError(f"{str(target)!r} can't be replaced by a run", "Give `run` a new folder.")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file, not a folder", "Give `run` a new folder.")
    if target.is_dir() and any(target.iterdir()):
        if not (target / RECORD_NAME).is_file():
            raise InputError(f"{target} is not empty and not a run", "Give `run` a new folder.")
        if not force:
            raise InputError(
                f"there is a run at {target} already",
                "Give another `run`, or `force=True` to replace it.",
            )
        _require_own_run(target)
    nearest = next(path for path in target.parents if path.exists())
    with storage_errors(target):
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(nearest))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(nearest))


def _require_own_run(target: Path) -> None:
    """Refuse to replace what can't be shown to be a run, and to delete other files with one."""
    try:
        record = read_record(target)
    except InputError as error:
        raise InputError(
            f"{target} can't be shown to be a run of featx, and isn't replaced ({error.what})",
            "Remove it yourself, or give another `run`.",
        ) from error
    listed = re.compile("|".join(map(re.escape, (RECORD_NAME, *record.files))))
    known = (RUN_FOLDERS, listed) if record.files else (RUN_FOLDERS, listed, EARLIER_RUN)
    # A link is replaced itself, and what it leads to stays.
    require_own(target.resolve(), *known, hint="Move it elsewhere, or give another `run`.")
