"""The address that a server listens at."""

from __future__ import annotations

import errno
import os
import socket

from featx.errors import InputError
from featx.serving._hosts import is_every

MAX_PORT = 65535
_BACKLOG = 128


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    """Return the kind of address that a host has, and its address. IPv4 comes first.

    Raises
    ------
    InputError
        If the host has no address, or there is no such port.
    """
    require_port(port, "port")
    try:
        found = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name"
        raise _bad_host(host, port, str(reason)) from error
    known = {socket.AF_INET: 0, socket.AF_INET6: 1}
    usable = [each for each in found if each[0] in known]
    if not usable:
        raise _bad_host(host, port, "it has no address")
    family, *_, address = min(usable, key=lambda each: known[each[0]])
    return family, str(address[0])


def listen(host: str, port: int) -> socket.socket:
    """Take a port of this machine. Who connects waits until somebody answers.

    Raises
    ------
    InputError
        If it can't be had.
    """
    family, address = resolve(host, port)
    # `::` alone stands for all addresses, those of IPv4, too.
    both = address == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        raise cant_listen(error, host, port) from error


def url_of(host: str, port: int) -> str:
    """Return the address of the page that a browser on this machine can open."""
    name = socket.gethostname() if is_every(host) else host.strip("[]")
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def require_port(port: int, parameter: str) -> None:
    """Refuse what is no port."""
    if not 0 <= port <= MAX_PORT:
        raise InputError(
            f"there is no port {port}", f"Ports go from 0 to {MAX_PORT}.", parameter=parameter
        )


def cant_listen(error: OSError, host: str, port: int) -> InputError:
    """Say why an address can't be listened at."""
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"port {port} of {host} is in use", "Give another `port`. 0 takes a free one."
        )
    if error.errno == errno.EACCES:
        return InputError(f"port {port} is the system's", "Give a `port` above 1023.")
    # Its own text is longer if `socket.create_server` raised it.
    return _bad_host(host, port, os.strerror(error.errno or 0))


def _bad_host(host: str, port: int, reason: str) -> InputError:
    return InputError(
        f"can't listen at {host}:{port}: {reason}", "Give `host` an address of this machine."
    )
