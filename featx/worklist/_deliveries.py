"""Results that are to be delivered, in the database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from featx.worklist._database import Database
from featx.worklist._items import Delivery, Item, Result, RunFacts

_AGAIN = (
    "INSERT INTO deliveries (image, run, destination, next_try) "
    "SELECT image, run, ?, ? FROM predictions JOIN images ON image = id "
    "WHERE image = ? AND run = ? AND score IS NOT NULL AND format = 'DICOM' ON CONFLICT DO NOTHING"
)
LONGEST_WAIT_SECONDS = 3600.0
"""Time after which a result is due at the latest. If it would be later, the clock was set back."""


def find_due(database: Database, limit: int) -> list[Delivery]:
    """Return results that are to be delivered now, those first that are due first."""
    now = time.time()
    rows = database.rows(
        "SELECT image, run, destination, tries FROM deliveries WHERE done IS NULL AND "
        "(next_try <= ? OR next_try > ?) ORDER BY next_try LIMIT ?",
        now,
        now + LONGEST_WAIT_SECONDS,
        limit,
    )
    return [Delivery(*row) for row in rows]


def find_result(database: Database, item: Item, run: str) -> Result | None:
    """Return what a run said of an image. None if it didn't score it."""
    prediction = item.predictions.get(run)
    if prediction is None or prediction.score is None:
        return None
    (found,) = database.rows(
        "SELECT runs.*, predictions.scored FROM runs JOIN predictions ON run = id "
        "WHERE id = ? AND image = ?",
        run,
        item.id,
    )
    low, high = found["band_low"], found["band_high"]
    facts = RunFacts(
        run, found["name"], found["path"], found["head"], (found["negative"], found["positive"]),
        found["threshold"], None if low is None else (low, high),
    )  # fmt: skip
    return Result(item, facts, prediction, datetime.fromtimestamp(found["scored"]).astimezone())


def ask_again(change: Any, image: str, run: str, destinations: Sequence[str]) -> int:
    """Have a result delivered to places that were never to get it."""
    return sum(
        change(_AGAIN, (destination, time.time(), image, run)).rowcount
        for destination in destinations
    )


def count_open(database: Database) -> int:
    """Return the number of results that were neither delivered nor given up."""
    return int(database.rows("SELECT count(*) FROM deliveries WHERE done IS NULL")[0][0])


def keep_outcome(
    database: Database, delivery: Delivery, error: str, retry_in: float | None
) -> None:
    """Note how a delivery went. See `Worklist.delivered`."""
    now = time.time()
    done = None if error and retry_in is not None else now
    with database.transaction() as change:
        change(
            "UPDATE deliveries SET done = ?, tries = tries + 1, error = ?, next_try = ? "
            "WHERE image = ? AND run = ? AND destination = ?",
            (done, error, now + (retry_in or 0.0), delivery.image, delivery.run,
             delivery.destination),
        )  # fmt: skip
