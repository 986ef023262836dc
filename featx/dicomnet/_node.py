"""Facts of this node of the DICOM network: its name, its address, and who may send to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from featx._addresses import is_loopback
from featx.errors import InputError
from featx_cache._text import printable

LOCALHOST = "127.0.0.1"
LONGEST_TITLE = 16
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]*[\x21-\x5b\x5d-\x7e])?")


@dataclass(frozen=True, slots=True)
class DicomNode:
    """Name and address of this node of the DICOM network, and who may send to it.

    Attributes
    ----------
    ae_title
        Name of the node, 1..16 characters. Whoever calls must know it.
    host, port
        Address to listen at. Port 0 takes a free one.
    peers
        Names and addresses that may send, ``AE_TITLE@HOST`` each. If there are none, everybody on
        this machine may.

    Raises
    ------
    InputError
        If a name isn't one, or other machines can reach the address and no peers are named.

    Examples
    --------
    >>> DicomNode("FEATX", port=11112).host
    '127.0.0.1'
    """

    ae_title: str = "FEATX"
    host: str = LOCALHOST
    port: int = 11112
    peers: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_title(self.ae_title, "ae_title")
        if not 0 <= self.port < 2**16:
            raise InputError(
                f"there is no port {self.port}", "Ports go from 0 to 65535.", parameter="dicom_port"
            )
        if not self.peers and not is_loopback(self.host):
            raise InputError(
                f"other machines can reach {printable(self.host)[:80]}, and DICOM has no passwords",
                "Name those that may send in `dicom_peers`, or leave `dicom_host` out.",
                parameter="dicom_host",
            )
        self.callers()

    def callers(self) -> frozenset[tuple[str, str]]:
        """Return the name and the IP address of each peer. A host may have several addresses."""
        found = set()
        for peer in self.peers:
            title, at, host = peer.rpartition("@")
            if not at or not host:
                raise InputError(
                    f"the peer {printable(peer)[:80]!r} isn't AE_TITLE@HOST",
                    "Write it as XRAY1@192.0.2.7.",
                    parameter="dicom_peers",
                )
            require_title(title, "dicom_peers")
            found |= {(title, address) for address in addresses_of(host)}
        return frozenset(found)


def require_title(title: str, parameter: str) -> None:
    """Refuse what isn't the name of a DICOM node (PS3.5 table 6.2-1, AE)."""
    if len(title) > LONGEST_TITLE or not _TITLE.fullmatch(title):
        raise InputError(
            f"{printable(title)[:40]!r} isn't an AE title",
            f"Give 1 to {LONGEST_TITLE} ASCII characters without a backslash.",
            parameter=parameter,
        )


def addresses_of(host: str) -> list[str]:
    """Return the IP addresses of a host, those of IPv4 first: few nodes listen at the others."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"there is no host {printable(host)[:80]!r}", "Check the name, or give an IP address."
        ) from error
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return sorted(addresses, key=lambda address: ":" in address)
