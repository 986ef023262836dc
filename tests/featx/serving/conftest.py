"""A service on a tiny run, and ways to ask it."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from featx.serving import Service
from featx.serving._app import make_app
from featx.serving._listening import listen
from featx.serving._server import answering
from featx.worklist import Limits

Variant = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(scope="session")
def reports() -> list[str]:
    """What the service reports: nothing, or a test takes it out."""
    return []


@pytest.fixture(scope="session")
def service(
    tiny_run: Path, tmp_path_factory: pytest.TempPathFactory, reports: list[str]
) -> Iterator[Service]:
    """A service without tokens that many tests share: their images pile up in it."""
    state = tmp_path_factory.mktemp("served") / "state"
    with Service(tiny_run, port=0, state=state, runtime="ncnn", report=reports.append) as running:
        yield running


@pytest.fixture
def client(service: Service, reports: list[str]) -> Iterator[httpx.Client]:
    """A program that asks it. Nothing is reported while it does."""
    with httpx.Client(base_url=service.url, timeout=60.0) as client:
        yield client
    assert reports == []


@pytest.fixture
def variant(service: Service) -> Variant:
    """Serve the same worklist with other options. Gives a program that asks that server."""

    @contextlib.contextmanager
    def serve(*, limits: Limits | None = None, **options: Any) -> Iterator[httpx.Client]:
        station, worklist = copy.copy(service.station), service.station.worklist
        usual, limits = worklist.limits, limits or worklist.limits
        with listen("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
            station.options = replace(station.options, port=port, limits=limits, **options)
            worklist.limits = limits
            try:
                url = f"http://127.0.0.1:{port}"
                with (
                    answering(make_app(station), sock),
                    httpx.Client(base_url=url, timeout=60) as client,
                ):
                    yield client
            finally:
                worklist.limits = usual

    return serve


@pytest.fixture
def scoring_waits(service: Service) -> Iterator[None]:
    """Keep the scoring process busy during a test."""
    with service.station.process._in_turn(urgent=False):
        yield


_numbers = iter(range(10**6))


def new_png(side: int = 40) -> bytes:
    """An image that no test has sent before."""
    pixels = np.random.default_rng(next(_numbers)).integers(0, 255, (side, side), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def form(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Files of an upload."""
    return [("images", file) for file in files]
