"""Tables of ``featx calibrate``: the old and the new operating point side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from featx_cli.tables import metric_name, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx.populations import CalibrationReport, LabelShiftReport


def points_table(report: CalibrationReport | LabelShiftReport, title_end: str, new: str) -> Table:
    """Compare both operating points. `new` is the name of the new one's column."""
    table = plain_table(f"Operating point{title_end}", ("", "old", new))
    table.add_row("Threshold", f"{report.old_threshold:.6g}", f"{report.record.threshold:.6g}")
    for row in report.to_frame().to_dict("records"):
        name = metric_name(str(row["metric"]))
        table.add_row(name, *(_value(row, point) for point in ("old", "new")))
    return table


def _value(row: dict[Any, Any], point: str) -> str:
    value, low, high = (row[f"{name}_{point}"] for name in ("value", "low", "high"))
    if math.isnan(value):
        return "undefined"
    return f"{value:.3f}" + ("" if math.isnan(low) else f" ({low:.3f} – {high:.3f})")
