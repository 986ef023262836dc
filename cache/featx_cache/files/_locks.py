"""One process at a time works on a target, and takes away what a killed one left beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from featx_cache._errors import InputError
from featx_cache.files._atomic import make_folder
from featx_cache.files._claims import UNSIGNED_SECONDS, Claims

WRITING_SECONDS = 60.0
"""How long to wait for somebody who writes what is finished."""

LOCK_WAIT_SECONDS = UNSIGNED_SECONDS + 1.0
"""How long to wait for somebody who may work for hours: as long as it takes to see that they do."""

HINT = "Wait for it, or name another place."
_PAUSE = 0.05


@contextlib.contextmanager
def lock(target: Path, *, wait: float = WRITING_SECONDS, hint: str = HINT) -> Iterator[None]:
    """Let no other process work on a file or folder while a block does.

    Parameters
    ----------
    target
        Need not exist. The claim lies beside it, and so do its missing parents, which are created,
        and taken away again when the block raises.
    wait
        Seconds until another process is refused.
    hint
        What to do then.

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
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            claims.release_all()
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
