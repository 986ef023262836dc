"""Facts of runs, from their records alone: no network is loaded for them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from featx.runs import FittedRun
from featx.runs._record import RECORD_NAME
from featx.scoring._run_names import names_of
from featx.worklist._items import ID_DIGITS, RunFacts


def facts_of(runs: Sequence[FittedRun]) -> tuple[RunFacts, ...]:
    """Return the facts of runs.

    Raises
    ------
    InputError
        If there is no run, or one is there twice.
    OSError
        If a record has vanished.
    """
    names = names_of(runs, "Name each run once.")
    return tuple(_facts(run, name) for run, name in zip(runs, names, strict=True))


def _facts(run: FittedRun, name: str) -> RunFacts:
    record = run.record
    measured: Any = record.metrics.out_of_fold
    recall, accuracy, images = measured.recall, measured.accuracy, measured.images
    if record.calibrated is not None:
        recall, accuracy = map(record.calibrated.new.get, ("recall", "accuracy"))
        images = record.calibrated.images
    digest = hashlib.sha256((run.path / RECORD_NAME).read_bytes()).hexdigest()
    return RunFacts(
        digest[:ID_DIGITS], name, str(run.path), record.head.name, record.classes,
        record.threshold, record.band, recall, accuracy, images,
    )  # fmt: skip
