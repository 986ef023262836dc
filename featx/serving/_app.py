"""The web application: pages and API of a station."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST

from featx._version import __version__
from featx.serving._answers import Health, errors
from featx.serving._api import make_api
from featx.serving._guard import Guard
from featx.serving._login import Access, make_login
from featx.serving._problems import OPENAPI_PATH, answer_problems
from featx.serving._tokens import Tokens

if TYPE_CHECKING:
    from featx.serving._station import Station

_ABOUT = """Chest X-rays in, predictions of a featx run out.

Values are those of `featx predict`, bit for bit. Research software, not a medical device."""


def make_app(station: Station) -> FastAPI:
    """Make the web application of a station that runs."""
    app = FastAPI(
        title="featx",
        version=__version__,
        description=_ABOUT,
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    file, port = station.options.token_file, station.options.port
    access = Access(None if file is None else Tokens(file, station.report), f"featx_{port}")
    app.include_router(make_api(station))
    app.include_router(make_login(station, access))
    _add_health(app, station)
    if access.tokens is not None:
        _describe_tokens(app)
    answer_problems(app, station.report)
    app.add_middleware(Guard, station=station, access=access)
    return app


def _add_health(app: FastAPI, station: Station) -> None:
    @app.get("/healthz", summary="Ask whether the server answers", tags=["server"])
    def health() -> Health:
        """Say that the server answers, and whether the process that scores images runs."""
        return Health(status="ok", scoring="stopped" if station.process.pid is None else "running")

    @app.get(
        "/metrics",
        summary="Get numbers for Prometheus",
        tags=["server"],
        response_class=_TextResponse,
        responses=errors(),
    )
    def metrics() -> Response:
        """Return counts of images and deliveries, and a histogram of the time to a score."""
        return _TextResponse(station.metrics.text(), media_type=CONTENT_TYPE_LATEST)


class _TextResponse(Response):
    media_type = "text/plain"


def _describe_tokens(app: FastAPI) -> None:
    """Say in the OpenAPI description that requests need a token."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        found = describe()
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
        found["paths"]["/healthz"]["get"]["security"] = []
        return found

    app.openapi = openapi  # type: ignore[method-assign]
