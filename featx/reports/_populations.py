"""What a report says of parts of the images, of runs side by side, and of another population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx._scores import Scores
from featx.errors import FeatxError
from featx.evaluation import Difference, Subgroups, evaluate_subgroups, subgroup_columns
from featx.reports._document import Block, Gallery, Items, Notice, Picture, Section, Table, Text
from featx.reports._facts import OUT_OF_FOLD, Facts, Missing, RunFacts, Scored
from featx.reports._figures import distributions_figure, picture
from featx.reports._score_axis import logit_span
from featx.reports._wording import METRICS, listed, number, with_interval
from featx.scoring._comparison import compare_scored

USUAL_COLUMNS = ("cause", "size", "mode", "sex", "view")
"""What images are divided by unless columns are named, as far as a manifest has them."""

SIGNIFICANT = 0.05
_SHOWN = (
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


def subgroups_section(facts: Facts, by: Sequence[str], missing: list[Missing]) -> Section | None:
    """Measure each part of the images; None when there is nothing to divide them by."""
    blocks: list[Block] = []
    for run in facts.runs:
        for scored in run.evaluations or run.scored:
            there = subgroup_columns(scored.table)
            for column in by or [name for name in USUAL_COLUMNS if name in there]:
                table = _subgroups(run, scored, column, bool(by), missing)
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
    run: RunFacts, scored: Scored, column: str, asked: bool, missing: list[Missing]
) -> Table | None:
    record = run.record
    try:
        found = evaluate_subgroups(
            Scores.from_table(scored.table, record.classes),
            record.threshold,
            scored.table,
            column,
            seed=record.seed,
        )
    except FeatxError as error:
        if asked:
            missing.append(Missing(f"{run.name} by {column}, {scored.title}", str(error)))
        return None
    if len(found.parts) < 2 and not asked:
        return None
    return _subgroups_table(run, scored, found)


def _subgroups_table(run: RunFacts, scored: Scored, found: Subgroups) -> Table:
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
    caption = f"{run.name} by {found.column}, {scored.title}{shared}."
    return Table(columns, rows, caption, frozenset({0, 7}))


def comparison_section(facts: Facts, missing: list[Missing]) -> Section | None:
    """Test the other runs against the first on the same images; None when there is one run."""
    blocks: list[Block] = []
    for title in facts.sets():
        pairs = [(run, s) for run in facts.runs for s in run.scored if s.title == title]
        if len(pairs) < 2:
            continue
        try:
            found = compare_scored([(run.run, scored.images) for run, scored in pairs])
        except FeatxError as error:
            missing.append(Missing(f"the comparison of runs {title}", str(error)))
            continue
        first = pairs[0][0].name
        names = dict(zip(found.names, (run.name for run, _ in pairs), strict=True))
        shown = [d for d in found.differences if d.metric in _SHOWN]
        blocks += [
            _verdict(found.differences, first, names, title),
            Table(
                ("run", "metric", "test", first, "run's", "difference", "p", "p by Holm"),
                tuple(_difference(one, names) for one in shown),
                f"Against {first}, {title}: {found.images:,} images of {found.patients:,} "
                f"patients; Holm's correction is for all {len(found.differences)} tests.",
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
        f"{names[one.run]} in {METRICS.get(one.metric, one.metric.replace('_', ' '))}"
        for one in differences
        if one.adjusted is not None and one.adjusted <= SIGNIFICANT
    ]
    if real:
        return Text(
            f"{where}, what differs from {first} by more than chance (p at most 0.05 by Holm's "
            f"method): {listed(dict.fromkeys(real))}."
        )
    return Text(f"{where}, no difference from {first} is beyond chance.")


def _difference(one: Difference, names: dict[str, str]) -> tuple[str, ...]:
    metric = METRICS.get(one.metric, one.metric.replace("_", " "))
    test = {"bootstrap": "bootstrap", "delong": "DeLong", "mcnemar": "McNemar"}[one.method]
    between = ""
    if one.interval is not None:
        between = f" ({one.interval.low:+.3f} – {one.interval.high:+.3f})"
    difference = "undefined" if np.isnan(one.difference) else f"{one.difference:+.4f}{between}"
    p_values = ("" if p is None else f"{p:.3g}" for p in (one.p_value, one.adjusted))
    values = number(one.first), number(one.other)
    return (names[one.run], metric, test, *values, difference, *p_values)


def shift_section(facts: Facts) -> Section | None:
    """Say whether images come from another population than the training images."""
    blocks: list[Block] = []
    for run in facts.runs:
        for scored in run.evaluations:
            if scored.shift is None:
                continue
            sentence = f"{run.name}, {scored.title}: {scored.shift.sentence}"
            speaks = scored.shift.suspected
            blocks += [Notice(sentence) if speaks else Text(sentence), _signals(scored)]
            pictures = _distributions(run, scored)
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


def _signals(scored: Scored) -> Table:
    assert scored.shift is not None
    rows = tuple(
        (
            _SIGNALS.get(signal.name, signal.name),
            f"{signal.effect:.3f}",
            f"{signal.marks[0]:g} and {signal.marks[1]:g}",
            f"{signal.p_value:.3g}",
            signal.verdict,
        )
        for signal in scored.shift.signals
    )
    columns = ("what is compared", "effect", "marks", "p", "verdict")
    return Table(columns, rows, words=frozenset({0, 4}))


def _distributions(run: RunFacts, scored: Scored) -> list[Picture]:
    key, found = f"{scored.key}-{run.key}", []
    record, own = run.record, run.out_of_fold
    if own is not None:
        curves = {}
        for label, positive in zip(record.classes, (False, True), strict=True):
            here = scored.table["score"].to_numpy(float)[scored.truth == positive]
            there = own.table["score"].to_numpy(float)[own.truth == positive]
            if len(here) and len(there):
                curves[label] = (there, here)
        span = logit_span(scored.metrics.threshold)
        title = "Scores here and in training"
        figure = distributions_figure(curves, "score", title, span=span)
        told = "; ".join(
            f"{label}: median {np.median(there):.3f} in training, {np.median(here):.3f} here"
            for label, (there, here) in curves.items()
        )
        alt = f"Cumulative scores of {run.name} on {scored.title} and out of fold. {told}"
        found.append(picture(figure, f"shift-scores-{key}", alt))
    if run.run.has_reference and len(scored.images.vectors):
        try:
            reference = run.run.reference
            distances = reference.distance(scored.images.vectors)
        except FeatxError:  # the shift has said so already
            return found
        curves = {"all images": (reference.distances, distances)}
        figure = distributions_figure(
            curves, "Mahalanobis distance", "Distance from the training images", reference.limit
        )
        alt = (
            f"Cumulative distance of {scored.title} from the training images of {run.name}: median "
            f"{np.median(distances):.3f}, {np.median(reference.distances):.3f} in training"
        )
        found.append(picture(figure, f"shift-distances-{key}", alt))
    return found
