"""Claims on shards: who is making which, so that several processes can fill one cache together."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from featx_cache.files._atomic import TEMPORARY_SUFFIX, remove_leftovers_of, storage_errors

if TYPE_CHECKING:
    import filelock

LEASE_SECONDS = 60.0
"""Time that a claim outlives the last sign of life of a process on another machine. On the same
machine a dead process's claim is taken over at once."""

UNSIGNED_SECONDS = 2.0
"""Time that a claim may be there before it says whose it is."""

_SUFFIX = ".lock"
_BREAKING_SUFFIX = f"{_SUFFIX}.break."
"""Suffix of a stale claim while filelock removes it. Its process and a random text follow."""

_LEFTOVER_NAME = re.compile(
    rf"\.(shard-\w+\.h5)({re.escape(_SUFFIX)}|\.[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}"
    rf"|{re.escape(_BREAKING_SUFFIX)}.+)"
)
"""Files that a killed process leaves of a shard."""


class Claims:
    """The claims that this process holds, or would like to hold, in one folder of shards.

    A claim is a small file beside the shard, ``.NAME.lock``, which names its owner's process and
    machine and is touched three times a lease. It only keeps two processes from doing the same
    work: shards are written whole, so that a claim lost to a slow network costs time and no more.

    Parameters
    ----------
    folder
        Folder of the shards. It must exist, else a StorageError is raised.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leases: dict[str, filelock.SoftFileLease] = {}
        self._unsigned: dict[tuple[str, int], float] = {}

    def take(self, name: str) -> bool:
        """Claim the shard `name`, unless someone else has, and remove what a killed owner left."""
        import filelock  # only here: most commands take no claim

        # A contender has to watch a foreign claim go stale, so its lease object is kept.
        lease = self._leases.get(name) or filelock.SoftFileLease(
            str(self._folder / f".{name}{_SUFFIX}"),
            lease_duration=LEASE_SECONDS,
            timeout=0,
            thread_local=False,
        )
        self._leases[name] = lease
        try:
            with storage_errors(self._folder / name):
                lease.acquire()
        except filelock.Timeout:
            self._drop_unsigned(name)
            return False
        remove_leftovers_of(self._folder / name)
        self._drop_breaks(name)
        return True

    def _drop_breaks(self, name: str) -> None:
        """Remove stale claims that filelock had put aside when its process was killed."""
        for path in list(self._folder.iterdir()):
            if path.name.startswith(f".{name}{_BREAKING_SUFFIX}") and not _runs(
                path.name.split(".")[-2]
            ):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _drop_unsigned(self, name: str) -> None:
        """Remove a claim whose owner was killed before it could sign.

        filelock takes an empty file for the claim of one of its old releases, and leaves it alone
        for ever. Here the signature follows within microseconds.
        """
        path = self._folder / f".{name}{_SUFFIX}"
        with contextlib.suppress(OSError):
            found = path.stat()
            if found.st_size:
                return
            seen = self._unsigned.setdefault((name, found.st_ino), time.monotonic())
            if time.monotonic() - seen > UNSIGNED_SECONDS:
                path.unlink()

    def is_unsigned(self, name: str) -> bool:
        """Say whether a claim has no signature yet: it isn't clear whether its owner is alive."""
        with contextlib.suppress(OSError):
            return (self._folder / f".{name}{_SUFFIX}").stat().st_size == 0
        return False

    def release(self, name: str) -> None:
        """Give one claim back."""
        if lease := self._leases.pop(name, None):
            lease.release(force=True)

    def release_all(self) -> None:
        """Give every claim back."""
        for name in list(self._leases):
            self.release(name)

    def is_free(self, name: str) -> bool:
        """Say whether the shard can be claimed, because its owner has let go or is no more.

        Ask the same object again and again: it has to see for itself that another machine's owner
        gives no sign of life.
        """
        free = self.take(name)
        if free:
            self.release(name)
        return free

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Hold a claim for a block, which is told whether it was to be had."""
        taken = self.take(name)
        try:
            yield taken
        finally:
            if taken:
                self.release(name)

    def sweep(self) -> None:
        """Remove the temporary files and claims of processes that are no more."""
        found = (_LEFTOVER_NAME.fullmatch(path.name) for path in self._folder.glob(".shard-*"))
        for name in {match[1] for match in found if match is not None}:
            with self.held(name):
                pass


def _runs(process: str) -> bool:
    """Say whether a process of this machine runs. What is no number is taken for running."""
    import psutil  # `os.kill(process, 0)` would end it on Windows

    try:
        return psutil.pid_exists(int(process))
    except OverflowError:
        return False
    except (OSError, ValueError):
        return True
