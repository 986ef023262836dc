"""Sections of a report on parts of the images, of runs side by side, and of another population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.errors import FeatxError
from featx.evaluation import Difference, Subgroups, evaluate_subgroups, subgroup_columns
from featx.plots._distributions import cumulative_distribution
from featx.plots._score_axis import logit_span
from featx.plots._style import new_axes
from featx.reports._document import Block, Gallery, Items, Notice, Picture, Section, Table, Text
from featx.reports._pictures import svg_picture
from featx.reports._report_data import OUT_OF_FOLD, EvaluatedSplit, Missing, ReportData, RunData
from featx.reports._wording import listed, metric_name, number, with_interval
from featx.scoring._comparison import compare_scored

DEFAULT_COLUMNS = ("cause", "size", "mode", "sex", "view")
"""Columns that images are divided by if the manifest has them and none are named."""

SIGNIFICANCE_LEVEL = 0.05
_COMPARED_METRICS = (
    "recall",
    "accuracy",
    "specificity",
    "roc_auc",
    "average_precision",
    "brier",
    "error_rate",
)
_SIGNALS = {
    "scores": "scores (Kolmogorov-Smirnov)",
    "stability": "scores (population stability index)",
    "scores_of_negatives": "scores of the negative class (Kolmogorov-Smirnov)",
    "scores_of_positives": "scores of the positive class (Kolmogorov-Smirnov)",
    "far": "share farther than 99 % of the training images",
    "distances": "distance from the training images (Kolmogorov-Smirnov)",
}


def subgroups_section(
    data: ReportData, by: Sequence[str], missing: list[Missing]
) -> Section | None:
    """Measure each part of the images. None when there is nothing to divide them by."""
    blocks: list[Block] = []
    for run in data.runs:
        for split in run.evaluations or run.splits:
            there = subgroup_columns(split.table)
            for column in by or [name for name in DEFAULT_COLUMNS if name in there]:
                table = _subgroups(run, split, column, bool(by), missing)
                if table is not None:
                    blocks.append(table)
    if not blocks:
        return None
    text = Text(
        "The same thresholds on parts of the images, smallest first. Few patients say little: "
        "look at the intervals."
    )
    return Section("Subgroups", "subgroups", (text, *blocks), "TRIPOD+AI items 14 and 23")


def _subgroups(
    run: RunData, split: EvaluatedSplit, column: str, asked: bool, missing: list[Missing]
) -> Table | None:
    record = run.record
    try:
        found = evaluate_subgroups(
            split.scores, record.threshold, split.table, column, seed=record.seed
        )
    except FeatxError as error:
        if asked:
            missing.append(Missing(f"{run.name} by {column}, {split.title}", str(error)))
        return None
    if len(found.parts) < 2 and not asked:
        return None
    return _subgroups_table(run, split, found)


def _subgroups_table(run: RunData, split: EvaluatedSplit, found: Subgroups) -> Table:
    rows = tuple(
        (
            part.name,
            f"{part.metrics.images:,}",
            f"{part.metrics.patients:,}",
            *(
                with_interval(part.metrics, name)
                for name in ("recall", "specificity", "accuracy", "roc_auc")
            ),
            part.note,
        )
        for part in found.parts
    )
    shared = f"; each part has all {found.shared}" if found.shared else ""
    columns = (
        found.column, "images", "patients", "recall", "specificity", "accuracy", "ROC AUC", "note",
    )  # fmt: skip
    caption = f"{run.name} by {found.column}, {split.title}{shared}."
    return Table(columns, rows, caption, frozenset({0, 7}))


def comparison_section(data: ReportData, missing: list[Missing]) -> Section | None:
    """Test the other runs against the first on the same images. None when there is one run."""
    blocks: list[Block] = []
    for title in data.titles():
        pairs = data.on(title)
        if len(pairs) < 2:
            continue
        try:
            found = compare_scored([(run.run, split.images) for run, split in pairs])
        except FeatxError as error:
            missing.append(Missing(f"the comparison of runs {title}", str(error)))
            continue
        first = pairs[0][0].name
        names = dict(zip(found.names, (run.name for run, _ in pairs), strict=True))
        shown = [d for d in found.differences if d.metric in _COMPARED_METRICS]
        blocks += [
            _verdict(found.differences, first, names, title),
            Table(
                ("run", "metric", "test", first, "run's", "difference", "p", "p by Holm"),
                tuple(_difference(one, names) for one in shown),
                f"Against {first}, {title}: {found.images:,} images of {found.patients:,} "
                f"patients. Holm's correction is for all {len(found.differences)} tests.",
                frozenset({0, 1, 2}),
            ),
        ]
    if not blocks:
        return None
    text = Text(
        "The same patients are drawn for both runs of a pair, so a difference is known better than "
        "either value. DeLong's test of areas and McNemar's of errors take images for independent."
    )
    return Section("Comparison of runs", "comparison", (text, *blocks), "TRIPOD+AI item 23")


def _verdict(
    differences: Sequence[Difference], first: str, names: dict[str, str], title: str
) -> Text:
    where = title[:1].upper() + title[1:] if title == OUT_OF_FOLD else f"On {title}"
    real = [
        f"{names[one.run]} in {metric_name(one.metric)}"
        for one in differences
        if one.adjusted is not None and one.adjusted <= SIGNIFICANCE_LEVEL
    ]
    if real:
        return Text(
            f"{where}, what differs from {first} by more than chance (p at most 0.05 by Holm's "
            f"method): {listed(dict.fromkeys(real))}."
        )
    return Text(f"{where}, no difference from {first} is beyond chance.")


def _difference(one: Difference, names: dict[str, str]) -> tuple[str, ...]:
    metric = metric_name(one.metric)
    test = {"bootstrap": "bootstrap", "delong": "DeLong", "mcnemar": "McNemar"}[one.method]
    between = ""
    if one.interval is not None:
        between = f" ({one.interval.low:+.3f} – {one.interval.high:+.3f})"
    difference = "undefined" if np.isnan(one.difference) else f"{one.difference:+.4f}{between}"
    p_values = ("" if p is None else f"{p:.3g}" for p in (one.p_value, one.adjusted))
    values = number(one.first), number(one.other)
    return (names[one.run], metric, test, *values, difference, *p_values)


def shift_section(data: ReportData) -> Section | None:
    """Say whether images come from another population than the training images."""
    blocks: list[Block] = []
    for run in data.runs:
        for split in run.evaluations:
            if split.shift is None:
                continue
            sentence = f"{run.name}, {split.title}: {split.shift.sentence}"
            speaks = split.shift.suspected
            blocks += [Notice(sentence) if speaks else Text(sentence), _signals(split)]
            pictures = _distributions(run, split)
            blocks.append(Gallery(tuple(pictures)))
    if not blocks:
        return None
    text = Items(
        (
            "One image of each patient is compared with the out-of-fold scores and the embeddings "
            "of the images that the run was fitted on.",
            "A signal counts when its test has p at most 0.005 and its effect reaches a mark.",
            "Where a population differs, choose the threshold anew on local images "
            "(featx calibrate).",
        )
    )
    return Section(
        "Is it the same population?", "shift", (text, *blocks), "TRIPOD+AI items 16 and 20"
    )


def _signals(split: EvaluatedSplit) -> Table:
    assert split.shift is not None
    rows = tuple(
        (
            _SIGNALS.get(signal.name, signal.name),
            f"{signal.effect:.3f}",
            f"{signal.marks[0]:g} and {signal.marks[1]:g}",
            f"{signal.p_value:.3g}",
            signal.verdict,
        )
        for signal in split.shift.signals
    )
    columns = ("what is compared", "effect", "marks", "p", "verdict")
    return Table(columns, rows, words=frozenset({0, 4}))


def _distributions(run: RunData, split: EvaluatedSplit) -> list[Picture]:
    key, found = f"{split.key}-{run.key}", []
    if run.out_of_fold is not None:
        here, there = split.scores, run.out_of_fold.scores
        pairs = {}
        for label, positive in zip(run.record.classes, (False, True), strict=True):
            pair = tuple(s.score[s.positive == positive] for s in (there, here))
            if all(map(len, pair)):
                pairs[label] = pair
        axes = new_axes()
        span = logit_span(split.metrics.threshold)
        cumulative_distribution(pairs, axes, span=span)
        axes.set_title("Scores here and in training")
        told = "; ".join(
            f"{label}: median {np.median(training):.3f} in training, {np.median(new):.3f} here"
            for label, (training, new) in pairs.items()
        )
        alt = f"Cumulative scores of {run.name} on {split.title} and out of fold. {told}"
        found.append(svg_picture(axes, f"shift-scores-{key}", alt))
    if run.run.has_reference and len(split.images.vectors):
        try:
            reference = run.run.reference
            distances = reference.distance(split.images.vectors)
        except FeatxError:  # the shift has said so already
            return found
        axes = new_axes()
        cumulative_distribution(
            {"all images": (reference.distances, distances)},
            axes,
            quantity="Mahalanobis distance",
            limit=reference.limit,
        )
        axes.set_title("Distance from the training images")
        alt = (
            f"Cumulative distance of {split.title} from the training images of {run.name}: median "
            f"{np.median(distances):.3f}, {np.median(reference.distances):.3f} in training"
        )
        found.append(svg_picture(axes, f"shift-distances-{key}", alt))
    return found
