"""Ports for servers that a test starts as processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.count(20_000 + 1_500 * (_WORKER % 8))


def free_port() -> int:
    """Return a loopback port that nobody listens at.

    It is below those that Linux gives to whoever asks for any (32768 and above), and none is
    returned twice: so nobody takes it before the server that it is for.
    """
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


def listens(port: int) -> bool:
    """Say whether somebody listens at a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False
