"""Section of the demo's report on the next hospital: a figure and a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from featx.demo._results import CALIBRATED, NEXT_DOOR, DemoHead
from featx.plots._sites import site_chart
from featx.reports._document import Section, Table, Text
from featx.reports._pictures import svg_picture
from featx.reports._wording import metric_name, number, with_interval
from featx.scoring import Evaluation
from featx_cache._text import plural

HOME = "home"
_SHOWN = ("accuracy", "recall", "specificity", "roc_auc")


def next_door_section(heads: Sequence[DemoHead], labelled: int) -> Section:
    """Show what becomes of the threshold at the next hospital, and what calibration repairs."""
    images = heads[0].calibrated.metrics.images
    about = Text(
        "The same heads on films of the next hospital, whose machine shows them softer than the "
        "augmented copies do, flatter and brighter. A head still ranks the patients there, but "
        f"its threshold doesn't fit. {CALIBRATED.capitalize()}: the same head with a threshold "
        f"that was chosen on {plural(labelled, 'labelled film')} of that hospital, at the "
        f"accuracy floor {_floors(heads)} there. That is above {heads[0].floor:g} where so few "
        f"films allow a margin. Both are measured on {plural(images, 'film')} of other patients "
        "there."
    )
    sites = [(head.name, site, found) for head in heads for site, found in _sites(head)]
    figure = site_chart(pd.DataFrame([_row(*one) for one in sites]), accuracy_floor=heads[0].floor)
    picture = svg_picture(
        figure.axes[0],
        "next-door",
        "Accuracy and recall of each head at home, at the next hospital, and there after "
        "calibration",
        "Bars: 95 % intervals by patients.",
    )
    rows = tuple(
        (
            name,
            site,
            found.in_words,
            *(with_interval(found.metrics, metric) for metric in _SHOWN),
            number(found.metrics.threshold),
        )
        for name, site, found in sites
    )
    columns = ("run", "films", "counts", *map(metric_name, _SHOWN), "threshold")
    caption = "The same in numbers. In brackets: 95 % intervals by patients."
    table = Table(columns, rows, caption, frozenset({0, 1, 2}), folded=True)
    return Section("The next hospital", "next-door", (about, _kept(heads), picture, table))


def _floors(heads: Sequence[DemoHead]) -> str:
    floors = {head.calibrated_run.record.accuracy_floor for head in heads}
    return " or ".join(f"{floor:g}" for floor in sorted(floors))


def _kept(heads: Sequence[DemoHead]) -> Text:
    """Count the heads that keep their floor in each place."""
    kept = {HOME: 0, NEXT_DOOR: 0, CALIBRATED: 0}
    for head in heads:
        for site, found in _sites(head):
            kept[site] += found.metrics.accuracy >= head.floor
    home, there, calibrated = (f"{number} of {len(heads)}" for number in kept.values())
    return Text(
        f"Heads whose accuracy keeps the floor: {home} at home, {there} next door, and "
        f"{calibrated} after calibration there."
    )


def _sites(head: DemoHead) -> tuple[tuple[str, Evaluation], ...]:
    return (HOME, head.test), (NEXT_DOOR, head.next_door), (CALIBRATED, head.calibrated)


def _row(name: str, site: str, found: Evaluation) -> dict[str, object]:
    metrics = found.metrics
    row: dict[str, object] = {"run": name, "site": site}
    for metric in ("accuracy", "recall"):
        interval = metrics.intervals.get(metric)
        row[metric] = value = getattr(metrics, metric)
        row[f"{metric}_low"] = interval.low if interval else value
        row[f"{metric}_high"] = interval.high if interval else value
    return row
