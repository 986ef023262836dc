"""Names that a server answers to. A site can give its own name this machine's address."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def own_names(host: str, others: Iterable[str] = ()) -> frozenset[str]:
    """Return the names of a server that listens at a host, in lower case and without a port."""
    own = {name.lower().strip("[]") for name in (host, *others)}
    if is_every(host):
        own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return LOOPBACK_NAMES | own


def is_every(host: str) -> bool:
    """Say whether a host stands for all addresses of this machine."""
    return host in ("", "0.0.0.0", "::")


def answers_to(asked: str, names: frozenset[str], host: str) -> bool:
    """Say whether a Host header names this server."""
    name = host_name(asked)
    # No site can make an address its own name.
    return name in names or (is_every(host) and is_address(name))


def host_name(asked: str) -> str:
    """Return the name in a Host header, without its port. Empty if there is none."""
    try:
        return urlsplit(f"//{asked}").hostname or ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Say whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def comes_from(source: str, asked: str) -> bool:
    """Say whether an Origin or Referer header names the server that a Host header asks."""
    return source.lower().partition("://")[2].partition("/")[0] == asked.lower()
