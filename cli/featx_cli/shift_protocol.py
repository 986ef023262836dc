"""``featx evaluate --protocol shift``: what is printed and written of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from featx_cache._spreadsheets import to_csv
from featx_cli.console import TerminalProgress, output
from featx_cli.files import to_standard_output, write_text
from featx_cli.tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx._run import Run
    from featx.populations import ProtocolReport

COLUMNS = ("", "images", "ROC AUC", "less", "recall", "accuracy", "specificity")


def evaluate_protocol(
    run: Run,
    data: list[Path],
    seams: list[str],
    json_file: Path | None,
    csv_file: Path | None,
    *,
    force: bool,
) -> None:
    """Run the protocol on the run's cache, or on the one that was given, and print it."""
    from featx.data import positive_sentence
    from featx.errors import InputError
    from featx.scoring._labelled_data import is_cache

    if len(data) > 1 or (data and not is_cache(data[0])):
        raise InputError(
            "--protocol shift trains on a cache of labelled images, and takes one at most",
            "Leave it out to take the cache that the run was fitted on.",
        )
    report = run.shift_protocol(seams, cache=data[0] if data else None, progress=TerminalProgress())
    if json_file is not None:
        write_text(json_file, json.dumps(report.as_dict(), indent=2) + "\n", force=force)
    if csv_file is not None:
        write_text(csv_file, to_csv(report.to_frame()), force=force)
    if to_standard_output(json_file) or to_standard_output(csv_file):
        return
    console = output()
    console.print(positive_sentence(run.record.classes))
    console.print(protocol_table(report))
    for note in report.notes:
        console.print(note)


def protocol_table(report: ProtocolReport) -> Table:
    """List ordinary folds and seams."""
    table = plain_table(f"{report.head.name} across seams", COLUMNS)
    table.padding = (0, 1, 0, 0)
    for row in report.to_frame().to_dict("records"):
        numbers = (f"{row[name]:.4f}" for name in ("recall", "accuracy", "specificity"))
        drop = "" if row["name"] == report.ordinary.name else f"{row['drop']:.4f}"
        drop = drop.replace("-", "−")
        area = f"{row['roc_auc']:.4f}"
        table.add_row(row["name"], f"{row['images']:,}", area, drop, *numbers)
    return table
