"""The HTTP server, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from featx.errors import FeatxError

STOP_SECONDS = 3
"""Time that requests have to end once the server ends."""

HEADER_SECONDS = 15.0
"""Time that a client may take for the head of a request."""

MAX_CONNECTIONS = 500
_KEEP_ALIVE_SECONDS = 15
_POLL_SECONDS = 0.01


class TimedProtocol(H11Protocol):
    """HTTP for clients that send the head of a request in time. The others are disconnected.

    uvicorn has no such bound: 500 clients that say nothing would keep all others out.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the head of the first request."""
        super().connection_made(transport)
        # asyncio sets it for sockets that it made. Without it each answer takes 40 ms longer.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Note whether a head is complete."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._due is None:
            self._due = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


@contextlib.contextmanager
def answering(application: Any, sock: socket.socket) -> Iterator[threading.Thread]:
    """Answer requests to a socket while a block runs. The block gets the thread that does it."""
    config = uvicorn.Config(
        application,
        http=TimedProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",  # it logs addresses that clients asked for
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anybody could say that they come from elsewhere
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), name="http", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise FeatxError("the HTTP server didn't start", "Report this.")
            thread.join(_POLL_SECONDS)
        yield thread
    finally:
        server.should_exit = True
        thread.join(2 * STOP_SECONDS)
