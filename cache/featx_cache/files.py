"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from featx_cache.errors import StorageError

TEMPORARY_SUFFIX = ".tmp"


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success flush it to disk and rename it.

    Parameters
    ----------
    target
        The file that appears whole, or not at all. Its folder must exist.

    Yields
    ------
    Path
        A temporary path in the same folder, ending in ``.tmp``. Removed when the block raises.

    Raises
    ------
    StorageError
        When the disk is full, the folder is read-only, or the quota is used up.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with storage_errors(target):
            yield temporary
            _fsync(temporary)
            temporary.replace(target)
            _fsync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target`; on success flush it to disk and rename it.

    Parameters
    ----------
    target
        The folder that appears whole, or not at all, in place of the one that is there. Missing
        parents are created, and taken away again when the block raises.

    Yields
    ------
    Path
        An empty folder in the same place, its name ending in ``.tmp``.

    Raises
    ------
    StorageError
        When the disk is full, the place is read-only, or a file is in the way.
    """
    token = secrets.token_hex(4)
    temporary = target.with_name(f".{target.name}.{token}{TEMPORARY_SUFFIX}")
    old = target.with_name(f".{target.name}.{token}.old{TEMPORARY_SUFFIX}")
    new = [path for path in target.parents if not path.exists()]
    try:
        with storage_errors(target):
            make_folder(temporary)
            yield temporary
            for path in (*temporary.rglob("*"), temporary):
                _fsync(path)
            if target.is_dir():
                target.rename(old)
            temporary.rename(target)
            _fsync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.is_dir() and not target.exists():
            old.rename(target)
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's "can't write" errors into a `StorageError` naming `target`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"no room left on the disk while writing {target}",
                "Free some space and run the same command again; finished work is kept.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(
                f"no permission to write {target}",
                "Choose a folder that you may write to, or change its permissions.",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise StorageError(
                f"can't create {target}: a file is in the way", "Choose another path."
            ) from error
        raise


def make_folder(folder: Path) -> bool:
    """Create `folder` and its parents; say whether it is new.

    Raises
    ------
    StorageError
        When it can't be created or written to.
    """
    with storage_errors(folder):
        existed = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(folder))
    return not existed


def is_there(path: Path, *, file: bool = False) -> bool:
    """Say whether there is such a file or folder; there is none of a name that is too long."""
    try:
        return path.is_file() if file else path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed writer left in `folder`."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
