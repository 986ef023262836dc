"""Items from the database: an image, its reading and what each run said of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from featx.scoring import Prediction
from featx.worklist._database import Database
from featx.worklist._image_files import ImageFiles, made_name
from featx.worklist._items import Item
from featx.worklist._scores import as_prediction

READING = "(SELECT label FROM readings WHERE image = images.id ORDER BY number DESC LIMIT 1)"
"""Class that a reader saw last. An empty text says that it was taken back."""

_PREDICTIONS = (
    "SELECT * FROM predictions WHERE image IN (SELECT value FROM json_each(?)) ORDER BY scored"
)


def find_items(database: Database, files: ImageFiles, condition: str, *values: Any) -> list[Item]:
    """Return the images that a condition of SQL chooses, in its order."""
    with database.together():
        rows = database.rows(f"SELECT *, {READING} AS reading FROM images {condition}", *values)
        ids = json.dumps([row["id"] for row in rows])
        made = database.rows(_PREDICTIONS, ids) if rows else []
    by_image: dict[str, list[Any]] = {}
    for row in made:
        by_image.setdefault(row["image"], []).append(row)
    return [_item(files, row, by_image.get(row["id"], ())) for row in rows]


def _item(files: ImageFiles, row: Any, made: Any) -> Item:
    identifier, suffix, kept = row["id"], row["suffix"], row["removed"] is None
    name = files.name(identifier, suffix) if kept else made_name(identifier, suffix)
    predictions: dict[str, Prediction] = {each["run"]: as_prediction(each, name) for each in made}
    return Item(
        identifier,
        datetime.fromtimestamp(row["received"]).astimezone(),
        row["origin"],
        row["format"],
        row["state"],
        files.path(identifier, suffix) if kept else None,
        name,
        row["patient"],
        row["study"],
        row["error"],
        row["reading"] or "",
        predictions,
    )
