"""Results that are to be delivered, in the database."""

from __future__ import annotations

import time

from featx.worklist._database import Database
from featx.worklist._items import Delivery

REMOVED = "the image isn't kept any more"


def find_due(database: Database, limit: int) -> list[Delivery]:
    """Return results that are to be delivered now, those first that are due first."""
    rows = database.rows(
        "SELECT image, run, destination, tries FROM deliveries "
        "WHERE done IS NULL AND next_try <= ? ORDER BY next_try LIMIT ?",
        time.time(),
        limit,
    )
    return [Delivery(*row) for row in rows]


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
