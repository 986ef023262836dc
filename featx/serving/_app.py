"""The web application: pages and API of a station."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from featx._version import __version__
from featx.serving._api import make_api
from featx.serving._pages import make_pages

if TYPE_CHECKING:
    from featx.serving._station import Station


def make_app(station: Station) -> FastAPI:
    """Make the web application of a station that runs."""
    app = FastAPI(title="featx", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(make_api(station))
    app.include_router(make_pages(station))
    return app
