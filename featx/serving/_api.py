"""The REST API: images in, predictions as `featx predict` writes them out."""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, cast

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BeforeValidator

from featx.errors import FeatxError
from featx.serving._answers import EXAMPLE, EXAMPLE_ID, WAITING, PredictionRow, errors
from featx.serving._problems import Problem, problem_of
from featx.serving._uploads import FIELD, FORM, ReceivedFile, receive_files
from featx.worklist import Item, RefusedImageError
from featx_cache._text import printable
from featx_cache.files import storage_errors

if TYPE_CHECKING:
    from typing import IO

    from featx.serving._station import Station

WAIT_SECONDS = 60.0
MAX_LIST = 500
_NAMED = frozenset(
    {".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
)
"""Suffixes of files whose names are repeated. Those of DICOM files often name patients."""

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Files: JPEG, PNG, TIFF, BMP, WebP or DICOM.",
                    }
                },
            }
        },
        "image/*": _BINARY,
        "application/dicom": _BINARY,
        "application/octet-stream": _BINARY,
    },
}

Identifier = Annotated[
    str,
    PathParameter(
        description="Identifier of the image.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},
        examples=[EXAMPLE_ID],
    ),
]


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+]\d\d:\d\d)", re.ASCII)


def _as_rfc_3339(value: Any) -> Any:
    """Let a time zone's plus be a plus, which a query has as a space. Refuse what pydantic adds."""
    text = str(value).replace(" ", "+")
    if not _RFC_3339.fullmatch(text):
        raise ValueError("give a time such as 2026-11-29T06:33:58+00:00")
    return text


Time = Annotated[AwareDatetime, BeforeValidator(_as_rfc_3339)]


def make_api(station: Station) -> APIRouter:
    """Make the routes of the API."""
    router = APIRouter(prefix="/api/v1", tags=["predictions"])
    worklist = station.worklist

    @router.post(
        "/predictions",
        summary="Score images",
        response_model=list[PredictionRow],
        responses={
            200: {
                "description": "Every image has its score, or a reason why it has none.",
                "content": {"application/json": {"example": [EXAMPLE]}},
            },
            202: {
                "model": list[PredictionRow],
                "description": "Some images wait for their scores. Ask for them by their `id`.",
                "content": {"application/json": {"example": [WAITING]}},
            },
            **errors(400, 408, 413, 415, 422, 507),
        },
        openapi_extra={"requestBody": _BODY},
    )
    async def predict(
        request: Request,
        wait: Annotated[
            float,
            Query(ge=0, le=WAIT_SECONDS, description="Seconds to wait for the scores at most."),
        ] = WAIT_SECONDS,
    ) -> Response:
        """Take images, and wait for their scores. An image that is answered with an `id` is kept.

        There is a row for each file and run, in the order of the files. A file that isn't an image
        doesn't stop the others. An image that came before has its first answer again.
        """
        upload = _Upload(station, request.state.who)
        try:
            await upload.receive(request)
        except (FeatxError, Problem) as error:
            problem = error if isinstance(error, Problem) else problem_of(error, station.report)
            station.audit("refused", request.state.who, kind=problem.code)
            if upload.taken:
                problem.predictions = await upload.rows()
                problem.hint = "Send all again later: what was taken isn't taken twice."
            raise problem from error
        return await upload.answer(request, wait)

    @router.get(
        "/predictions",
        summary="List images",
        response_model=list[PredictionRow],
        responses=errors(422),
    )
    def images(
        limit: Annotated[
            int, Query(ge=1, le=MAX_LIST, description="Number of images at most.")
        ] = 100,
        since: Annotated[
            Time | None, Query(description="Time since which they came, with its zone.")
        ] = None,
        before: Annotated[
            Time | None,
            Query(
                description="Time before which they came. Give `received` of the last row for the "
                "next page."
            ),
        ] = None,
    ) -> Response:
        """List images, the newest first. There is a row for each image and run."""
        items = worklist.items(since=_seconds(since), before=_seconds(before), limit=limit)
        return JSONResponse([row for item in items for row in item.as_rows(worklist.runs)])

    @router.get(
        "/predictions/{identifier}",
        summary="Get an image",
        response_model=list[PredictionRow],
        responses=errors(404, 422),
    )
    def image(request: Request, identifier: Identifier) -> Response:
        """Return the predictions of an image, a row for each run."""
        item = find_image(station, identifier)
        if item.state != "waiting":  # who waits asks again and again
            station.audit("opened", request.state.who, item.id)
        return JSONResponse(item.as_rows(worklist.runs))

    explaining = CapacityLimiter(2)

    @router.get(
        "/predictions/{identifier}/explanation.png",
        summary="Explain a verdict",
        response_class=PngResponse,
        responses=errors(404, 422, json=False),
    )
    async def explanation(request: Request, identifier: Identifier) -> Response:
        """Return the figure that `featx explain` writes: the first run's heat map."""
        item = await to_thread.run_sync(find_kept_image, station, identifier)
        assert item.path is not None
        station.audit("opened", request.state.who, item.id)
        content = await to_thread.run_sync(
            station.process.figure, item.path, item.name, limiter=explaining
        )
        return PngResponse(content)

    return router


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def find_image(station: Station, identifier: str) -> Item:
    """Return an image, or answer that there is none."""
    item = station.worklist.get(identifier)
    if item is None:
        raise Problem(404, "not-found", "there is no such image", "It may be mistyped.")
    return item


def find_kept_image(station: Station, identifier: str) -> Item:
    """Return an image whose file is there."""
    item = find_image(station, identifier)
    if item.path is None:
        raise Problem(404, "not-kept", f"the image {item.code} isn't kept any more")
    return item


def _refused(name: str, reason: str) -> dict[str, Any]:
    """Return the row of a file that isn't taken."""
    row: dict[str, Any] = {column: None for column in PredictionRow.model_fields if column != "run"}
    return row | {"state": "refused", "path": printable(name), "prediction": "", "error": reason}


class _Upload:
    """Images of a request, as far as they were taken."""

    def __init__(self, station: Station, who: str) -> None:
        self._station, self._who = station, who
        self._worklist = station.worklist
        self.taken: list[Item | dict[str, Any]] = []

    async def receive(self, request: Request) -> None:
        """Take the files as they arrive.

        Raises
        ------
        FullQueueError, StorageError, Problem
            If the rest can't be taken. Nothing of the body is read if too many images wait.
        """
        limiter = self._station.upload_threads
        await to_thread.run_sync(self._worklist.require_room, limiter=limiter)
        limits = self._worklist.limits
        files = receive_files(request, self._worklist.images_folder, limits)
        async with aclosing(files):
            async for file in files:
                self.taken.append(await to_thread.run_sync(self._take, file, limiter=limiter))
        if not self.taken:
            raise Problem(422, "no-images", "no image was sent", f"Send files as `{FIELD}`.")

    def _take(self, file: ReceivedFile) -> Item | dict[str, Any]:
        try:
            file.content.seek(0)
            if file.too_large:
                most = self._worklist.limits.file_bytes
                raise RefusedImageError(f"a file of more than {most // 2**20} MiB", kind="size")
            with storage_errors(self._worklist.images_folder):  # the upload is in it, too
                item, _ = self._worklist.add(cast("IO[bytes]", file.content), file.name, "upload")
        except RefusedImageError as error:
            self._station.audit("refused", self._who, kind=error.kind)
            number = len(self.taken) + 1
            named = PurePath(file.name).suffix.lower() in _NAMED
            return _refused(file.name if named else f"file {number}", error.what)
        self._station.audit("received", self._who, item.id)
        return item

    async def answer(self, request: Request, seconds: float) -> Response:
        """Wait until the images have their scores, or the time is over."""
        ids = {item.id for item in self.taken if isinstance(item, Item)}
        end = time.monotonic() + seconds
        with self._station.changes.watch() as changed:
            while True:
                changed.clear()
                rows = await self.rows()
                waits = any(row["state"] == "waiting" for row in rows)
                left = end - time.monotonic()
                over = left <= 0 or self._station.changes.ended
                if not waits or over or await request.is_disconnected():
                    break
                await changed.wait(min(left, 1.0))
        if not ids:
            what = "no file was taken" if len(rows) > 1 else rows[0]["error"]
            raise Problem(422, "refused-image", what, predictions=rows)
        return JSONResponse(rows, 202 if waits else 200)

    async def rows(self) -> list[dict[str, Any]]:
        """Return a row for each file and run."""
        return await to_thread.run_sync(self._rows)

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for place, item in enumerate(self.taken):
            if isinstance(item, Item) and item.state == "waiting":
                self.taken[place] = item = self._worklist.get(item.id) or item
            rows.extend([item] if isinstance(item, dict) else item.as_rows(self._worklist.runs))
        return rows
