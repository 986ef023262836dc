"""Limits of what a peer may do to this node: its address, its connections, its bytes, its time."""

from __future__ import annotations

import contextlib
import functools
import socket
import socketserver
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import AssociationServer

PDU_BYTES = 2**17
"""Bytes of a PDU that peers are asked to keep to."""

MAX_PDU = 2**18
"""Bytes of the largest PDU that is read. Its header can claim 4 GB."""

MAX_ASSOCIATIONS = 10
MAX_CONNECTIONS = 32
"""Connections that are open at once. Those beyond the associations are told to come back later."""

_MAX_THREADS = 256
"""Connections whose threads haven't ended, which they do some seconds after a peer is gone."""

PDU_SECONDS = 30.0
"""Time that a PDU may take from its first byte to its last."""

MESSAGE_SECONDS = 600.0
"""Time that a message may take. A slow line brings the largest X-ray in half of it."""

_BLOCK = 2**16
_OVERHEAD = 2**20
_PAUSE = 0.005


class Server(AssociationServer):  # type: ignore[misc]
    """A server that only listens to some addresses, to a number of them, and never prints."""

    request_queue_size = MAX_CONNECTIONS
    addresses: Iterable[str] = ()
    """Addresses that are listened to. None listens to all."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.readings: weakref.WeakKeyDictionary[Any, BoundedReading] = weakref.WeakKeyDictionary()
        super().__init__(*arguments, **options)

    def bound(self, association: Any, message_bytes: int, too_large: Callable[[], None]) -> None:
        """Bound what a new association can make this process read."""
        self.readings[association] = reading = bound(association, message_bytes, too_large)
        # Messages that nobody expects end pynetdicom's threads, with a traceback.
        for thread in (association, association.dul):
            thread.run = functools.partial(_run_quietly, thread.run, reading, association)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Say whether a connection is taken."""
        del request
        if self.addresses and _plain(client_address[0]) not in self.addresses:
            return False
        active = self.active_associations
        gone = sum(1 for one in active if one in self.readings and self.readings[one].is_closed)
        return len(active) - gone < MAX_CONNECTIONS and len(active) < _MAX_THREADS

    def handle_error(self, *_: Any) -> None:
        """Say nothing: peers close connections as they like."""

    def stop(self, *, is_serving: bool) -> None:
        """End, with all connections."""
        if is_serving:
            socketserver.BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            with contextlib.suppress(Exception):
                if association.is_established:
                    association.abort()
                else:
                    association.dul.socket.close()


def bound(
    association: Any, message_bytes: int = 0, too_large: Callable[[], None] = lambda: None
) -> BoundedReading:
    """Bound what an association can make this process read, once it has a connection."""
    reading = BoundedReading(association, message_bytes, too_large)
    association.dul.socket.recv = reading.recv
    association.bind(evt.EVT_DIMSE_RECV, lambda _: reading.start_message())
    return reading


def _run_quietly(run: Callable[[], None], reading: BoundedReading, association: Any) -> None:
    """Run a thread of an association. If it fails, the connection is closed."""
    try:
        run()
    except Exception:  # noqa: BLE001 - it has to do with what the peer sent
        with contextlib.suppress(Exception):
            association.dul.socket.close()
        reading.end(association)


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
        self._find_association = weakref.ref(association)
        self.is_closed = False
        self._limit, self._too_large = message_bytes + _OVERHEAD, too_large
        self._read, self._end = 0, 0.0

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
        association = self._find_association()
        assert association is not None
        content = bytearray()
        try:
            self._require_small(length)
            self._read_into(content, length, association)
        finally:
            if len(content) < length:
                self.end(association)
        return content

    def _require_small(self, length: int) -> None:
        if length > MAX_PDU:
            raise OSError("the PDU is too large")
        if self._read == 0:
            self._end = time.monotonic() + MESSAGE_SECONDS
        self._read += length
        if time.monotonic() > self._end:
            raise OSError("the message takes too long")
        if self._read > self._limit:
            self._too_large()
            raise OSError("the message is too large")

    def _read_into(self, content: bytearray, length: int, association: Any) -> None:
        end = time.monotonic() + PDU_SECONDS
        while association.dimse.msg_queue.qsize() and time.monotonic() < end:
            time.sleep(_PAUSE)  # until what came before is worked on
        connection: socket.socket = association.dul.socket.socket
        while len(content) < length:
            connection.settimeout(max(end - time.monotonic(), _PAUSE))
            block = connection.recv(min(length - len(content), _BLOCK))
            if not block:
                return
            content += block
        connection.settimeout(PDU_SECONDS)  # for what is sent

    def end(self, association: Any) -> None:
        """Note that nothing more is read."""
        self.is_closed = True
        if not association.is_established:
            # Or its thread waits on for an association to be requested.
            association.dul.to_user_queue.put(None)
