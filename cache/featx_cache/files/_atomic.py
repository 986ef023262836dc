"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from featx_cache._errors import StorageError
from featx_cache.files._swap import swap_paths

TEMPORARY_SUFFIX = ".tmp"
WINDOWS = os.name == "nt"

_OTHER_CAUSES = {
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter one."),
    errno.ELOOP: ("it is a link that leads back to itself", "Choose another path."),
    errno.EFBIG: (
        "the file would be larger than is allowed here",
        "Raise the limit (`ulimit -f unlimited`), or choose another disk.",
    ),
    errno.EIO: (
        "the disk reports an input/output error",
        "Check the disk and its connection, or choose another one.",
    ),
    errno.ESTALE: (
        "the file server no longer knows the folder",
        "Mount it again, and run the same command again.",
    ),
}
"""Errors of the operating system: their names, and what to do."""


@contextlib.contextmanager
def atomic_path(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `target`, and on success flush it to disk and rename it.

    The temporary path ends in ``.tmp``, and is removed if the block raises. A link at `target` is
    replaced, not followed. See `output_path` for files that a user named.

    Parameters
    ----------
    target
        File that appears whole, or not at all. Its folder must exist, else an OSError is raised.
    replace
        Whether a file that is there by the end may be replaced.

    Raises
    ------
    StorageError
        If the disk is full, the folder is read-only, the quota is used up, or a file is there
        that may not be replaced.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with storage_errors(target):
            yield temporary
            sync(temporary)
            if replace:
                temporary.replace(target)
            else:
                _put_new(temporary, target)
            sync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary folder beside `target`, and on success flush it to disk and rename it.

    A folder that is there and the new one swap their names in one step, so that there is always
    one. If the system can't do that, it is gone for an instant.

    Parameters
    ----------
    target
        The folder that appears whole, or not at all, in place of the one that is there. Missing
        parents are created, and taken away again when the block raises.
    replace
        Whether a folder that isn't empty may be replaced.

    Raises
    ------
    StorageError
        If the disk is full, the place is read-only, or a file or folder is in the way.
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
                sync(path)
            _put(temporary, target, old, replace=replace)
            sync(target.parent)
        for path in (temporary, old):
            _remove(path)
    except BaseException:
        _remove(temporary)
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
                "Free some space and run the same command again. Finished work is kept.",
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
        if error.errno in _OTHER_CAUSES:
            what, hint = _OTHER_CAUSES[error.errno]
            raise StorageError(f"can't write {target}: {what}", hint) from error
        raise


def make_folder(folder: Path) -> bool:
    """Create `folder` and its parents, and say whether it is new, or raise a StorageError."""
    with storage_errors(folder):
        existed = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(folder))
    return not existed


def _put_new(temporary: Path, target: Path) -> None:
    """Give a finished file its name, unless something has that name."""
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise StorageError(
            f"{target} exists already: somebody has just written it", "Choose another path."
        ) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise
        temporary.rename(target)
    else:
        temporary.unlink()


def _put(temporary: Path, target: Path, old: Path, *, replace: bool) -> None:
    """Give a finished folder its name. The folder that had it is renamed."""
    linked = target.is_symlink() and target.is_dir()
    while True:
        try:
            if not linked:
                temporary.rename(target)  # goes over an empty folder, too
                return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not replace:
            raise StorageError(f"{target} is there already", "Choose another folder.")
        try:
            if swap_paths(temporary, target):
                return
            _remove(old)
            target.rename(old)
            linked = False
        except FileNotFoundError:  # another process has just taken it away
            linked = False


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_leftovers_of(target: Path) -> None:
    """Remove what killed writers of one file or folder left beside it.

    A folder that was just being replaced gets its name back.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}(\.old)?{TEMPORARY_SUFFIX}")
    for path in list(target.parent.iterdir()):
        if not (found := pattern.fullmatch(path.name)):
            continue
        if found[1] and not target.exists():
            with contextlib.suppress(OSError):
                path.rename(target)
        else:
            _remove(path)


def is_there(path: Path, *, file: bool = False) -> bool:
    """Say whether there is such a file or folder. A name that is too long has none."""
    try:
        return path.is_file() if file else path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a regular file for reading bytes, without waiting for the writer of a pipe.

    Links are followed. Whether the file is a regular one is asked of what was opened, so that
    nobody can put another in its place in between. A pipe, a socket or a device is a
    `NotRegularFileError`.
    """
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise NotRegularFileError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class NotRegularFileError(OSError):
    """A pipe, a socket or a device where a file should be."""


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk."""
    if WINDOWS and path.is_dir():
        return  # Windows opens no folders. NTFS keeps a journal of their names.
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # there, a reader can't flush
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
