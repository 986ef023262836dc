"""What ``featx calibrate`` prints: the old and the new operating point side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from featx_cli.tables import METRICS, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx.populations import CalibrationReport, LabelShiftReport


def points_table(report: CalibrationReport | LabelShiftReport, where: str, new: str) -> Table:
    """Compare both operating points; `where` ends the title, `new` is a column's."""
    table = plain_table(f"Operating point{where}", ("", "old", new))
    table.add_row("Threshold", f"{report.old_threshold:.6g}", f"{report.record.threshold:.6g}")
    names = dict(METRICS)
    for row in report.to_frame().to_dict("records"):
        table.add_row(names[str(row["metric"])], *(_value(row, which) for which in ("old", "new")))
    return table


def _value(row: dict[Any, Any], which: str) -> str:
    value, low, high = (row[f"{name}_{which}"] for name in ("value", "low", "high"))
    if math.isnan(value):
        return "undefined"
    return f"{value:.3f}" + ("" if math.isnan(low) else f" ({low:.3f} – {high:.3f})")
