"""What every request passes: is it for this server, who sent it, and from which page.

A site can give its own name this machine's address (DNS rebinding), so the Host header must be a
name of this server. A site can have a browser send requests, so those that change something must
come from this server's own pages. The answers say what a browser may do with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse

from featx.serving._hosts import READING_METHODS, answers_to, comes_from, own_names
from featx.serving._login import Access
from featx.serving._problems import Problem
from featx.serving._request_limits import RequestLimits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from featx.serving._station import Station

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OPEN_PATHS = ("/healthz", "/login", "/logout")
STATIC = "/static/"
_OWN_SITES = ("same-origin", "none")


class Guard:
    """Answers only requests that are meant for this server and that may come in.

    Parameters
    ----------
    app
        Application that it guards.
    station
        Station that it serves. Its options say the host and the limits.
    access
        Who may come in.
    """

    def __init__(self, app: ASGIApp, station: Station, access: Access) -> None:
        self._app, self._station, self._access = app, station, access
        options = station.options
        self._host = options.host
        self._names = own_names(options.host, options.allowed_hosts)
        self._limits = RequestLimits(options.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        answer = _Answer(scope, send)
        head = scope["method"] == "HEAD"
        scope = {**scope, "method": "GET"} if head else {**scope}
        scope["state"] = {**scope.get("state", {})}
        try:
            headers = Headers(scope=scope)
            self._check_origin(scope, headers)
            if self._must_log_in(scope, headers):
                await RedirectResponse("/login", 303)(scope, receive, answer)
                return
            with self._limits.bounded(scope, headers, receive) as body:
                await self._app(scope, body, answer)
        except Problem as problem:
            if not answer.started:
                await problem.response()(scope, receive, answer)
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - a traceback may quote what was sent
            self._station.report(f"unexpected {type(error).__name__} in {scope['method']}")
            if not answer.started:
                fault = Problem(500, "unexpected", "the server has a fault", "Report it.")
                await fault.response()(scope, receive, answer)

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        asked = headers.get("host", "")
        if not answers_to(asked, self._names, self._host):
            raise Problem(
                403,
                "host",
                "this server isn't called that",
                f"It answers to {', '.join(sorted(self._names))}. Whoever runs it may allow "
                "further names.",
            )
        site, reads = headers.get("sec-fetch-site", "none"), scope["method"] in READING_METHODS
        opens = reads and headers.get("sec-fetch-mode") == "navigate"
        if site not in _OWN_SITES and not opens:
            raise Problem(403, "site", "the request comes from a page of another site")
        origin = headers.get("origin")
        if not reads and origin is not None and not comes_from(origin, asked):
            raise Problem(403, "origin", "the server takes changes from its own pages only")

    def _must_log_in(self, scope: Scope, headers: Headers) -> bool:
        """Note who sent a request. Return whether a browser has to log in first."""
        path, reads = scope["path"], scope["method"] in READING_METHODS
        if path in OPEN_PATHS or path.startswith(STATIC):
            return False
        client = scope.get("client")
        who = self._access.who(headers, client[0] if client else "")
        if who is None:
            if reads and "text/html" in headers.get("accept", ""):
                return True
            raise Problem(
                401, "token", "the server needs a token", "Send `Authorization: Bearer TOKEN`."
            )
        by_cookie = self._access.tokens is not None and "authorization" not in headers
        if by_cookie and not reads and "origin" not in headers:
            raise Problem(403, "origin", "the request doesn't say which page it comes from")
        scope["state"]["who"] = who
        return False


class _Answer:
    """Sends an answer with the headers of all answers. One to HEAD has no body."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = False
        self._head, self._send = scope["method"] == "HEAD", send
        self._keep = scope["path"].startswith(STATIC)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in HEADERS.items():
                headers[name] = value
            if not self._keep:
                headers["Cache-Control"] = "no-store"
            elif "cache-control" not in headers:
                headers["Cache-Control"] = "no-cache"
            message = {**message, "headers": headers.raw}
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
