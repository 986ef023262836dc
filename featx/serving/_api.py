"""The REST API: images in, predictions as `featx predict` writes them out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse

from featx.worklist import FullQueueError, Item, RefusedImageError

if TYPE_CHECKING:
    from featx.serving._station import Station

WAIT_SECONDS = 60.0


def make_api(station: Station) -> APIRouter:
    """Make the routes of the API."""
    router = APIRouter(prefix="/api/v1")
    worklist = station.worklist

    @router.post("/predictions")
    def predict(images: list[UploadFile], wait: float = WAIT_SECONDS) -> Any:
        """Score images. The answer is a list, one row an image and run."""
        rows: list[dict[str, Any]] = []
        taken: list[Item | dict[str, Any]] = []
        for image in images:
            name = image.filename or ""
            try:
                taken.append(worklist.add(image.file, name, "upload")[0])
            except RefusedImageError as error:
                taken.append({"id": None, "state": "refused", "path": name, "error": error.what})
            except FullQueueError as error:
                raise HTTPException(429, error.what, {"Retry-After": "5"}) from error
        ids = [item.id for item in taken if isinstance(item, Item)]
        done = _wait(station, ids, wait)
        for item in taken:
            rows.extend([item] if isinstance(item, dict) else done[item.id].as_rows(worklist.runs))
        waiting = any(row["state"] == "waiting" for row in rows)
        refused = all(row["state"] == "refused" for row in rows)
        return JSONResponse(rows, 422 if refused else 202 if waiting else 200)

    @router.get("/predictions/{identifier}")
    def get(identifier: Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")]) -> Any:
        """Return the predictions of an image."""
        item = worklist.get(identifier)
        if item is None:
            raise HTTPException(404, f"there is no image {identifier}")
        return item.as_rows(worklist.runs)

    return router


def _wait(station: Station, ids: list[str], seconds: float) -> dict[str, Item]:
    """Wait until images have their scores, or the time is over."""
    worklist, end = station.worklist, time.monotonic() + seconds
    while True:
        with worklist.changed:
            found = {id_: item for id_ in ids if (item := worklist.get(id_)) is not None}
            left = end - time.monotonic()
            if left <= 0 or not any(item.state == "waiting" for item in found.values()):
                return found
            worklist.changed.wait(min(left, 1.0))
