"""Keeping pages that have no log-in from other web sites that the user's browser visits."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Besides the policy that a page comes with: nothing from elsewhere, and in no other's frame."""
OTHER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "same-origin"),
)


def guarded(application: WSGIApplication, host: str) -> WSGIApplication:
    """Answer only requests that were meant for this server, and let no other site read the answers.

    A site can give its own name this machine's address (DNS rebinding), so the Host header must be
    a name of this server. It can send requests, so those that change something must come from
    this server's own pages.
    """
    names = _names(host)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if refusal := _refusal(environ, names, host):
            text = f"{refusal}\n".encode(errors="replace")
            headers = [("Content-Type", "text/plain; charset=utf-8"), *HEADERS]
            start_response("403 Forbidden", [*headers, ("Content-Length", str(len(text)))])
            return [text]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, _closed(headers), exc_info)

        return application(environ, start)

    return answer


def _names(host: str) -> frozenset[str]:
    own = {host.lower().strip("[]")}
    if _is_every(host):
        own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return LOOPBACK_NAMES | own


def _is_every(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")


def _refusal(environ: WSGIEnvironment, names: frozenset[str], host: str) -> str:
    """Say why a request is not answered. Empty if it is answered."""
    asked = environ.get("HTTP_HOST", "")
    name = _name(asked)
    # No site can make an address its own name.
    if name not in names and not (_is_every(host) and _is_address(name)):
        return (
            f"featx answers to {', '.join(sorted(names))} here, not to {asked!r}. "
            "If that is this machine's name, give it as --host."
        )
    source = environ.get("HTTP_ORIGIN", environ.get("HTTP_REFERER"))
    if environ["REQUEST_METHOD"] not in READING_METHODS and source is not None:
        from_here = source.lower().partition("://")[2].partition("/")[0] == asked.lower()
        if not from_here:
            return "featx takes changes from its own pages only."
    return ""


def _name(asked: str) -> str:
    """Return the name in a Host header, without its port. Empty if there is none."""
    try:
        return urlsplit(f"//{asked}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _closed(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Take away what lets other sites read an answer, and say what the page may load."""
    new = {name.lower() for name, _ in HEADERS}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in new and not name.lower().startswith("access-control-")
    ]
    own = any(name.lower() == "content-security-policy" for name, _ in kept)
    # Two policies: a browser allows what both allow.
    return [
        *kept,
        *HEADERS,
        ("Content-Security-Policy", OWN_POLICY if own else OTHER_POLICY),
    ]
