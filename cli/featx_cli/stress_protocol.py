"""``featx evaluate --protocol stress``: what is printed, drawn and written of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx_cache._spreadsheets import to_csv
from featx_cache.files import output_path
from featx_cli.console import TerminalProgress, output, say
from featx_cli.files import require_output, to_standard_output, write_text
from featx_cli.tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx._run import Run
    from featx.populations import StressReport

COLUMNS = ("", "strength", "images", "ROC AUC", "recall", "accuracy", "specificity")
FIGURES = (".png", ".svg", ".pdf")
ALL = "all"


@dataclass(frozen=True, slots=True)
class StressOptions:
    """Options of ``featx evaluate`` that only the stress test has."""

    images: str | None
    disturbance: list[str] | None
    figure: Path | None

    def refuse_without_protocol(self) -> None:
        """Refuse these options for everything else."""
        from featx.errors import InputError

        for name in ("images", "disturbance", "figure"):
            if getattr(self, name):
                raise InputError(f"--{name} is for --protocol stress", "Add that.")

    @property
    def number(self) -> int | None:
        """Number of images, or None for all."""
        from featx.errors import InputError
        from featx.populations._stress_protocol import IMAGES

        if self.images is None:
            return IMAGES
        if self.images == ALL:
            return None
        if not self.images.isdecimal():
            raise InputError(f"--images can't be {self.images!r}", "Give a number, or all.")
        return int(self.images)

    def require_figure(self, inputs: list[Path], *, force: bool) -> None:
        """Refuse the name of the figure before the long work."""
        from featx.errors import InputError

        if self.figure is None:
            return
        if self.figure.suffix.lower() not in FIGURES:
            raise InputError(
                f"--figure can't be {self.figure}",
                f"Give a name that ends in {' or '.join(FIGURES)}.",
            )
        require_output(self.figure, "--figure", force=force, inputs=inputs)


def evaluate_stress(
    run: Run,
    data: list[Path],
    options: StressOptions,
    weights: str | None,
    files: tuple[Path | None, Path | None],
    *,
    force: bool,
) -> None:
    """Run the stress test, print it, and write ``files``: one for JSON, one for CSV."""
    from featx.data import positive_sentence
    from featx.errors import InputError
    from featx.plots._stress import save_stress_curves

    if len(data) > 1:
        raise InputError(
            "--protocol stress takes one cache, or one folder that has the run's images now",
            "Leave it out to take the run's own.",
        )
    report = run.stress_protocol(
        data[0] if data else None,
        images=options.number,
        disturbances=options.disturbance or (),
        weights=weights,
        progress=TerminalProgress(),
    )
    json_file, csv_file = files
    if json_file is not None:
        write_text(json_file, json.dumps(report.as_dict(), indent=2) + "\n", force=force)
    if csv_file is not None:
        write_text(csv_file, to_csv(report.to_frame()), force=force)
    if options.figure is not None:
        kind = options.figure.suffix.lower().lstrip(".")
        with output_path(options.figure, replace=force) as temporary:
            save_stress_curves(report.to_frame(), temporary, kind, report.criterion.accuracy_floor)
        say(f"Figure: {options.figure}")
    if to_standard_output(json_file) or to_standard_output(csv_file):
        return
    console = output()
    console.print(positive_sentence(run.record.classes))
    console.print(stress_table(report))
    for note in report.notes:
        console.print(note)


def stress_table(report: StressReport) -> Table:
    """List all results. The name of a disturbance stands at its first strength."""
    title = f"{report.head.name} under disturbances, with 95 % intervals by patients"
    table = plain_table(title, COLUMNS, words=(0, 1))
    table.padding = (0, 1, 0, 0)
    for column in (1, 2, -1):  # The others go on two lines where room is short.
        table.columns[column].no_wrap = True
    last, strength = "", 0
    for row in report.to_frame().to_dict("records"):
        if not row["strength"] and strength:
            table.add_section()
        numbers = (_with_interval(row, name) for name in ("roc_auc", "recall", "accuracy"))
        name = "" if row["name"] == last else row["name"]
        last, strength = row["name"], row["strength"]
        specificity = f"{row['specificity']:.3f}"
        table.add_row(name, row["value"], f"{row['images']:,}", *numbers, specificity)
    return table


def _with_interval(row: Mapping[Any, float], name: str) -> str:
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if low != low:  # NaN: there is no interval
        return f"{value:.3f}"
    # Rounded outwards: an interval of two decimals must hold a value of three.
    low, high = math.floor(low * 100) / 100, math.ceil(high * 100) / 100
    return f"{value:.3f} {low:.2f}–{high:.2f}"
