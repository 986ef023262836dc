"""The images that a report's runs got most wrong, as far as they can be shown."""

from __future__ import annotations

from featx.reports.document import Block, Gallery, Notice, Section, Table, Text
from featx.reports.gather import Facts, Missing, RunFacts, Scored
from featx.reports.images import WORST, most_wrong, photograph, read_images
from featx.reports.wording import Names


def wrong_section(facts: Facts, names: Names, missing: list[Missing]) -> Section:
    """Show misses and false alarms, furthest from the threshold first."""
    blocks: list[Block] = [
        Text(
            "Misses are positive images below the threshold, false alarms negative ones at or "
            "above it; those furthest from it come first. A wrong label is as good an explanation "
            "as a wrong classifier: look at each."
        )
    ]
    for run in facts.runs:
        for scored in run.evaluations or run.scored:
            inner = tuple(_of(run, scored, names, missing))
            title = f"{run.name}, {scored.title}"
            blocks.append(Section(title, f"wrong-{scored.key}-{run.key}", inner))
    return Section(
        "The most wrong images", "wrong", tuple(blocks), "CLAIM: analysis of incorrect results"
    )


def _of(run: RunFacts, scored: Scored, names: Names, missing: list[Missing]) -> list[Block]:
    groups = most_wrong(scored)
    paths = [path for table in groups.values() for path in table["path"]]
    if not paths:
        return [Text("There are none: every image is on the right side of the threshold.")]
    shown = read_images(scored.source, paths)
    what = f"images that {run.name} got most wrong on {scored.title}"
    missing += [Missing(what, names.told(reason)) for reason in shown.reasons]
    blocks: list[Block] = []
    if not shown.pixels:
        blocks.append(Notice(f"The images can't be shown: {names.told(shown.reasons[0])}."))
    rows, pictures, number = [], [], 0
    for kind, table in groups.items():
        for path, label, score in zip(table["path"], table["label"], table["score"], strict=True):
            number += 1
            name = names.image(path, number)
            rows.append((name, kind, label, f"{score:.4g}"))
            if path in shown.pixels:
                text = f"{kind}: {label}, score {score:.3g}"
                pictures.append(
                    photograph(
                        shown.pixels[path],
                        f"wrong-{scored.key}-{run.key}-{number}",
                        f"{text}, threshold {scored.metrics.threshold:.3g}: {name}",
                        f"{text}. {name}",
                    )
                )
    if pictures:
        blocks.append(Gallery(tuple(pictures), small=True))
    n = scored.metrics.confusion
    title = f"Positive images missed: {n['fn']:,}; false alarms: {n['fp']:,}; at most "
    title += f"{WORST} of each are listed."
    blocks.append(
        Table(("image", "error", "label", "score"), tuple(rows), title, frozenset({0, 1, 2}))
    )
    return blocks
