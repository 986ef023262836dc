"""The images that a report's runs got most wrong, as far as they can be shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featx.explain._maps import peak
from featx.reports._document import Block, Gallery, Notice, Picture, Section, Table, Text
from featx.reports._heat_maps import HeatMaps, make_heat_maps, side_by_side
from featx.reports._pictures import MAX_ERRORS, jpeg_picture, largest_errors, read_images
from featx.reports._report_data import EvaluatedSplit, Missing, ReportData, RunData
from featx.reports._wording import DisplayNames


def errors_section(data: ReportData, names: DisplayNames, missing: list[Missing]) -> Section:
    """Show misses and false alarms, furthest from the threshold first."""
    blocks: list[Block] = [
        Text(
            "Misses are positive images below the threshold, false alarms negative ones at or "
            "above it. Those furthest from it come first. A wrong label is as good an explanation "
            "as a wrong classifier: look at each."
            + (" File names are left out here." if names.anonymous else "")
        )
    ]
    for run in data.runs:
        for split in run.evaluations or run.splits:
            inner = tuple(_of(run, split, names, missing))
            title = f"{run.name}, {split.title}"
            blocks.append(Section(title, f"wrong-{split.key}-{run.key}", inner))
    return Section(
        "The most wrong images", "wrong", tuple(blocks), "CLAIM: analysis of incorrect results"
    )


def _of(
    run: RunData, split: EvaluatedSplit, names: DisplayNames, missing: list[Missing]
) -> list[Block]:
    groups = largest_errors(split)
    paths = [path for table in groups.values() for path in table["path"]]
    if not paths:
        return [Text("There are none: every image is on the right side of the threshold.")]
    shown = read_images(split.source, paths)
    what = f"images that {run.name} got most wrong on {split.title}"
    missing += [Missing(what, reason) for reason in shown.reasons]
    blocks: list[Block] = []
    heat = HeatMaps({})
    if not shown.pixels:
        blocks.append(Notice(f"The images can't be shown: {names.message(shown.reasons[0])}."))
    elif split.source is not None:
        heat = make_heat_maps(run, split.source, list(shown.pixels))
        if heat.reason:
            missing.append(Missing(f"heat maps of the {what}", heat.reason))
    rows, pictures, number = [], [], 0
    for kind, table in groups.items():
        for path, label, score in zip(table["path"], table["label"], table["score"], strict=True):
            number += 1
            name = names.image(path, number)
            rows.append((name, kind, label, f"{score:.4g}"))
            if path in shown.pixels:
                file = f"wrong-{split.key}-{run.key}-{number}"
                text = f"{kind}: {label}, score {score:.3g}"
                pictures.append(
                    _picture(shown.pixels[path], heat.maps.get(path), file, text, name, split)
                )
    if pictures:
        caption = _legend(run, split, heat)
        blocks.append(Gallery(tuple(pictures), "wide" if heat.maps else "small", caption))
    n = split.metrics.confusion
    title = f"Positive images missed: {n['fn']:,}; false alarms: {n['fp']:,}; at most "
    title += f"{MAX_ERRORS} of each are listed."
    columns = ("image", "error", "label", "score")
    blocks.append(Table(columns, tuple(rows), title, frozenset({0, 1, 2})))
    return blocks


def _picture(
    pixels: NDArray[np.float32],
    heat: NDArray[np.float32] | None,
    file: str,
    text: str,
    name: str,
    split: EvaluatedSplit,
) -> Picture:
    alt = f"{text}, threshold {split.metrics.threshold:.3g}: {name}"
    if heat is not None:
        (row, column), (rows, columns) = peak(heat), heat.shape
        down = ("top", "middle", "bottom")[min(2, 3 * row // rows)]
        across = ("left", "middle", "right")[min(2, 3 * column // columns)]
        alt += f"; beside it with its heat map, strongest at the {down} {across} of the picture"
        pixels = side_by_side(pixels, heat)
    return jpeg_picture(pixels, file, alt, f"{text}. {name}")


def _legend(run: RunData, split: EvaluatedSplit, heat: HeatMaps) -> str:
    if heat.method is None:
        return ""
    positive, negative = run.record.classes[1], run.record.classes[0]
    text = (
        f"Heat maps by {heat.method.name}: {heat.method.meaning}. Orange speaks for {positive}, "
        f"violet for {negative}; the line is at half of the strongest."
    )
    if split.out_of_fold:
        text += " They are of the final head, which was fitted on these images too."
    return f"{text} A map says what the head went by, not where disease is."
