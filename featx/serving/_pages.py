"""Pages for the reader: the worklist, an image, the readings, and what these pages load."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, Response
from pydantic import BaseModel, Field

from featx.serving import _days as days
from featx.serving._answers import EXAMPLE_ID, errors
from featx.serving._api import Identifier, PngResponse, find_image, find_kept_image
from featx.serving._commands import calibrate_command, serve_command
from featx.serving._pictures import Pictures, as_png
from featx.serving._problems import Problem
from featx.serving._readings import (
    IMAGES_ADVISED,
    PATIENTS_NEEDED,
    READINGS_NAME,
    readings_of,
)
from featx.serving._templates import ENVIRONMENT
from featx.worklist import Item, RunFacts

if TYPE_CHECKING:
    from featx.serving._station import Station

SHOWN_IMAGES = 2000
"""Images on a page. Older ones are on the next."""

MAX_SHOWN = 16
"""Number of pictures and explanations that are made or read at once."""

RESERVED_KEYS = "jku?"
"""Letters that mean something else than a class."""

STATIC_TYPES = {".css": "text/css", ".js": "text/javascript"}


class Reading(BaseModel):
    """What a reader saw."""

    label: str = Field(
        max_length=500,
        description="Class of the run. An empty text takes the reading back.",
        examples=["PNEUMONIA"],
    )


class ReadingAnswer(BaseModel):
    """Reading of an image, and what is left to read."""

    id: str = Field(description="Identifier of the image.", examples=[EXAMPLE_ID])
    reading: str | None = Field(description="Class that the reader saw. Null if it was taken back.")
    earlier: str | None = Field(description="Reading that it takes the place of. Null without one.")
    next: str | None = Field(description="Next image that nobody has read. Null if there is none.")
    left: int = Field(description="Number of other images that nobody has read.")


class NearestAnswer(BaseModel):
    """Training image that is like the image."""

    label: str = Field(description="Its class.")
    distance: float = Field(description="Distance of the averaged embeddings, 1 - cosine: 0..2.")
    picture: str | None = Field(
        description="Address of its picture, relative to this one. Null if its file is gone."
    )


class ExplanationAnswer(BaseModel):
    """What explains the first run's verdict."""

    method: str = Field(description="Method of the heat map.")
    unit: str = Field(description="Unit of its values.")
    meaning: str = Field(description="Meaning of a value.")
    notes: list[str] = Field(description="Sentences to read with the map.")
    overlay: str = Field(description="Address of the map's picture, relative to this one.")
    nearest: list[NearestAnswer] = Field(description="Training images that are most like it.")


class RescoreAnswer(BaseModel):
    """What is scored again."""

    waiting: int = Field(description="Number of images that wait for their scores again.")


class CsvResponse(Response):
    """A table."""

    media_type = "text/csv"


@dataclass(frozen=True)
class _Neighbors:
    """Images around one, in the order of the worklist."""

    before: Item | None
    after: Item | None
    unread: Item | None
    left: int


def make_pages(station: Station) -> APIRouter:
    """Make the routes of the pages, and of what they load."""
    router = APIRouter()
    _add_worklist(router, station)
    _add_viewer(router, station)
    _add_pictures(router, station)
    _add_readings(router, station)

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: Annotated[str, PathParameter(pattern=r"^[a-z]+\.(css|js)$")]) -> Response:
        path = Path(str(files("featx.serving") / "static" / name))
        if not path.is_file():
            raise Problem(404, "not-found", "there is no such file")
        return FileResponse(path, media_type=STATIC_TYPES[path.suffix])

    return router


def _page(name: str, station: Station, status: int = 200, **values: Any) -> HTMLResponse:
    template = ENVIRONMENT.get_template(name)
    runs, asks = station.worklist.runs, station.options.token_file is not None
    text = template.render(runs=runs, keys=_keys(runs), asks_for_token=asks, **values)
    return HTMLResponse(text, status)


def _keys(runs: tuple[RunFacts, ...]) -> tuple[str, str]:
    """Return the keys of the negative and the positive class: their first letters, or n and p."""
    first = [name[:1].lower() for name in runs[0].classes]
    if len(set(first)) > 1 and all(
        key.isascii() and key.isalpha() and key not in RESERVED_KEYS for key in first
    ):
        return first[0], first[1]
    return "n", "p"


def _add_worklist(router: APIRouter, station: Station) -> None:
    rendered: dict[tuple[str, float | None], bytes] = {}
    one = threading.Lock()

    def fragment(version: str, before: float | None) -> bytes:
        """Render the list, once for each version."""
        with one:
            if (version, before) not in rendered:
                rendered.clear()
                values = _list_values(station, before)
                text = ENVIRONMENT.get_template("days.html.j2").render(**values)
                rendered[version, before] = text.encode()
            return rendered[version, before]

    @router.get("/", include_in_schema=False)
    def worklist(before: Annotated[float | None, Query(ge=0)] = None) -> Response:
        version = _version(station)
        content = fragment(version, before).decode()
        options = station.options
        return _page("worklist.html.j2", station, content=content, version=version,
                     options=options, limits=options.limits)  # fmt: skip

    @router.get("/worklist", include_in_schema=False)
    def changes(
        before: Annotated[float | None, Query(ge=0)] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        version = _version(station)
        headers = {"ETag": version}
        # A proxy that compresses marks the tag as weak.
        if if_none_match is not None and if_none_match.removeprefix("W/") == version:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(fragment(version, before), headers=headers)

    @router.post("/api/v1/rescore", summary="Score again", tags=["readings"], responses=errors(507))
    def rescore() -> RescoreAnswer:
        """Have images scored again that only a replaced run has scored."""
        return RescoreAnswer(waiting=station.worklist.rescore())


def _version(station: Station) -> str:
    """Return an ETag of the list's state, without asking the database."""
    watched = station.watched and (station.watched.notice, station.watched.in_words)
    notice = hash((_is_dead(station), station.loop.notice, watched)) & 0xFFFFFFFF
    return f'"{station.worklist.version:x}-{notice:x}-{date.today().toordinal()}"'


def _is_dead(station: Station) -> bool:
    return station.process.pid is None


def _list_values(station: Station, before: float | None) -> dict[str, Any]:
    worklist = station.worklist
    items = worklist.items(before=before, limit=SHOWN_IMAGES)
    found = days.days_of(items, worklist.runs)
    waiting = worklist.count_waiting()
    return {
        "runs": worklist.runs,
        "days": found,
        "names": worklist.run_names(),
        "waiting": waiting,
        "restarting": _is_dead(station),
        "notice": station.loop.notice,
        "watched": station.watched,
        "incomplete": sum(row.incomplete for day in found for row in day.rows),
        "older": items[-1].received.timestamp() if len(items) == SHOWN_IMAGES else None,
        "before": before,
        "first": sum(row.first for day in found for row in day.rows),
    }  # fmt: skip


def _add_viewer(router: APIRouter, station: Station) -> None:
    worklist = station.worklist

    @router.get("/images/{identifier}", include_in_schema=False)
    def image(request: Request, identifier: str) -> Response:
        item = worklist.get(identifier)
        if item is None:
            return _page("problem.html.j2", station, 404, title="No such image",
                         problem="There is no image of this address in the worklist.")  # fmt: skip
        station.audit("opened", request.state.who, item.id)
        (day,) = days.days_of([item], worklist.runs)
        near = _neighbors(station, item)
        return _page("image.html.j2", station, item=item, row=day.rows[0], near=near,
                     names=worklist.run_names(), keep_days=station.options.keep_days)  # fmt: skip

    @router.put(
        "/api/v1/predictions/{identifier}/reading",
        summary="Keep a reading",
        tags=["readings"],
        responses=errors(400, 404, 408, 413, 422, 507),
    )
    def read(request: Request, identifier: Identifier, reading: Reading) -> ReadingAnswer:
        """Keep what a reader saw in an image."""
        earlier = find_image(station, identifier).reading
        item = worklist.read(identifier, reading.label)
        station.audit("read", request.state.who, item.id)
        near = _neighbors(station, item)
        following = None if near.unread is None else near.unread.id
        return ReadingAnswer(
            id=item.id,
            reading=item.reading or None,
            earlier=earlier or None,
            next=following,
            left=near.left,
        )


def _neighbors(station: Station, item: Item) -> _Neighbors:
    worklist = station.worklist
    items = worklist.items(limit=SHOWN_IMAGES)
    order = list(days.images_of(days.days_of(items, worklist.runs)))
    place = next((n for n, each in enumerate(order) if each.id == item.id), None)
    if place is None:
        place, before, after = 0, None, None
    else:
        before = order[place - 1] if place else None
        after = order[place + 1] if place + 1 < len(order) else None
    # After the last comes the first.
    unread = [
        each
        for each in order[place:] + order[:place]
        if not each.reading and each.path is not None and each.id != item.id
    ]
    return _Neighbors(before, after, unread[0] if unread else None, len(unread))


def _add_pictures(router: APIRouter, station: Station) -> None:
    pictures = Pictures(station.process)
    about: dict[str, Any] = {"tags": ["pictures"], "responses": errors(404, 422, 507)}
    of_image = "/api/v1/predictions/{identifier}"

    # Who waits for the scoring process takes no thread from those who want a page.
    limiter = CapacityLimiter(MAX_SHOWN)

    def explain(identifier: str) -> dict[str, Any]:
        item = find_kept_image(station, identifier)
        return pictures.explanation(item, station.worklist.runs[0].id)

    async def explained(identifier: str) -> dict[str, Any]:
        return await to_thread.run_sync(explain, identifier, limiter=limiter)

    @router.get(f"{of_image}/picture.png", summary="See an image", response_class=PngResponse,
                **about)  # fmt: skip
    async def picture(request: Request, identifier: Identifier) -> Response:
        """Return the image as a PNG file, 1600 pixels at its longer side."""
        item = await to_thread.run_sync(find_kept_image, station, identifier)
        station.audit("opened", request.state.who, item.id)
        return _png(await to_thread.run_sync(pictures.picture, item, limiter=limiter))

    @router.get(f"{of_image}/explanation", summary="Explain a verdict in parts", **about)
    async def explanation(identifier: Identifier) -> ExplanationAnswer:
        """Return what explains the first run's verdict: method, notes, nearest training images."""
        found = await explained(identifier)
        nearest = [
            {**each, "picture": None if each["picture"] is None else f"nearest/{place}.png"}
            for place, each in enumerate(found["nearest"])
        ]
        return ExplanationAnswer.model_validate(
            {**found, "overlay": "overlay.png", "nearest": nearest}
        )

    @router.get(f"{of_image}/overlay.png", summary="See a heat map", response_class=PngResponse,
                **about)  # fmt: skip
    async def overlay(identifier: Identifier) -> Response:
        """Return the heat map alone: orange and violet, transparent where it is near zero."""
        return _png(as_png((await explained(identifier))["overlay"]))

    @router.get(f"{of_image}/nearest/{{number}}.png", summary="See a training image",
                response_class=PngResponse, **about)  # fmt: skip
    async def nearest(
        identifier: Identifier,
        number: Annotated[int, PathParameter(ge=0, le=99, description="Its place, from 0 on.")],
    ) -> Response:
        """Return one of the training images that are most like the image."""
        found = (await explained(identifier))["nearest"]
        return _png(as_png(found[number]["picture"]) if number < len(found) else None)


def _png(content: bytes | None) -> Response:
    if content is None:
        raise Problem(404, "not-found", "the file is gone")
    return PngResponse(content)


def _add_readings(router: APIRouter, station: Station) -> None:
    @router.get("/readings", include_in_schema=False)
    def readings(request: Request) -> Response:
        return _page("readings.html.j2", station, readings=readings_of(station.worklist),
                     command=calibrate_command(station), serve=serve_command(station),
                     needed=PATIENTS_NEEDED, advised=IMAGES_ADVISED,
                     keep_days=station.options.keep_days, here=request.url.hostname)  # fmt: skip

    @router.get(
        "/api/v1/readings.csv",
        summary="Export readings",
        tags=["readings"],
        response_class=CsvResponse,
        responses=errors(),
    )
    def export(request: Request) -> Response:
        """Return the readings as the CSV that `featx calibrate` takes: path, label, group."""
        station.audit("exported", request.state.who)
        headers = {"Content-Disposition": f'attachment; filename="{READINGS_NAME}"'}
        return CsvResponse(readings_of(station.worklist).csv(), headers=headers)
