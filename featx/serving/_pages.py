"""Pages for the reader: the worklist, an image, the readings, and what these pages load."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, Field

from featx.errors import FeatxError, InputError
from featx.serving import _days as days
from featx.serving._pictures import Pictures, as_png
from featx.serving._readings import (
    IMAGES_ADVISED,
    PATIENTS_NEEDED,
    READINGS_NAME,
    calibrate_command,
    images_folder,
    readings_of,
)
from featx.worklist import Item, RunFacts, ScoringDiedError

if TYPE_CHECKING:
    from featx.serving._station import Station

T = TypeVar("T")

SHOWN_IMAGES = 2000
"""Images on a page. Older ones are on the next."""

RESERVED_KEYS = "jku?"
"""Letters that mean something else than a class."""

STATIC_TYPES = {".css": "text/css", ".js": "text/javascript"}

Identifier = Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")]


class Reading(BaseModel):
    """What a reader saw: a class of the run, or an empty text to take a reading back."""

    label: str = Field(max_length=500, examples=["PNEUMONIA"])


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
            raise HTTPException(404, "there is no such file")
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(path, media_type=STATIC_TYPES[path.suffix], headers=headers)

    return router


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("featx.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": days.number, "share": days.share}
    environment.globals["verdict_words"] = days.verdict_words
    return environment


ENVIRONMENT = _environment()


def _page(name: str, station: Station, status: int = 200, **values: Any) -> HTMLResponse:
    template = ENVIRONMENT.get_template(name)
    text = template.render(runs=station.worklist.runs, keys=_keys(station.worklist.runs), **values)
    return HTMLResponse(text, status)


def _keys(runs: tuple[RunFacts, ...]) -> tuple[str, str]:
    """Return the keys of the negative and the positive class: their first letters, or n and p."""
    if runs:
        first = tuple(name[:1].lower() for name in runs[0].classes)
        if len(set(first)) > 1 and all(
            key.isascii() and key.isalpha() and key not in RESERVED_KEYS for key in first
        ):
            return first[0], first[1]
    return "n", "p"


def _add_worklist(router: APIRouter, station: Station) -> None:
    versions = _Versions(station)
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
        version = versions.now()
        content = fragment(version, before).decode()
        options = station.options
        return _page("worklist.html.j2", station, content=content, version=version,
                     options=options, limits=options.limits)  # fmt: skip

    @router.get("/worklist", include_in_schema=False)
    def changes(
        before: Annotated[float | None, Query(ge=0)] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        version = versions.now()
        headers = {"ETag": version, "Cache-Control": "no-store"}
        if if_none_match == version:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(fragment(version, before), headers=headers)

    @router.post("/api/v1/rescore")
    def rescore() -> dict[str, int]:
        """Have images scored again that only a replaced run has scored."""
        return {"waiting": station.worklist.rescore()}


class _Versions:
    """Tells one state of the worklist from the next, without asking the database."""

    def __init__(self, station: Station) -> None:
        self._station, self._start, self._number = station, secrets.token_hex(4), 0
        station.worklist.listen(self._count)

    def _count(self) -> None:
        self._number += 1

    def now(self) -> str:
        """Return an ETag."""
        notice = hash((_is_dead(self._station), self._station.loop.notice)) & 0xFFFFFFFF
        today = date.today().toordinal()
        return f'"{self._start}-{self._number}-{notice:x}-{today}"'


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
        "waiting": waiting,
        "restarting": _is_dead(station),
        "notice": station.loop.notice,
        "earlier": sum(
            row.item.path is not None for day in found for row in day.of("earlier")
        ),
        "older": items[-1].received.timestamp() if len(items) == SHOWN_IMAGES else None,
        "before": before,
        "first": sum(row.first for day in found for row in day.rows),
    }  # fmt: skip


def _add_viewer(router: APIRouter, station: Station) -> None:
    @router.get("/images/{identifier}", include_in_schema=False)
    def image(identifier: str) -> Response:
        worklist = station.worklist
        item = worklist.get(identifier)
        if item is None:
            return _page("problem.html.j2", station, 404, title="No such image",
                         problem="There is no image of this address in the worklist.")  # fmt: skip
        (day,) = days.days_of([item], worklist.runs)
        near = _neighbors(station, item)
        return _page("image.html.j2", station, item=item, row=day.rows[0], near=near,
                     keep_days=station.options.keep_days)  # fmt: skip

    @router.put("/api/v1/predictions/{identifier}/reading")
    def read(identifier: Identifier, reading: Reading) -> dict[str, Any]:
        """Keep what a reader saw. An empty label takes the reading back."""
        worklist = station.worklist
        _item_or_404(station, identifier)
        try:
            item = worklist.read(identifier, reading.label)
        except InputError as error:
            raise HTTPException(422, f"{error.what}. {error.hint}".strip()) from error
        near = _neighbors(station, item)
        return {
            "id": item.id,
            "reading": item.reading or None,
            "next": None if near.unread is None else near.unread.id,
            "left": near.left,
        }


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


def _item_or_404(station: Station, identifier: str) -> Item:
    item = station.worklist.get(identifier)
    if item is None:
        raise HTTPException(404, f"there is no image {identifier}")
    return item


def _kept_or_404(station: Station, identifier: str) -> Item:
    item = _item_or_404(station, identifier)
    if item.path is None:
        raise HTTPException(
            404, "the image isn't kept any more. Its scores and its reading are"
        )  # fmt: skip
    return item


def _add_pictures(router: APIRouter, station: Station) -> None:
    pictures = Pictures(station.process)
    private = {"Cache-Control": "no-store"}

    def explained(identifier: str) -> dict[str, Any]:
        item = _kept_or_404(station, identifier)
        return _made(lambda: pictures.explanation(item, station.worklist.runs[0].id))

    @router.get("/api/v1/predictions/{identifier}/picture.png", response_class=Response,
                responses=_PICTURE)  # fmt: skip
    def picture(identifier: Identifier) -> Response:
        """Return the image as a PNG file of at most 1600 pixels a side."""
        item = _kept_or_404(station, identifier)
        content = _made(lambda: pictures.picture(item))
        return Response(content, media_type="image/png", headers=private)

    @router.get("/api/v1/predictions/{identifier}/explanation")
    def explanation(identifier: Identifier) -> Any:
        """Return what explains the first run's verdict: method, notes, nearest training images."""
        found = explained(identifier)
        nearest = [
            {
                "label": each["label"],
                "distance": each["distance"],
                "picture": None if each["picture"] is None else f"nearest/{n}.png",
            }
            for n, each in enumerate(found["nearest"])
        ]
        about = {name: found[name] for name in ("method", "unit", "meaning", "notes")}
        return JSONResponse(about | {"overlay": "overlay.png", "nearest": nearest}, headers=private)

    @router.get("/api/v1/predictions/{identifier}/overlay.png", response_class=Response,
                responses=_PICTURE)  # fmt: skip
    def overlay(identifier: Identifier) -> Response:
        """Return the heat map alone: orange and violet, transparent where it is near zero."""
        return _png_or_404(explained(identifier)["overlay"])

    @router.get("/api/v1/predictions/{identifier}/nearest/{number}.png", response_class=Response,
                responses=_PICTURE)  # fmt: skip
    def nearest(identifier: Identifier, number: Annotated[int, PathParameter(ge=0, le=99)]) -> Any:
        """Return one of the training images that are most like the image."""
        found = explained(identifier)["nearest"]
        return _png_or_404(found[number]["picture"] if number < len(found) else None)


_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "A PNG file"},
    404: {"description": "There is no such image, or it isn't kept any more"},
    422: {"description": "It can't be decoded or explained"},
    503: {"description": "The scoring process is being started again"},
}


def _png_or_404(text: str | None) -> Response:
    content = as_png(text)
    if content is None:
        raise HTTPException(404, "the file is gone")
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except ScoringDiedError as error:
        raise HTTPException(
            503, f"{error.what}; it is started again", {"Retry-After": "5"}
        ) from error
    except FeatxError as error:
        raise HTTPException(422, error.what) from error


def _add_readings(router: APIRouter, station: Station) -> None:
    @router.get("/readings", include_in_schema=False)
    def readings(request: Request) -> Response:
        return _page("readings.html.j2", station, readings=readings_of(station),
                     command=calibrate_command(station), needed=PATIENTS_NEEDED,
                     advised=IMAGES_ADVISED, keep_days=station.options.keep_days,
                     here=request.url.hostname)  # fmt: skip

    @router.get("/api/v1/readings.csv", response_class=Response,
                responses={200: {"content": {"text/csv": {}}}})  # fmt: skip
    def export() -> Response:
        """Return the readings as the CSV that `featx calibrate` takes: path, label, group."""
        text = readings_of(station).csv(images_folder(station))
        headers = {
            "Content-Disposition": f'attachment; filename="{READINGS_NAME}"',
            "Cache-Control": "no-store",
        }
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
