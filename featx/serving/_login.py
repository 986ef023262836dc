"""Who may come in: programs with a token, and browsers that were given one in a form."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import cookie_parser

from featx.serving._problems import Problem
from featx.serving._templates import ENVIRONMENT
from featx.serving._tokens import Tokens, digest

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from featx.serving._station import Station

LOOPBACK = "loopback"
"""Who it was if no token is asked for: somebody on this machine."""

SESSION_SECONDS = 12 * 60 * 60
MAX_SESSIONS = 1000
MAX_WRONG = 10
"""Number of wrong tokens that an address may give in `WRONG_SECONDS`."""

WRONG_SECONDS = 60.0
_MAX_ADDRESSES = 1000


class Access:
    """Sessions, and the tokens that open them.

    Parameters
    ----------
    tokens
        Tokens. None asks nobody for one.
    cookie
        Name of the cookie. Servers of one machine share their cookies, so it has the port.
    wrong
        Function that is told the address that a wrong token came from.
    """

    def __init__(
        self, tokens: Tokens | None, cookie: str, wrong: Callable[[str], None] = lambda _: None
    ) -> None:
        self.tokens, self.cookie, self._tell_wrong = tokens, cookie, wrong
        self._sessions: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._proven: set[tuple[str, bytes]] = set()
        self._lock = threading.Lock()

    def who(self, headers: Headers, address: str) -> str | None:
        """Return who sent a request, such as ``token 1``. None if they may not come in.

        Raises
        ------
        Problem
            If too many wrong tokens came from the address.
        """
        if self.tokens is None:
            return LOOPBACK
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.check(token.strip(), address)
        return self._in_session(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""))

    def check(self, token: str, address: str) -> str | None:
        """Return whose token it is, or None. Wrong ones are counted."""
        assert self.tokens is not None
        with self._lock:
            wrong = self._wrong.get(address, deque(maxlen=MAX_WRONG))
            while wrong and wrong[0] < time.monotonic() - WRONG_SECONDS:
                wrong.popleft()
            number, used = self.tokens.number(token), (address, digest(token))
            # Whoever came in before isn't kept out by others that come by the same proxy.
            if len(wrong) >= MAX_WRONG and used not in self._proven:
                raise Problem(429, "wrong-tokens", "too many wrong tokens", "Wait for a minute.")
            if number is not None:
                if len(self._proven) > _MAX_ADDRESSES:
                    self._proven.clear()
                self._proven.add(used)
                return f"token {number}"
            wrong.append(time.monotonic())
            self._wrong[address] = wrong
            self._wrong.move_to_end(address)
            if len(self._wrong) > _MAX_ADDRESSES:
                self._wrong.popitem(last=False)
        self._tell_wrong(address)
        return None

    def open_session(self, token: str) -> str:
        """Return the name of a new session."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            ends = time.monotonic() + SESSION_SECONDS
            self._sessions[digest(name)] = digest(token), ends
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def close_session(self, headers: Headers) -> None:
        """End the session of a request."""
        name = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        with self._lock:
            self._sessions.pop(digest(name), None)

    def _in_session(self, name: str) -> str | None:
        assert self.tokens is not None
        with self._lock:
            # The name is looked up by its digest: how long that takes tells nothing of it.
            token, ends = self._sessions.get(digest(name), (b"", 0.0))
            known = self.tokens.digests()
            if ends < time.monotonic() or token not in known:
                self._sessions.pop(digest(name), None)
                return None
            return f"token {known.index(token) + 1}"


def make_login(station: Station, access: Access) -> APIRouter:
    """Make the routes by which a browser logs in and out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def show() -> Response:
        return _page() if access.tokens is not None else RedirectResponse("/", 303)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        token = _token_in(await request.body())
        if access.tokens is None:
            return RedirectResponse("/", 303)
        address = request.client.host if request.client else ""
        try:
            who = access.check(token.strip(), address)
        except Problem as problem:
            return _page(f"{problem.what.capitalize()}. {problem.hint}", problem.status_code)
        if who is None:
            return _page("That is no token of this server.", 401)
        station.audit("login", who)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            access.cookie,
            access.open_session(token.strip()),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            # A proxy in front speaks TLS, so the cookie must never go without it.
            secure=request.headers.get("x-forwarded-proto", "") == "https",
        )
        return answer

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        access.close_session(request.headers)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(access.cookie, httponly=True, samesite="strict")
        return answer

    return router


def _token_in(body: bytes) -> str:
    try:
        return parse_qs(body.decode("latin-1"), max_num_fields=10)["token"][0]
    except (ValueError, KeyError):
        return ""


def _page(error: str = "", status: int = 200) -> Response:
    return HTMLResponse(ENVIRONMENT.get_template("login.html.j2").render(error=error), status)
