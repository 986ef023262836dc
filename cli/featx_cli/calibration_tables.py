"""What ``featx calibrate`` prints: the old and the new operating point side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from featx_cli.tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx.evaluation import Interval
    from featx.populations import CalibrationReport, LabelShiftReport

_ROWS = (
    ("accuracy", "Accuracy"),
    ("recall", "Recall (sensitivity)"),
    ("specificity", "Specificity"),
    ("precision", "Precision (PPV)"),
    ("npv", "NPV"),
)


def point_table(report: CalibrationReport) -> Table:
    """Compare both points on the local images."""
    how = "chosen on these" if report.promise is not None else "cross-validated"
    table = plain_table("Operating point on these images", ("", "old", f"new, {how}"))
    table.add_row("Threshold", f"{report.old_threshold:.6g}", f"{report.record.threshold:.6g}")
    for name, title in _ROWS:
        table.add_row(
            title,
            *(
                _value(getattr(metrics, name), metrics.intervals.get(name))
                for metrics in (report.old, report.new)
            ),
        )
    return table


def expected_table(report: LabelShiftReport) -> Table:
    """Compare both points as they are expected to do at another share of sick people."""
    table = plain_table("Operating point, expected", ("", "old", "new"))
    table.add_row("Threshold", f"{report.old.threshold:.6g}", f"{report.new.threshold:.6g}")
    for name, title in _ROWS:
        table.add_row(
            title,
            *(
                _value(point.values[name], point.intervals.get(name))
                for point in (report.old, report.new)
            ),
        )
    return table


def _value(value: float, interval: Interval | None) -> str:
    if math.isnan(value):
        return "undefined"
    between = f" ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    return f"{value:.3f}{between}"
