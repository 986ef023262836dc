"""Sections of a report on the images: counts by class and split, and some of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from featx import plots
from featx.plots._counts import balance_height
from featx.plots._style import new_axes
from featx.reports._document import Block, Gallery, Notice, Section, Table, Text
from featx.reports._pictures import jpeg_picture, read_images, sample_images, svg_picture
from featx.reports._report_data import Missing, NamedCache, ReportData, RunData
from featx.reports._wording import DisplayNames, listed, plural


def data_section(data: ReportData, names: DisplayNames, missing: list[Missing]) -> Section:
    """Tell what the runs were trained and measured on."""
    blocks: list[Block] = [_fitted_on(data)]
    for source in data.sources:
        blocks += _of_source(data, source, names, missing)
    if not data.sources:
        blocks.append(
            Notice("No cache is there: counts by split and class can't be shown, nor images.")
        )
    return Section(
        "Data", "data", tuple(blocks), "TRIPOD+AI items 5, 6 and 20; CLAIM: data and ground truth"
    )


def _fitted_on(data: ReportData) -> Table:
    rows = []
    for run in data.runs:
        record = run.record
        negative, positive = record.classes
        out_of_fold = run.out_of_fold
        share = "?"
        if out_of_fold is not None:
            positives = int(out_of_fold.scores.positive.sum())
            share = f"{positives:,} ({positives / max(record.images, 1):.1%})"
        rows.append(
            (
                run.name,
                " and ".join(record.fitted_splits),
                f"{record.images:,}",
                f"{record.patients:,}",
                positive,
                share,
                negative,
                f"{record.copies}",
            )
        )
    columns = (
        "run", "fitted on splits", "images", "patients", "positive class", "positive images",
        "negative class", "copies of each",
    )  # fmt: skip
    return Table(columns, tuple(rows), "What the runs were fitted on.", frozenset({0, 1, 4, 6}))


def _of_source(
    data: ReportData, source: NamedCache, names: DisplayNames, missing: list[Missing]
) -> list[Block]:
    cache = source.cache
    counts = split_counts(source)
    patients = cache.images.groupby("split")["group"].nunique()
    rows = [
        (
            str(split),
            f"{int(patients[str(split)]):,}",
            f"{int(row.sum()):,}",
            *(f"{int(value):,}" for value in row),
            f"{row.iloc[1] / max(row.sum(), 1):.1%}",
        )
        for split, row in counts.iterrows()
    ]
    users = [run.name for run in data.runs if run.fitted_on is source]
    purpose = "on which no run here was fitted"
    if users:
        purpose = f"on which {listed(users)} {'was' if len(users) == 1 else 'were'} fitted"
    negative, positive = cache.classes
    table = Table(
        ("split", "patients", "images", negative, positive, f"{positive} share"),
        tuple(rows),
        f"Images of {source.name}, {purpose}.",
    )
    told = [f"{row[0]} {row[3]} {negative} and {row[4]} {positive}" for row in rows]
    balance = svg_picture(
        plots.class_balance(counts, new_axes(height=balance_height(counts))),
        f"balance-{source.key}",
        f"Class balance of {source.name} by split: {'; '.join(told)}",
    )
    blocks: list[Block] = [table, Gallery((balance,))]
    if cache.skipped:
        blocks.append(Text(f"{plural(len(cache.skipped), 'image')} could not be read."))
    for run in data.runs:
        if run.fitted_on is source:
            blocks += _samples(run, source, names, missing)
            break
    return blocks


def split_counts(source: NamedCache) -> pd.DataFrame:
    """Count images by split and class."""
    images = source.cache.images
    counts = pd.crosstab(images["split"], images["label"])
    return counts.reindex(index=source.splits, columns=list(source.cache.classes), fill_value=0)


def _samples(
    run: RunData, source: NamedCache, names: DisplayNames, missing: list[Missing]
) -> Sequence[Block]:
    drawn = sample_images(source, run.record.fitted_splits, seed=run.record.seed)
    shown = read_images(source, drawn["path"].tolist())
    what = f"sample images of {source.name}"
    missing += [Missing(what, names.message(reason)) for reason in shown.reasons]
    if not shown.pixels:
        return [Notice(f"The images themselves can't be shown: {names.message(shown.reasons[0])}.")]
    pictures = []
    for number, (path, label, split) in enumerate(
        zip(drawn["path"], drawn["label"], drawn["split"], strict=True), start=1
    ):
        if path in shown.pixels:
            name = names.image(path, number)
            pictures.append(
                jpeg_picture(
                    shown.pixels[path],
                    f"sample-{source.key}-{number}",
                    f"Training image {name}, labelled {label}",
                    f"{label}, {split}: {name}",
                )
            )
    text = f"Images that were trained on, drawn at random: {plural(len(pictures), 'image')}."
    return [Gallery(tuple(pictures), "small", text)]
