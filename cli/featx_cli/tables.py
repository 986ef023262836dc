"""Results as text tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

UNFOLDED = 100_000
"""Characters that no row has."""

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table


def metric_name(metric: str) -> str:
    """Return the name that a metric has in tables."""
    from featx.evaluation import METRIC_NAMES

    name = METRIC_NAMES.get(metric, metric.replace("_", " "))
    return name[0].upper() + name[1:]


def plain_table(title: str, columns: Iterable[str], *, words: Iterable[int] = (0,)) -> Table:
    """Make an empty table. Columns in `words` hold text, the others numbers."""
    from rich import box
    from rich.table import Table

    class Titled(Table):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            # Rich folds a title to the width of its table, and with it the path that it names.
            heading = console.render_str(title, style="bold")
            heading.no_wrap, heading.overflow = True, "ignore"
            yield heading
            # A pipe has no width: nothing is folded or cut for its reader.
            own = options if console.is_terminal else options.update_width(UNFOLDED)
            yield from super().__rich_console__(console, own)

    table = Titled(box=box.SIMPLE_HEAD)
    text = set(words)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number in text else "right")
    return table


def metrics_table(title: str, metrics: dict[str, Any]) -> Table:
    """List metrics with their 95 % intervals."""
    from featx.evaluation import METRIC_NAMES

    table = plain_table(title, ("", "value", "95 % interval"))
    for key in METRIC_NAMES:
        if key not in metrics:  # of a run that an earlier version fitted
            continue
        interval = metrics["intervals"].get(key)
        table.add_row(metric_name(key), _number(metrics[key]), _between(interval))
    for key, value in metrics.get("at_prevalence", {}).items():
        if key != "prevalence":
            interval = metrics["intervals"].get(f"{key}_at_prevalence")
            where = f"{key.upper()} at prevalence {metrics['at_prevalence']['prevalence']:g}"
            table.add_row(where, _number(value), _between(interval))
    return table


def confusion_table(confusion: dict[str, int], classes: tuple[str, str]) -> Table:
    """Show the confusion matrix with the truth in rows."""
    negative, positive = classes
    table = plain_table("Confusion matrix", ("truth", f"called {negative}", f"called {positive}"))
    table.add_row(negative, str(confusion["tn"]), str(confusion["fp"]))
    table.add_row(positive, str(confusion["fn"]), str(confusion["tp"]))
    return table


def _between(interval: dict[str, float] | None) -> str:
    return f"{interval['low']:.4f} – {interval['high']:.4f}" if interval else ""


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
