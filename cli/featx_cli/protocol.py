"""``featx evaluate --protocol shift``: what is printed and written of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from featx_cache._spreadsheets import to_csv
from featx_cli.console import TerminalProgress, output
from featx_cli.files import to_standard_output, write_text
from featx_cli.sources import is_cache
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
    """Run the protocol on the run's cache, or on the one that was given, and print it.

    Raises
    ------
    InputError
        When something else than one cache was given.
    """
    from featx.data._positive import positive_sentence
    from featx.errors import InputError
    from featx.evaluation import counts_in_words
    from featx.populations import shift_protocol
    from featx_cache import open_cache

    if len(data) > 1 or (data and not is_cache(data[0])):
        raise InputError(
            "--protocol shift trains on a cache of labelled images, and takes one at most",
            "Leave it out to take the cache that the run was fitted on.",
        )
    cache = open_cache(data[0]) if data else None
    report = shift_protocol(run, cache, columns=seams, progress=TerminalProgress())
    if json_file is not None:
        write_text(json_file, as_json(run, report), force=force)
    if csv_file is not None:
        write_text(csv_file, to_csv(report.table()), force=force)
    if to_standard_output(json_file) or to_standard_output(csv_file):
        return
    console = output()
    console.print(positive_sentence(run.record.classes))
    console.print(protocol_table(report))
    console.print(
        "Each seam: trained on one side, used on the other, patients never shared; the threshold "
        f"has the highest recall with accuracy ≥ {report.accuracy_floor:g} out of fold on the "
        "side that was trained on. Less: than the ROC AUC of ordinary folds."
    )
    for result in (report.ordinary, *report.seams):
        if not result.feasible:
            console.print(
                f"{result.name}: no threshold reached the floor; the most accurate was taken."
            )
    worst = report.worst
    console.print(
        f"It loses most across {worst.name}: {report.drop(worst):.4f} ROC AUC, and accuracy is "
        f"{worst.metrics.accuracy:.4f} there at a threshold that kept {report.accuracy_floor:g}. "
        + counts_in_words(worst.metrics.confusion, run.record.classes)
    )


def protocol_table(report: ProtocolReport) -> Table:
    """List ordinary folds and seams."""
    table = plain_table(f"{report.head.name} across seams", COLUMNS)
    table.padding = (0, 1, 0, 0)
    for row in report.table().to_dict("records"):
        numbers = (f"{row[name]:.4f}" for name in ("recall", "accuracy", "specificity"))
        drop = "" if row["name"] == report.ordinary.name else f"{row['drop']:.4f}"
        drop = drop.replace("-", "−")
        area = f"{row['roc_auc']:.4f}"
        table.add_row(row["name"], f"{row['images']:,}", area, drop, *numbers)
    return table


def as_json(run: Run, report: ProtocolReport) -> str:
    """Return the results as JSON text."""
    content = {
        "run": str(run.path),
        "head": report.head.model_dump(mode="json"),
        "accuracy_floor": report.accuracy_floor,
        "ordinary": report.ordinary.as_dict(),
        "seams": [{**s.as_dict(), "roc_auc_drop": report.drop(s)} for s in report.seams],
    }
    return json.dumps(content, indent=2) + "\n"
