"""Tables of ``featx evaluate``: subgroups, comparisons and the shift, 80 columns wide."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from featx_cli.console import output, warn
from featx_cli.tables import confusion_table, metric_name, metrics_table, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx.evaluation import Difference, Interval, Metrics, Shift, Subgroups
    from featx.populations import PerformanceEstimate
    from featx.scoring import Evaluation, LeftOut, RunComparison

SIGNALS = {
    "scores": "scores (KS distance)",
    "stability": "scores (stability index)",
    "scores_of_negatives": "scores of {0} (KS distance)",
    "scores_of_positives": "scores of {1} (KS distance)",
    "far": "share of patients far away",
    "distances": "embeddings farther (KS distance)",
}
_SHORT_NAMES = {"recall": "Recall", "precision": "PPV", "mcc": "Matthews corr."}


def subgroups_table(subgroups: Subgroups, classes: tuple[str, str]) -> Table:
    """List parts of the images, smallest first, each with its intervals below the values."""
    columns = (subgroups.column, *classes, "recall", "specificity", "ROC AUC")
    table = plain_table(f"By {subgroups.column}", columns)
    table.padding = (0, 1, 0, 0)
    for part in subgroups.parts:
        table.add_row(
            part.name,
            str(part.negatives),
            str(part.positives),
            *(_cell(part.metrics, name) for name in ("recall", "specificity", "roc_auc")),
        )
    return table


def subgroup_notes(subgroups: Subgroups) -> list[str]:
    """Return what has to be known to read that table."""
    notes = []
    if subgroups.shared:
        notes.append(f"All images of {subgroups.shared} are in each part.")
    notes += [f"{part.name}: {part.note}." for part in subgroups.parts if part.note]
    return notes


def comparison_table(comparison: RunComparison, other: str) -> Table:
    """List what the tests of one run against the first say."""
    columns = ("", "first", "other", "other less first", "95 % interval", "p", "Holm")
    table = plain_table(f"{other} against {comparison.names[0]}", columns)
    table.padding = (0, 1, 0, 0)  # else it wouldn't fit into 80 columns
    table.columns[3].header = "differ-\nence"
    for test in comparison.differences:
        if test.run == other:
            table.add_row(*_row(test))
    return table


def show_evaluation(evaluation: Evaluation, *, titled: bool) -> None:
    """Print an evaluation. `titled` says that its title has the data's name."""
    from featx.evaluation import caveats, plural

    classes, metrics = evaluation.run.record.classes, evaluation.metrics.as_dict()
    console = output()
    title = f"{evaluation.run.record.head.name} on {evaluation.split}"
    console.print(evaluation.in_words)
    for people in evaluation.people_in_words:
        console.print(people)
    console.print(metrics_table(f"{title} of {evaluation.data}" if titled else title, metrics))
    console.print(confusion_table(metrics["confusion"], classes))
    console.print(
        f"{plural(metrics['images'], 'image')} of {plural(metrics['patients'], 'patient')} at "
        f"the run's threshold {metrics['threshold']:.6g}."
    )
    for caution in caveats(metrics, classes):
        console.print(caution)
    for subgroups in evaluation.subgroups:
        console.print()
        console.print(subgroups_table(subgroups, classes))
        for note in subgroup_notes(subgroups):
            console.print(note)
    if (comparison := evaluation.comparison) is not None:
        for other in comparison.names[1:]:
            console.print()
            console.print(comparison_table(comparison, other))
        for note in comparison.notes:
            console.print(note)
    if evaluation.shift is not None:
        console.print()
        console.print(shift_table(evaluation.shift, classes))
        console.print(evaluation.shift.sentence)
        if evaluation.shift.suspected:
            console.print(
                "The operating point may not hold here: look at recall and specificity above, and "
                "choose another with `featx calibrate` and some labelled images of this population."
            )
    if evaluation.run.record.extraction.backbone.weights == "random":
        console.print("The embeddings are untrained (random weights).")
    tell_left_out(evaluation.left_out)


def evaluations_json(evaluations: Sequence[Evaluation | PerformanceEstimate]) -> str:
    """Return evaluations as JSON text: an object, or a list if there are several."""
    contents = [evaluation.as_dict() for evaluation in evaluations]
    return json.dumps(contents[0] if len(contents) == 1 else contents, indent=2) + "\n"


def tell_left_out(left_out: LeftOut) -> None:
    """Say which images weren't measured and why, and what to do if that is wrong."""
    for sentence in left_out.sentences:
        warn(sentence)


def shift_table(shift: Shift, classes: tuple[str, str]) -> Table:
    """List in what ways the population was compared with the training population."""
    table = plain_table(
        "Against the training images", ("", "value", "may differ, differs from", "p", "verdict")
    )
    for signal in shift.signals:
        low, high = signal.marks
        table.add_row(
            SIGNALS[signal.name].format(*classes),
            f"{signal.effect:.3f}",
            f"{low:g}, {high:g}",
            _p(signal.p_value),
            signal.verdict,
        )
    return table


def _row(test: Difference) -> tuple[str, ...]:
    name = _SHORT_NAMES.get(test.metric) or metric_name(test.metric)
    if test.method == "delong":
        name += " (DeLong)"
    elif test.method == "mcnemar":
        name = "Errors (McNemar)"
    return (
        name,
        _value(test.first),
        _value(test.other),
        _value(test.difference, sign=True),
        _between(test.interval, sign=True),
        _p(test.p_value),
        _p(test.adjusted),
    )


def _cell(metrics: Metrics, name: str) -> str:
    value = getattr(metrics, name)
    if math.isnan(value):
        return "undefined"
    interval = metrics.intervals.get(name)
    return f"{value:.3f}" + (f"\n{_between(interval, digits=3)}" if interval else "")


def _between(interval: Interval | None, *, sign: bool = False, digits: int = 4) -> str:
    if interval is None:
        return ""
    style = f"{'+' if sign else ''}.{digits}f"
    return f"{interval.low:{style}} – {interval.high:{style}}".replace("-", "−")


def _value(value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return "undefined"
    return (f"{value:+.4f}" if sign else f"{value:.4f}").replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
