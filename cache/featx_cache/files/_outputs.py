"""Files that a user named: links are followed, and pipes and devices are written to."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from featx_cache._errors import InputError
from featx_cache.files._atomic import atomic_path, make_folder, storage_errors

STANDARD_OUTPUT = Path("-")


class ReaderLeftError(Exception):
    """The reader of a pipe (``| head``) has what it wants, which is no failure.

    Not a `BrokenPipeError`: Click and Rich take that for a failure, each in its own way.
    """


@contextlib.contextmanager
def output_path(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path, and on success put its whole content into `target`.

    Parameters
    ----------
    target
        File whose missing folders are made, and removed again if the block raises. If it is a link,
        the file is replaced that it leads to. A pipe, a character device and standard output
        (``-``) are written to.
    replace
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        If `target` is a folder, a socket or a block device.
    StorageError
        If it can't be written, or is there and may not be replaced.
    """
    if is_stream(target):
        with tempfile.TemporaryDirectory(prefix="featx-") as beside:
            yield (temporary := Path(beside) / "output")
            with output_stream(target) as stream, temporary.open("rb") as file:
                shutil.copyfileobj(file, stream)
        return
    place = Path(os.path.realpath(target)) if target.is_symlink() else target
    new = [folder for folder in place.parents if not folder.exists()]
    try:
        make_folder(place.parent)
        with atomic_path(place, replace=replace) as temporary:
            yield temporary
    except BaseException:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def output_stream(target: Path) -> Iterator[IO[bytes]]:
    """Open a pipe, a character device or standard output for writing."""
    if _is_standard_output(target):
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    try:
        with storage_errors(target):
            descriptor = os.open(target, os.O_WRONLY)  # never creates or cuts a file
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
    except BrokenPipeError as error:
        raise ReaderLeftError from error


def is_stream(target: Path) -> bool:
    """Say whether what is written goes through `target` instead of replacing it.

    A folder, a socket or a block device is an InputError.
    """
    if _is_standard_output(target):
        return True
    try:
        with storage_errors(target):
            mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise InputError(f"can't write {target}: it is a folder", "Give the path of a file.")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise InputError(
            f"can't write {target}: it is a {'disk' if stat.S_ISBLK(mode) else 'socket'}",
            "Give the path of a file.",
        )
    return not stat.S_ISREG(mode)


def _is_standard_output(target: Path) -> bool:
    """Say whether a path is ``-``, or a name of what standard output goes to."""
    if target == STANDARD_OUTPUT:
        return True
    try:
        return os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError, AttributeError):  # it isn't there, or standard output isn't
        return False
