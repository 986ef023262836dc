"""What runs said of images, in the database: runs, predictions, blame."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from featx.scoring import Prediction
from featx.worklist._database import Database
from featx.worklist._items import RunFacts

MAX_TRIES = 2
"""Number of times that an image may stop the process that scores it."""

PREDICTION_COLUMNS = tuple(name for name in Prediction.__slots__ if name != "path")
_PREDICTION = (
    f"INSERT OR REPLACE INTO predictions (image, run, scored, {', '.join(PREDICTION_COLUMNS)}) "
    f"VALUES (?, ?, ?{', ?' * len(PREDICTION_COLUMNS)})"
)
_RUN = (
    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, path = excluded.path"
)
_DELIVERY = (
    "INSERT INTO deliveries (image, run, destination, next_try) "
    "SELECT id, ?, ?, ? FROM images WHERE id = ? AND format = 'DICOM' ON CONFLICT DO NOTHING"
)
UNSCORED = "NOT EXISTS (SELECT 1 FROM predictions WHERE image = images.id AND run = ?)"
"""Condition that a run hasn't scored an image."""

_RESCORE = (
    "UPDATE images SET state = 'waiting', again = 1, tries = 0, error = '' "
    f"WHERE removed IS NULL AND state != 'waiting' AND {UNSCORED}"
)


def keep_runs(database: Database, runs: Sequence[RunFacts]) -> None:
    """Keep the facts of runs."""
    with database.transaction() as change:
        for run in runs:
            low, high = run.band or (None, None)
            about = (run.id, run.name, run.path, run.head, *run.classes, run.threshold, low, high)
            change(_RUN, (*about, time.time()))


def keep_predictions(
    database: Database,
    runs: Sequence[RunFacts],
    scored: Iterable[tuple[str, Sequence[Prediction]]],
    destinations: Sequence[str],
) -> None:
    """Keep the predictions of runs for images, and that results are to be delivered."""
    now = time.time()
    with database.transaction() as change:
        for identifier, predictions in scored:
            for run, made in zip(runs, predictions, strict=True):
                values = [getattr(made, name) for name in PREDICTION_COLUMNS]
                change(_PREDICTION, (identifier, run.id, now, *values))
                for destination in destinations if made.score is not None else ():
                    change(_DELIVERY, (run.id, destination, now, identifier))
            errors = [made.error for made in predictions if made.score is None]
            failed = len(errors) == len(predictions)
            change(
                "UPDATE images SET state = ?, error = ?, again = 0 WHERE id = ?",
                ("failed" if failed else "scored", errors[0] if failed else "", identifier),
            )


def keep_blame(database: Database, identifier: str, reason: str) -> None:
    """Note that an image stopped the process that scores it. After two times it fails."""
    with database.transaction() as change:
        change("UPDATE images SET tries = tries + 1 WHERE id = ?", (identifier,))
        change(
            "UPDATE images SET state = 'failed', error = ? WHERE id = ? AND tries >= ?",
            (reason, identifier, MAX_TRIES),
        )


def ask_again(database: Database, runs: Sequence[RunFacts]) -> int:
    """Have kept images scored that one of the runs hasn't scored. Return their number."""
    with database.transaction() as change:
        return sum(change(_RESCORE, (run.id,)).rowcount for run in runs)


def find_times(database: Database, since: float) -> list[tuple[float, float]]:
    """Return when images were received and first scored. See `Worklist.times`."""
    rows = database.rows(
        "SELECT received, min(scored) AS first FROM predictions JOIN images "
        "ON predictions.image = images.id WHERE images.id IN "
        "(SELECT image FROM predictions WHERE scored > ?) GROUP BY images.id HAVING first > ?",
        since,
        since,
    )
    return [(row["received"], row["first"]) for row in rows]


def as_prediction(row: Any, name: str) -> Prediction:
    """Make a prediction of its row."""
    values = {column: row[column] for column in PREDICTION_COLUMNS}
    for column in ("uncertain", "unlike_training"):
        if values[column] is not None:
            values[column] = bool(values[column])
    return Prediction(path=name, **values)
