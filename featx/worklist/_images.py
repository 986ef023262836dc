"""Images in the database and on the disk: a row and a file that come and go together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from featx.worklist._arrivals import Arrival
from featx.worklist._database import Database
from featx.worklist._deliveries import ask_again
from featx.worklist._image_files import ImageFiles
from featx.worklist._items import Origin, RunFacts
from featx.worklist._scores import UNSCORED


def keep(
    database: Database, files: ImageFiles, arrived: Arrival, name: str, origin: Origin
) -> None:
    """Put a file in its place, and only then its row into the database."""
    try:
        files.put(arrived, name)
        with database.transaction() as change:
            change(
                "INSERT INTO images (id, received, origin, format, suffix, patient, study, "
                "state) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting')",
                (arrived.id, _now(), origin, arrived.format, arrived.suffix,
                 arrived.patient, arrived.study),
            )  # fmt: skip
    except BaseException:
        files.remove(arrived.id)
        raise


def keep_again(
    database: Database,
    files: ImageFiles,
    arrived: Arrival,
    name: str,
    origin: Origin,
    runs: Sequence[RunFacts],
    destinations: Sequence[str],
) -> bool:
    """Take an image that came before, if its file, its score or a delivery of it lacks.

    Say whether it did.
    """
    (known,) = database.rows("SELECT removed FROM images WHERE id = ?", arrived.id)
    removed = known["removed"]
    # What lies in the watched folder for longer than images are kept isn't taken in again.
    if origin == "watch" and removed is not None:
        return False
    lost = not files.path(arrived.id, arrived.suffix).is_file()
    if lost:
        files.put(arrived, name)
    changes = 0
    with database.transaction() as change:
        if removed is not None:
            changes += change(
                "UPDATE images SET received = ?, removed = NULL WHERE id = ?",
                (_now(), arrived.id),
            ).rowcount
        if lost:
            changes += change(
                "UPDATE images SET state = 'waiting', tries = 0, error = '' "
                "WHERE id = ? AND state = 'failed'",
                (arrived.id,),
            ).rowcount
            # Results that were given up without the file can be made now.
            change(
                "UPDATE deliveries SET done = NULL, next_try = 0 WHERE image = ? AND error != ''",
                (arrived.id,),
            )
        # Another look at the same folder isn't somebody who asks for a score.
        for run in runs if origin != "watch" else ():
            changes += change(
                "UPDATE images SET state = 'waiting' WHERE id = ? AND state = 'scored' AND "
                f"{UNSCORED}",
                (arrived.id, run.id),
            ).rowcount
            if origin == "dicom":
                changes += ask_again(change, arrived.id, run.id, destinations)
    return bool(changes)


def find_old(database: Database, before: float, before_at_all: float) -> list[str]:
    """Return images that came before a time and wait for no score.

    Those whose results wait to be delivered are among them only if they came before the second
    time.
    """
    rows = database.rows(
        "SELECT id FROM images WHERE removed IS NULL AND received < ? AND state != 'waiting' "
        "AND (received < ? OR NOT EXISTS "
        "(SELECT 1 FROM deliveries WHERE image = images.id AND done IS NULL))",
        before,
        before_at_all,
    )
    return [row["id"] for row in rows]


def remove(database: Database, files: ImageFiles, image: str) -> bool:
    """Remove an image's files. Return whether they were: it may wait for a score since."""
    with database.transaction() as change:
        if not change(
            "UPDATE images SET removed = ? WHERE id = ? AND state != 'waiting'",
            (time.time(), image),
        ).rowcount:
            return False
        files.remove(image)
    return True


def _now() -> float:
    """Return the time as a `datetime` has it, so that a list can go on from there."""
    return round(time.time(), 6)
