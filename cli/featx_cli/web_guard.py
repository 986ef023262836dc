"""Keeping pages that have no log-in from other web sites that the user's browser visits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from featx.serving._hosts import READING_METHODS, answers_to, comes_from, own_names

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
    names = own_names(host)

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


def _refusal(environ: WSGIEnvironment, names: frozenset[str], host: str) -> str:
    """Say why a request is not answered. Empty if it is answered."""
    asked = environ.get("HTTP_HOST", "")
    if not answers_to(asked, names, host):
        return (
            f"featx answers to {', '.join(sorted(names))} here, not to {asked!r}. "
            "If that is this machine's name, give it as --host."
        )
    source = environ.get("HTTP_ORIGIN", environ.get("HTTP_REFERER"))
    reads = environ["REQUEST_METHOD"] in READING_METHODS
    if not reads and source is not None and not comes_from(source, asked):
        return "featx takes changes from its own pages only."
    return ""


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
