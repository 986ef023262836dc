"""Limits of what a peer may do to this node: its address, its connections, its bytes, its time."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import time
from collections.abc import Callable, Iterable
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

PDU_BYTES = 2**17
"""Bytes of a PDU that peers are asked to keep to."""

MAX_PDU = 2**18
"""Bytes of the largest PDU that is read. Its header can claim 4 GB."""

MAX_ASSOCIATIONS = 10
MAX_CONNECTIONS = 32
"""Connections that are open at once. Those beyond the associations are told to come back later."""

PDU_SECONDS = 30.0
"""Time that a PDU may take from its first byte to its last, and that a peer may be silent."""

_BLOCK = 2**16
_OVERHEAD = 2**20
_PAUSE = 0.005


class Server(ThreadedAssociationServer):  # type: ignore[misc]
    """A server that only listens to some addresses, to a number of them, and never prints."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS
    addresses: Iterable[str] = ()
    """Addresses that are listened to. None listens to all."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Say whether a connection is taken."""
        del request
        if self.addresses and _plain(client_address[0]) not in self.addresses:
            return False
        return len(self.active_associations) < MAX_CONNECTIONS

    def handle_error(self, *_: Any) -> None:
        """Say nothing: peers close connections as they like."""

    def stop(self) -> None:
        """End, with all connections."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            with contextlib.suppress(Exception):
                association.abort()


def _plain(address: str) -> str:
    """Return the IPv4 address that an IPv6 socket shows in its own way."""
    return address.removeprefix("::ffff:")


class BoundedReading:
    """Reads a connection's bytes, and no more than a message may have.

    pynetdicom waits for all the bytes that a header claims, for ever, and keeps all messages that
    a peer sends while one is worked on.

    Parameters
    ----------
    association
        Association whose socket is read.
    message_bytes
        Bytes of the largest data set.
    too_large
        Function that is called if a message has more.
    """

    def __init__(self, association: Any, message_bytes: int, too_large: Callable[[], None]) -> None:
        self._association = association
        self._limit, self._too_large = message_bytes + _OVERHEAD, too_large
        self._read = 0

    def start_message(self) -> None:
        """Note that a message is complete."""
        self._read = 0

    def recv(self, length: int) -> bytearray:
        """Read bytes as `pynetdicom.transport.AssociationSocket.recv` does.

        Raises
        ------
        OSError
            If there are too many, or they take too long. Then the connection is closed.
        """
        if length > MAX_PDU:
            raise OSError("the PDU is too large")
        self._read += length
        if self._read > self._limit:
            self._too_large()
            raise OSError("the message is too large")
        end = time.monotonic() + PDU_SECONDS
        while self._association.dimse.msg_queue.qsize() and time.monotonic() < end:
            time.sleep(_PAUSE)  # until what came before is worked on
        connection: socket.socket = self._association.dul.socket.socket
        content = bytearray()
        while len(content) < length:
            connection.settimeout(max(end - time.monotonic(), _PAUSE))
            block = connection.recv(min(length - len(content), _BLOCK))
            if not block:
                break
            content += block
        connection.settimeout(PDU_SECONDS)  # for what is sent
        return content
