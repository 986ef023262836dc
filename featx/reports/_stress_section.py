"""Section of a report on what a run keeps under disturbances."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._arguments import wrong_type
from featx.errors import FeatxError, InputError
from featx.evaluation import evaluate_scores
from featx.plots import stress_curves
from featx.populations import StressReport
from featx.populations._stress_report import SHOWN, WITH_INTERVAL, stress_frame
from featx.reports._document import Block, Items, Section, Table, Text
from featx.reports._pictures import svg_picture
from featx.reports._report_data import Missing, ReportData, RunData
from featx.reports._wording import DisplayNames, metric_name, number, with_interval
from featx.runs import FittedRun
from featx.runs._record import OOF_COPIES_NAME
from featx_cache._text import printable


@dataclass(frozen=True, slots=True)
class StressTable:
    """What the stress test of a run found.

    Attributes
    ----------
    created, threshold
        Time of the run's fit, and its threshold, by which the run is known.
    table
        See `featx.populations.StressReport.to_frame`.
    notes
        Sentences to read with the table.
    """

    created: str
    threshold: float
    table: pd.DataFrame
    notes: tuple[str, ...]

    def is_of(self, run: FittedRun) -> bool:
        """Say whether a run was tested, wherever it is now."""
        record = run.record
        return (self.created, self.threshold) == (record.created, record.threshold)


def read_stress(
    given: Iterable[StressReport | str | Path], runs: Sequence[FittedRun]
) -> list[StressTable]:
    """Take or read results of the stress test. Each is of one of the runs.

    Raises
    ------
    InputError
        If a file is missing or damaged, or one is of another run.
    """
    found = []
    for one in given:
        if isinstance(one, StressReport):
            name, table = str(one), _parsed(one.as_dict())
        elif isinstance(one, str | Path):
            name, table = str(one), _read(Path(one))
        else:
            raise wrong_type("stress", one, "a StressReport or its file")
        if not any(table.is_of(run) for run in runs):
            raise InputError(
                f"{name} is the stress test of another run, fitted {table.created}",
                "Make it again for this run.",
                parameter="stress",
            )
        found.append(table)
    return found


def _read(path: Path) -> StressTable:
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = f" ({(error.strerror or '').lower()})" if isinstance(error, OSError) else ""
        raise InputError(
            f"{path} is no result of the stress test{why}",
            "`run.stress_protocol` makes one.",
            parameter="stress",
        ) from error


def _parsed(plain: Mapping[str, Any]) -> StressTable:
    table = stress_frame(plain)
    if table.empty:
        raise ValueError("it has no results")
    notes = tuple(printable(str(note)) for note in plain["notes"])
    for column in ("name", "value"):
        table[column] = table[column].map(printable)
    return StressTable(printable(str(plain["created"])), float(plain["threshold"]), table, notes)


def stress_section(
    data: ReportData, tests: Sequence[StressTable], names: DisplayNames, missing: list[Missing]
) -> Section | None:
    """Tell what each run keeps on copies and under disturbances. None if nothing is known."""
    blocks: list[Block] = []
    for run in data.runs:
        blocks += _of_copies(run, missing)
        for test in tests:
            if test.is_of(run.run):
                blocks += _of_test(run, test, names)
    if not blocks:
        return None
    text = Text(
        "Images of patients that a head hadn't seen, changed as another hospital, device or "
        "exposure might change them, at the run's own threshold."
    )
    return Section(
        "Under disturbances",
        "disturbances",
        (text, *blocks),
        "CLAIM: robustness or sensitivity analysis",
    )


def _of_copies(run: RunData, missing: list[Missing]) -> list[Block]:
    """Measure the out-of-fold scores of the augmented copies that the cache has."""
    if OOF_COPIES_NAME not in run.record.files:
        return []
    try:
        known = run.run.copies_scores
    except FeatxError as error:
        missing.append(Missing(f"augmented copies of {run.name}", str(error)))
        return []
    metrics = evaluate_scores(known, run.record.threshold, seed=run.record.seed)
    row = (f"{metrics.images:,}", *(with_interval(metrics, name) for name in SHOWN))
    columns = ("copies", *map(metric_name, SHOWN))
    return [Table(columns, (row,), f"{run.name}: augmented copies, out of fold.", frozenset())]


def _of_test(run: RunData, test: StressTable, names: DisplayNames) -> list[Block]:
    rows = [
        (
            row["name"],
            row["value"],
            f"{row['images']:,}",
            *(_with_interval(row, name) for name in WITH_INTERVAL),
            number(row["specificity"]),
        )
        for row in test.table.to_dict("records")
    ]
    columns = ("images", "strength", "number", *map(metric_name, SHOWN))
    caption = f"{run.name} under disturbances. In brackets: 95 % intervals by patients."
    figure = stress_curves(
        test.table, accuracy_floor=run.record.criterion.accuracy_floor, shown=False
    )
    picture = svg_picture(
        figure.axes[0],
        f"disturbances-{run.key}",
        f"ROC AUC, recall and accuracy of {run.name} by the strength of each disturbance",
    )
    notes = Items(tuple(names.message(note) for note in test.notes))
    return [picture, Table(columns, tuple(rows), caption, frozenset({0, 1}), folded=True), notes]


def _with_interval(row: Mapping[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return number(row[name]) + ("" if np.isnan(low) else f" ({low:.3f} – {high:.3f})")
