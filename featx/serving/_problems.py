"""Answers to requests that failed: one form for all, and nothing of what was sent."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match

from featx.errors import FeatxError
from featx_cache._text import printable

OPENAPI_PATH = "/api/v1/openapi.json"
RETRY_SECONDS = "5"
_STATUSES = {
    "input": 422,
    "refused-image": 422,
    "full-queue": 429,
    "scoring-died": 503,
    "storage": 507,
}
_BUSY = (429, 503)
_KINDS: dict[int, tuple[str, str, str]] = {
    404: ("not-found", "there is nothing at this address", f"{OPENAPI_PATH} lists what there is."),
    405: (
        "method",
        "this address doesn't take this method",
        f"{OPENAPI_PATH} lists what it takes.",
    ),
}


class Problem(HTTPException):
    """Request that is answered with an error.

    Parameters
    ----------
    status
        Status of the answer.
    code
        Kind of the error, for programs.
    what, hint
        Description and advice, as `FeatxError` has them.
    predictions
        Rows of an upload that was taken in part.
    """

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        hint: str = "",
        *,
        predictions: list[dict[str, Any]] | None = None,
    ) -> None:
        headers = {"Retry-After": RETRY_SECONDS} if status in _BUSY else {}
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="featx"'
        super().__init__(status, what, headers)
        self.code, self.what, self.hint, self.predictions = code, what, hint, predictions

    def response(self) -> JSONResponse:
        """Return the answer."""
        error = {"code": self.code, "what": printable(self.what), "hint": printable(self.hint)}
        content: dict[str, Any] = {"error": error}
        if self.predictions is not None:
            content["predictions"] = self.predictions
        return JSONResponse(content, self.status_code, self.headers)


def problem_of(error: FeatxError, report: Callable[[str], None]) -> Problem:
    """Return the answer to a request that raised an error of featx.

    What is the server's own concern is reported instead: its text may name files.
    """
    status = _STATUSES.get(error.code, 503)
    if error.code not in _STATUSES or error.code == "storage":
        report(str(error))
    if error.code == "storage":
        return Problem(
            status, error.code, "the server can't write to its disk", "Tell whoever runs it."
        )
    if error.code not in _STATUSES:
        return Problem(status, error.code, "the server can't do this now", "Tell whoever runs it.")
    return Problem(status, error.code, error.what, error.hint)


def answer_problems(app: FastAPI, report: Callable[[str], None]) -> None:
    """Have an application answer errors in this form. What hides behind them is reported."""

    def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FeatxError)
        return problem_of(error, report).response()

    def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AnyHTTPException)
        if isinstance(error, Problem):
            return error.response()
        if error.status_code == 400:  # of FastAPI, if a body isn't even text
            return Problem(422, "input", "the body isn't JSON").response()
        phrase = HTTPStatus(error.status_code).phrase.lower()
        code, what, hint = _KINDS.get(
            error.status_code, (phrase.replace(" ", "-"), f"the request failed: {phrase}", "")
        )
        answer = Problem(error.status_code, code, what, hint)
        answer.headers = {**(answer.headers or {}), **(error.headers or {})}
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_allowed(app, request.scope))
        return answer.response()

    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # pydantic's own answer repeats what was sent.
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))[:80] or "the request"
        return Problem(
            422, "input", f"{where}: {first['msg'].removeprefix('Value error, ')}"
        ).response()

    app.add_exception_handler(FeatxError, known)
    app.add_exception_handler(AnyHTTPException, of_http)
    app.add_exception_handler(RequestValidationError, invalid)


def _allowed(app: FastAPI, scope: Any) -> list[str]:
    """Return the methods of an address. A route doesn't know those of the others."""

    def taken(method: str) -> bool:
        asked = {**scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in app.routes)

    found = [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if taken(method)]
    return ["HEAD", *found] if "GET" in found else found  # `Guard` answers HEAD
