"""Sections of a report on how well the runs did: tables, curves, and the operating point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featx import plots
from featx._progress import Advance
from featx.data import positive_sentence
from featx.errors import FeatxError
from featx.evaluation import METRIC_NAMES, counts_in_words, per_thousand
from featx.plots._distributions import calibration_points, draw_calibration
from featx.plots._style import new_axes
from featx.plots._subjects import Subject, Subjects
from featx.reports._document import Block, Gallery, Items, Notice, Picture, Section, Table, Text
from featx.reports._pictures import svg_picture
from featx.reports._report_data import OUT_OF_FOLD, EvaluatedSplit, ReportData, RunData
from featx.reports._wording import listed, number, plural, with_interval
from featx.scoring._evaluation import run_decision_curve

Pair = tuple[RunData, EvaluatedSplit]

CONSEQUENCES = {
    "recall": "more sick people are missed",
    "specificity": "more healthy people are called sick",
}
"""Consequences if a metric is lower than on the images that the threshold was chosen on."""

DECISION_CURVE_CAPTION = (
    "Is it worth acting on the model? The lower axis has the probability of being sick from which "
    "on you would treat, or examine further. If that is 0.1, you accept nine false alarms for one "
    "sick person found. The line that is highest there is the best choice for you. Net benefit is "
    "the share of patients who are sick and found, less the false alarms at that rate. It holds "
    "for the share of sick people in these images."
)


def summary_section(data: ReportData) -> Section:
    """Put the numbers that matter most in one table."""
    rows = []
    for run in data.runs:
        for split in run.splits:
            metrics = split.metrics
            rows.append(
                (
                    run.name,
                    split.title,
                    f"{metrics.images:,} ({metrics.patients:,})",
                    *(
                        with_interval(metrics, name)
                        for name in ("recall", "accuracy", "specificity", "roc_auc")
                    ),
                    f"{metrics.threshold:.4g}",
                    run.record.criterion.short,
                )
            )
    columns = (
        "run", "images", "number (patients)", "recall", "accuracy", "specificity", "ROC AUC",
        "threshold", "criterion",
    )  # fmt: skip
    table = Table(columns, tuple(rows), words=frozenset({0, 1, 8}))
    note = Text(
        "In brackets: 95 % intervals by patients, not by images. "
        "Thresholds were chosen on the scores out of fold, so recall and accuracy there are a "
        "little optimistic. They are kept apart from those on other images.",
        small=True,
    )
    return Section(
        "Results at a glance", "glance", (*_findings(data), table, note), "TRIPOD+AI item 2"
    )


def _findings(data: ReportData) -> list[Block]:
    """Say in words what a reader must not miss."""
    found: list[Block] = []
    for run in data.runs:
        floors, own = run.record.criterion.floors, run.out_of_fold
        for split in run.evaluations:
            metrics = split.metrics
            for name, floor in floors.items():
                if name in CONSEQUENCES and run.record.promise is not None:
                    continue  # which is told as a broken promise
                if (value := getattr(metrics, name)) < floor:
                    found.append(
                        Notice(
                            f"{run.name}: {name} is {number(value)} on {split.title}, below the "
                            f"floor of {floor:g} that the threshold was chosen for."
                        )
                    )
            found += _worse_than_promised(run, split)
            interval = metrics.intervals.get("roc_auc")
            if own is not None and interval and own.metrics.roc_auc > interval.high:
                found.append(
                    Notice(
                        f"{run.name}: ROC AUC is {number(metrics.roc_auc)} on {split.title} and "
                        f"{number(own.metrics.roc_auc)} out of fold, which is above the 95 % "
                        "interval: these images are harder, or from another population."
                    )
                )
    return found


def _worse_than_promised(run: RunData, split: EvaluatedSplit) -> list[Block]:
    """Say where recall or specificity fell below what chose the threshold, by more than chance.

    More than chance is: the value out of fold is above the 95 % interval on these images, which
    resamples patients, in the digits that are shown. A promised recall is held to its floor, as
    accuracy is.
    """
    record, metrics, found = run.record, split.metrics, []
    calibrated, where = record.calibrated, "out of fold"
    if calibrated is not None:
        before, where = calibrated.new, "on the images that the threshold was chosen on"
    elif run.out_of_fold is not None:
        before = {name: getattr(run.out_of_fold.metrics, name) for name in CONSEQUENCES}
    else:
        before = {}
    promise = record.promise
    for name, meaning in CONSEQUENCES.items():
        floor = None if promise is None else getattr(promise, f"{name}_floor")
        value, interval = getattr(metrics, name), metrics.intervals.get(name)
        promised = before.get(name)
        if floor is not None and value < floor:
            text = f"below the {floor:g} that was promised"
        elif interval and promised is not None and round(promised, 3) > round(interval.high, 3):
            text = f"and was {number(promised)} {where}, which is above the 95 % interval"
        else:
            continue
        value_told = with_interval(metrics, name)
        found.append(
            Notice(f"{run.name}: {name} is {value_told} on {split.title}, {text}: {meaning}.")
        )
    return list(found)


def headline_blocks(data: ReportData) -> list[Block]:
    """Say which class is the positive one, and what became of the sick and the healthy."""
    classes = dict.fromkeys(run.record.classes for run in data.runs)
    blocks: list[Block] = [Text(positive_sentence(pair)) for pair in classes]
    told = []
    for run in data.runs:
        for split in run.evaluations or run.splits:
            counts = counts_in_words(split.metrics.confusion, run.record.classes)
            people = per_thousand(split.metrics)
            more = f" {people.in_words}" if people is not None else ""
            told.append(f"{run.name}, {split.title}: {counts}{more}")
    return [*blocks, Items(tuple(told))]


def performance_section(data: ReportData, title: str, advance: Advance) -> Section | None:
    """Tell how all runs did on one set of images. None if none was scored on it."""
    pairs = data.on(title)
    if not pairs:
        return None
    own = title == OUT_OF_FOLD
    blocks: list[Block] = [_about(pairs, own), _metrics_table(pairs)]
    blocks += _intervals_note(pairs)
    if len(pairs) > 1 and any(split.both_classes for _, split in pairs):
        together = [pair for pair in pairs if pair[1].both_classes]
        blocks.append(Gallery(tuple(_curves(together, title))))
    for run, split in pairs:
        pictures = _pictures(run, split, with_curves=len(pairs) == 1)
        advance(1)
        inner: tuple[Block, ...] = (Gallery(tuple(pictures)), _calibration_table(split))
        if not split.both_classes:
            remark = Notice("All these images are of one class: there are no curves to draw.")
            inner = (remark, *inner)
        if len(pairs) == 1:
            blocks += inner
        else:
            blocks.append(Section(run.name, f"{split.key}-{run.key}", inner))
    heading = "Out of fold (internal validation)" if own else f"Performance on {title}"
    return Section(heading, pairs[0][1].key, tuple(blocks), "TRIPOD+AI items 15, 16 and 23")


def _about(pairs: Sequence[Pair], own: bool) -> Text:
    split = pairs[0][1]
    moved = [run.name for run, _ in pairs if run.record.calibrated is not None]
    if own:
        text = (
            "Each image was scored by a head that was trained without its patient. The threshold "
            "was chosen on these same scores: recall and accuracy at it are a little optimistic, "
            "ROC AUC and average precision chose nothing."
        )
        if moved:
            text += f" Not so {listed(moved)}: that threshold was chosen on images from elsewhere."
        return Text(text)
    images = plural(split.metrics.images, "image")
    text = f"{images} of {plural(split.metrics.patients, 'patient')}"
    text += " that no run here was fitted on, at the threshold chosen out of fold"
    text += f" ({listed(moved)}: on images from elsewhere)." if moved else "."
    if said := split.images.left_out.sentence:
        text += f" {said}"
    return Text(text)


def _metrics_table(pairs: Sequence[Pair]) -> Table:
    rows = [("images", *(f"{split.metrics.images:,}" for _, split in pairs))]
    rows.append(("patients", *(f"{split.metrics.patients:,}" for _, split in pairs)))
    rows.append(("threshold", *(f"{split.metrics.threshold:.6g}" for _, split in pairs)))
    for name, words in METRIC_NAMES.items():
        rows.append((words, *(with_interval(split.metrics, name) for _, split in pairs)))
    for key, words in (
        ("tp", "true positives"),
        ("fn", "misses (false negatives)"),
        ("tn", "true negatives"),
        ("fp", "false alarms (false positives)"),
    ):
        rows.append((words, *(f"{split.metrics.confusion[key]:,}" for _, split in pairs)))
    return Table(("", *(run.name for run, _ in pairs)), tuple(rows))


def _intervals_note(pairs: Sequence[Pair]) -> list[Block]:
    few = min(split.metrics.patients for _, split in pairs)
    if few >= 100:
        return []
    return [
        Notice(
            f"These are {plural(few, 'patient')} only: the intervals are wide, and themselves "
            "uncertain."
        )
    ]


def _curves(pairs: Sequence[Pair], title: str) -> list[Picture]:
    """Draw the ROC and the precision-recall curve of some runs on the same images."""
    runs: dict[str, Subject] = {run.name: split for run, split in pairs}
    first, split = pairs[0]
    drawn: Subjects = runs if len(pairs) > 1 else split
    found = []
    for draw, kind, what, area, point in (
        (plots.roc_curve, "roc", "ROC curve", "roc_auc", ("recall", "specificity")),
        (
            plots.precision_recall_curve,
            "precision-recall",
            "Precision-recall curve",
            "average_precision",
            ("precision", "recall"),
        ),
    ):
        told = []
        for name, each in ((run.name, one.metrics) for run, one in pairs):
            at = " at ".join(f"{metric} {number(getattr(each, metric))}" for metric in point)
            value = with_interval(each, area)
            told.append(f"{name}: {METRIC_NAMES[area]} {value}, operating point {at}")
        axes = draw(drawn, new_axes(), seed=first.record.seed)
        name = f"{kind}-{split.key}-{first.key if len(pairs) == 1 else 'together'}"
        alt = f"{what} on {title} with its 95 % band. {'; '.join(told)}"
        found.append(svg_picture(axes, name, alt))
    return found


def _pictures(run: RunData, split: EvaluatedSplit, *, with_curves: bool) -> list[Picture]:
    """Draw one run on one set of images."""
    record, metrics = run.record, split.metrics
    key, on = f"{split.key}-{run.key}", f"{run.name} on {split.title}"
    found: list[Picture] = []
    if split.both_classes:
        found += _curves([(run, split)], split.title) if with_curves else []
        uncertain = record.band
        axes = plots.threshold_curve(
            split,
            new_axes(),
            criterion=record.criterion,
            uncertain_range=uncertain,
        )
        criterion = record.criterion.in_words
        between = f", uncertain range {uncertain[0]:.4g} to {uncertain[1]:.4g}" if uncertain else ""
        alt = (
            f"Recall and accuracy of {on} against the threshold, with 95 % bands; {criterion}, "
            f"threshold {metrics.threshold:.4g}, where recall is "
            f"{number(metrics.recall)} and accuracy {number(metrics.accuracy)}{between}"
        )
        found.append(svg_picture(axes, f"threshold-{key}", alt))
    alt = (
        f"Calibration of {on}: share of positives against the mean score, and against the mean "
        "probability where that isn't the score, in bins of a tenth; "
        f"expected calibration error {number(metrics.calibration_error)}"
    )
    above, below = new_axes(2, (3, 1))
    axes = draw_calibration(split, above, below, _probabilities(run, split.scores.score))
    found.append(svg_picture(axes, f"calibration-{key}", alt))
    alt = f"Histogram of the scores of {on} by class, threshold {metrics.threshold:.4g}"
    found.append(svg_picture(plots.score_histogram(split, new_axes()), f"scores-{key}", alt))
    n, (negative, positive) = metrics.confusion, record.classes
    alt = (
        f"Confusion matrix of {on}: of {n['tn'] + n['fp']:,} {negative} {n['tn']:,} called so and "
        f"{n['fp']:,} called {positive}; of {n['tp'] + n['fn']:,} {positive} {n['tp']:,} called so "
        f"and {n['fn']:,} called {negative}"
    )
    found.append(svg_picture(plots.confusion_matrix(split, new_axes()), f"confusion-{key}", alt))
    return found + _decision_pictures(run, split)


def _decision_pictures(run: RunData, split: EvaluatedSplit) -> list[Picture]:
    """Draw the decision curve, if there are both classes and probabilities."""
    if not split.both_classes:
        return []
    try:
        curve = run_decision_curve(run.run, split.scores)
    except FeatxError:  # the out-of-fold scores are gone, which is told elsewhere
        return []
    alt = (
        f"Decision curve of {run.name} on {split.title} with its 95 % band, against treating all "
        f"and treating none, prevalence {curve.prevalence:.3g}. {curve.in_words}"
    )
    caption = f"{DECISION_CURVE_CAPTION} {curve.in_words}"
    axes = plots.decision_curve(curve, new_axes())
    return [svg_picture(axes, f"decision-{split.key}-{run.key}", alt, caption)]


def _probabilities(run: RunData, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return what `featx predict` calls the probability. None if that is the score itself."""
    try:
        return None if run.run.calibration is None else run.run.probability(scores)
    except FeatxError:  # the out-of-fold scores are gone, which is told elsewhere
        return None


def _calibration_table(split: EvaluatedSplit) -> Table:
    rows = tuple(
        (f"{mean:.3f}", f"{share:.3f}" if not math.isnan(share) else "", f"{count:,}")
        for mean, share, count in calibration_points(split.scores)
    )
    return Table(
        ("mean score", "share of positives", "images"),
        rows,
        "Calibration in bins a tenth wide: where scores are probabilities, the first two agree.",
        frozenset(),
        folded=True,
    )
