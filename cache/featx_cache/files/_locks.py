"""A lock on a file or folder. Whoever gets it removes what a killed process left beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from featx_cache._errors import InputError
from featx_cache.files._atomic import make_folder
from featx_cache.files._claims import UNSIGNED_SECONDS, Claims

WRITING_SECONDS = 60.0
"""Time to wait for a process that writes what is finished."""

LOCK_WAIT_SECONDS = UNSIGNED_SECONDS + 1.0
"""Time to wait for a process that may work for hours: until it is clear that it works."""

WAIT_HINT = "Wait for it, or name another place."
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def lock(target: Path, *, wait: float = WRITING_SECONDS, hint: str = WAIT_HINT) -> Iterator[None]:
    """Let no other process work on a file or folder while a block does.

    Parameters
    ----------
    target
        File or folder, which need not exist. The claim is a file beside it. Missing parents are
        created, and removed again if the block raises.
    wait
        Seconds until an InputError is raised.
    hint
        Advice of the error.

    Raises
    ------
    InputError
        If another process is still at work.
    StorageError
        If the place can't be written to.
    """
    new = [path for path in target.parents if not path.exists()]
    claims, end = Claims(target.parent), time.monotonic() + wait
    try:
        make_folder(target.parent)
        while not claims.take(target.name):
            if time.monotonic() > end:
                raise InputError(f"another featx is at work on {target}", hint)
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            claims.release_all()
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
