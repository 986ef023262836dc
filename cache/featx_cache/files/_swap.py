"""Swapping the names of two folders in one step, if the system can do that."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

_WORKING_FOLDER = -100  # AT_FDCWD: relative to the working folder
_RENAME_EXCHANGE = 2  # RENAME_EXCHANGE of Linux
_UNSUPPORTED_ERRNOS = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


def swap_paths(one: Path, other: Path) -> bool:
    """Give each of two paths the other's name, as renameat2(2) does.

    False says that the system or the file system can't do it, and nothing happened.
    """
    rename = _renameat2()
    if rename is None:
        return False
    if (
        rename(
            _WORKING_FOLDER, os.fsencode(one), _WORKING_FOLDER, os.fsencode(other), _RENAME_EXCHANGE
        )
        == 0
    ):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED_ERRNOS:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system, or an old library
        return None
    function.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
    )  # fmt: skip
    found: Callable[..., int] = function
    return found
