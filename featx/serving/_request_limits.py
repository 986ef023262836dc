"""Limits of requests: their number at once, their size, and the time that a client may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from featx.serving._problems import Problem
from featx.worklist import Limits

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Message, Receive, Scope

UPLOAD_PATH = "/api/v1/predictions"
MAX_REQUESTS = 200
"""Number of requests that are answered at once."""

MAX_UPLOADS = 16
"""Number of uploads that are received at once."""

OTHER_BYTES = 64 * 1024
"""Bytes of the largest body that isn't an upload."""

IDLE_SECONDS = 20.0
"""Time in which a client must send something."""

LEAST_BYTES = 16 * 1024
"""Bytes that a client must send in a second, after `START_SECONDS`."""

START_SECONDS = 30.0


class RequestLimits:
    """Counts requests, and bounds their bodies.

    Parameters
    ----------
    limits
        Limits of what a worklist takes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = self._uploads = 0

    @contextlib.contextmanager
    def bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Iterator[Receive]:
        """Count a request while a block answers it. The block gets what receives its body.

        Raises
        ------
        Problem
            If it is too large, or there are too many. Nothing of its body was read.
        """
        upload = scope["method"] == "POST" and scope["path"] == UPLOAD_PATH
        most = self._limits.request_bytes if upload else OTHER_BYTES
        if self._requests >= MAX_REQUESTS:
            raise Problem(503, "busy", f"{MAX_REQUESTS} requests are answered", "Try again later.")
        if upload and self._uploads >= MAX_UPLOADS:
            raise Problem(429, "busy", f"{MAX_UPLOADS} uploads are received", "Try again later.")
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > most:
            raise _too_large(most)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "encoding", "the body is compressed", "Send it as it is.")
        body = _Body(receive, most, self._received if upload else lambda: None)
        self._requests += 1
        self._uploads += upload
        try:
            yield body
        finally:
            self._requests -= 1
            body.end()

    def _received(self) -> None:
        self._uploads -= 1


class _Body:
    """Receives a body within bounds of its size and its time."""

    def __init__(self, receive: Receive, most: int, ended: Callable[[], None]) -> None:
        self._receive, self._most, self._ended = receive, most, ended
        self._size, self._start, self._complete = 0, time.monotonic(), False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        left = self._start + START_SECONDS + self._size / LEAST_BYTES - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(left, IDLE_SECONDS)))
        except TimeoutError:
            raise Problem(
                408, "slow", "the request takes too long", "Send it again, or in parts."
            ) from None
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise _too_large(self._most)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.end()
        return message

    def end(self) -> None:
        """Note that the body is complete, or that nobody reads it any more."""
        if not self._complete:
            self._complete = True
            self._ended()


def _too_large(most: int) -> Problem:
    size = f"{most // 2**20:,} MiB" if most >= 2**20 else f"{most // 1024} KiB"
    return Problem(413, "too-large", f"the request is larger than {size}", "Send less at once.")
