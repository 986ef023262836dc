"""The folder of a worklist: whose it is, who uses it, and how much room there is."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from featx.errors import InputError, StorageError
from featx_cache.files import LOCK_WAIT_SECONDS, lock, storage_errors

DATABASE_NAME = "worklist.sqlite"
IMAGES_NAME = "images"
SCRATCH_NAME = "scratch"
"""Folder of the scoring process's temporary files."""
RESERVED_BYTES = 32 * 2**20
"""Room on the disk that images leave, so that scores and readings can still be written."""


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Keep a folder from other processes during a block. It is made if it isn't there.

    Raises
    ------
    InputError
        If another process has it, or it holds something else: files in it are removed after a
        while.
    StorageError
        If it can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", "Give a folder as `state`.")
    with storage_errors(folder):
        known = (folder / DATABASE_NAME).exists() or not folder.is_dir()
        foreign = not known and any(map(_is_foreign, folder.iterdir()))
    if foreign:
        raise InputError(
            f"{folder} isn't empty, and it is no worklist", "Give a new folder as `state`."
        )
    hint = "End it, or give another `state`."
    with lock(folder / DATABASE_NAME, wait=LOCK_WAIT_SECONDS, hint=hint):
        yield folder


def require_space(folder: Path) -> None:
    """Raise a StorageError if images would take the last room on the disk."""
    with storage_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < RESERVED_BYTES:
        raise StorageError(
            f"no room left on the disk of {folder}",
            "Free some space. Images that came before are kept.",
        )


def _is_foreign(path: Path) -> bool:
    """Say whether a file isn't what a start that was killed may have left."""
    if path.name == IMAGES_NAME:  # images whose database is lost aren't removed as strays
        return any(path.iterdir())
    return DATABASE_NAME not in path.name
