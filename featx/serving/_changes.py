"""Changes of a worklist for those who wait in an event loop: none of them takes a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featx.worklist import Worklist


class Changes:
    """Tells those who wait that a worklist changed.

    Parameters
    ----------
    worklist
        The worklist. Its threads make the changes.
    """

    def __init__(self, worklist: Worklist) -> None:
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()
        worklist.listen(self._tell)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Watch while a block runs. Look for what is new after `Watcher.clear`."""
        watcher = Watcher(asyncio.get_running_loop())
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _tell(self) -> None:
        with self._lock:
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher.tell()


class Watcher:
    """Somebody who waits for changes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._event = loop, asyncio.Event()

    def clear(self) -> None:
        """Forget changes up to now."""
        self._event.clear()

    async def wait(self, seconds: float) -> bool:
        """Wait for a change. Return whether there was one in time."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def tell(self) -> None:
        """Tell of a change, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._event.set)
