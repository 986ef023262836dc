"""What a report says of how well the runs did: tables, curves, and the operating point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx._progress import Advance
from featx.data import positive_sentence
from featx.errors import FeatxError
from featx.evaluation import counts_in_words
from featx.reports import _figures as figures
from featx.reports._document import Block, Gallery, Items, Notice, Picture, Section, Table, Text
from featx.reports._facts import OUT_OF_FOLD, Facts, RunFacts, Scored
from featx.reports._wording import METRICS, listed, number, plural, with_interval

Pair = tuple[RunFacts, Scored]

MEANING = {
    "recall": "more sick people are missed",
    "specificity": "more healthy people are called sick",
}
"""What it means that a metric is lower than where the threshold was chosen."""


def glance(facts: Facts) -> Section:
    """Put the numbers that matter most in one table."""
    rows = []
    for run in facts.runs:
        for scored in run.scored:
            metrics = scored.metrics
            rows.append(
                (
                    run.name,
                    scored.title,
                    f"{metrics.images:,} ({metrics.patients:,})",
                    *(
                        with_interval(metrics, name)
                        for name in ("recall", "accuracy", "specificity", "roc_auc")
                    ),
                    f"{metrics.threshold:.4g}",
                    f"{run.record.accuracy_floor:g}",
                )
            )
    columns = (
        "run", "images", "number (patients)", "recall", "accuracy", "specificity", "ROC AUC",
        "threshold", "accuracy floor",
    )  # fmt: skip
    table = Table(columns, tuple(rows), words=frozenset({0, 1}))
    note = Text(
        "In brackets: 95 % intervals by patients, not by images. "
        "Thresholds were chosen on the scores out of fold, so recall and accuracy there are a "
        "little optimistic; they are kept apart from those on other images.",
        small=True,
    )
    return Section(
        "Results at a glance", "glance", (*_findings(facts), table, note), "TRIPOD+AI item 2"
    )


def _findings(facts: Facts) -> list[Block]:
    """Say in words what a reader must not miss."""
    found: list[Block] = []
    for run in facts.runs:
        floor, own = run.record.accuracy_floor, run.out_of_fold
        for scored in run.evaluations:
            metrics = scored.metrics
            if metrics.accuracy < floor:
                found.append(
                    Notice(
                        f"{run.name}: accuracy is {number(metrics.accuracy)} on {scored.title}, "
                        f"below the floor of {floor:g} that the threshold was chosen for."
                    )
                )
            found += _worse_than_promised(run, scored)
            interval = metrics.intervals.get("roc_auc")
            if own is not None and interval and own.metrics.roc_auc > interval.high:
                found.append(
                    Notice(
                        f"{run.name}: ROC AUC is {number(metrics.roc_auc)} on {scored.title} and "
                        f"{number(own.metrics.roc_auc)} out of fold, which is above the 95 % "
                        "interval: these images are harder, or from another population."
                    )
                )
    return found


def _worse_than_promised(run: RunFacts, scored: Scored) -> list[Block]:
    """Say where recall or specificity fell below what chose the threshold, by more than chance.

    More than chance is: the value out of fold is above the 95 % interval on these images, which
    resamples patients. A promised recall is held to its floor, as accuracy is.
    """
    record, metrics, found = run.record, scored.metrics, []
    calibrated, where = record.calibrated, "out of fold"
    if calibrated is not None:
        before, where = calibrated.get("new", {}), "on the images that the threshold was chosen on"
    elif run.out_of_fold is not None:
        before = {name: getattr(run.out_of_fold.metrics, name) for name in MEANING}
    else:
        before = {}
    floor = record.promise.recall_floor if record.promise is not None else None
    for name, meaning in MEANING.items():
        value, interval = getattr(metrics, name), metrics.intervals.get(name)
        promised = before.get(name)
        if name == "recall" and floor is not None and value < floor:
            text = f"below the {floor:g} that was promised"
        elif interval is not None and promised is not None and promised > interval.high:
            text = f"and was {number(promised)} {where}, which is above the 95 % interval"
        else:
            continue
        value_told = with_interval(metrics, name)
        found.append(
            Notice(f"{run.name}: {name} is {value_told} on {scored.title}, {text}: {meaning}.")
        )
    return list(found)


def first_lines(facts: Facts) -> list[Block]:
    """Say which class is the positive one, and what became of the sick and the healthy."""
    classes = dict.fromkeys(run.record.classes for run in facts.runs)
    blocks: list[Block] = [Text(positive_sentence(pair)) for pair in classes]
    told = [
        f"{run.name}, {scored.title}: "
        f"{counts_in_words(scored.metrics.confusion, run.record.classes)}"
        for run in facts.runs
        for scored in run.evaluations or run.scored
    ]
    return [*blocks, Items(tuple(told))]


def performance(facts: Facts, title: str, advance: Advance) -> Section | None:
    """Tell how all runs did on one set of images; None when none was scored on it."""
    pairs = [(run, s) for run in facts.runs for s in run.scored if s.title == title]
    if not pairs:
        return None
    own = title == OUT_OF_FOLD
    blocks: list[Block] = [_about(pairs, own), _metrics_table(pairs)]
    blocks += _intervals_note(pairs)
    if len(pairs) > 1 and any(scored.both_classes for _, scored in pairs):
        together = [pair for pair in pairs if pair[1].both_classes]
        blocks.append(Gallery(tuple(_curves(together, title))))
    for run, scored in pairs:
        pictures = _pictures(run, scored, alone=len(pairs) == 1)
        advance(1)
        inner: tuple[Block, ...] = (Gallery(tuple(pictures)), _calibration_table(scored))
        if not scored.both_classes:
            remark = Notice("All these images are of one class: there are no curves to draw.")
            inner = (remark, *inner)
        if len(pairs) == 1:
            blocks += inner
        else:
            blocks.append(Section(run.name, f"{scored.key}-{run.key}", inner))
    heading = "Out of fold (internal validation)" if own else f"Performance on {title}"
    return Section(heading, pairs[0][1].key, tuple(blocks), "TRIPOD+AI items 15, 16 and 23")


def _about(pairs: Sequence[Pair], own: bool) -> Text:
    scored = pairs[0][1]
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
    images = plural(scored.metrics.images, "image")
    text = f"{images} of {plural(scored.metrics.patients, 'patient')}"
    text += " that no run here was fitted on, at the threshold chosen out of fold"
    text += f" ({listed(moved)}: on images from elsewhere)." if moved else "."
    if said := scored.images.left_out.sentence:
        text += f" {said}"
    return Text(text)


def _metrics_table(pairs: Sequence[Pair]) -> Table:
    rows = [("images", *(f"{scored.metrics.images:,}" for _, scored in pairs))]
    rows.append(("patients", *(f"{scored.metrics.patients:,}" for _, scored in pairs)))
    rows.append(("threshold", *(f"{scored.metrics.threshold:.6g}" for _, scored in pairs)))
    for name, words in METRICS.items():
        rows.append((words, *(with_interval(scored.metrics, name) for _, scored in pairs)))
    for key, words in (
        ("tp", "true positives"),
        ("fn", "misses (false negatives)"),
        ("tn", "true negatives"),
        ("fp", "false alarms (false positives)"),
    ):
        rows.append((words, *(f"{scored.metrics.confusion[key]:,}" for _, scored in pairs)))
    return Table(("", *(run.name for run, _ in pairs)), tuple(rows))


def _intervals_note(pairs: Sequence[Pair]) -> list[Block]:
    few = min(scored.metrics.patients for _, scored in pairs)
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
    found = []
    for kind, band_of, metric, short in (
        ("roc", figures.roc_of, "roc_auc", "AUC"),
        ("precision-recall", figures.precision_recall_of, "average_precision", "AP"),
    ):
        curves, points, told = {}, [], []
        for run, scored in pairs:
            metrics = scored.metrics
            value = with_interval(metrics, metric)
            curves[run.name] = (band_of(scored, run.record.seed), _short(metrics, metric, short))
            if kind == "roc":
                points.append((1.0 - metrics.specificity, metrics.recall))
                where = f"recall {number(metrics.recall)}"
                where += f" at specificity {number(metrics.specificity)}"
            else:
                points.append((metrics.recall, metrics.precision))
                where = f"precision {number(metrics.precision)} at recall {number(metrics.recall)}"
            told.append(f"{run.name}: {METRICS[metric]} {value}, operating point {where}")
        run, scored = pairs[0]
        name = f"{kind}-{scored.key}-{run.key if len(pairs) == 1 else 'together'}"
        what = "ROC curve" if kind == "roc" else "Precision-recall curve"
        alt = f"{what} on {title} with its 95 % band. {'; '.join(told)}"
        found.append(figures.picture(figures.curves_figure(kind, curves, points), name, alt))
    return found


def _short(metrics: Any, metric: str, short: str) -> str:
    interval = metrics.intervals.get(metric)
    between = f" ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    return f"{short} {getattr(metrics, metric):.3f}{between}"


def _pictures(run: RunFacts, scored: Scored, *, alone: bool) -> list[Picture]:
    """Draw one run on one set of images."""
    record, metrics = run.record, scored.metrics
    key, on = f"{scored.key}-{run.key}", f"{run.name} on {scored.title}"
    scores = scored.table["score"].to_numpy(float)
    found: list[Picture] = []
    if scored.both_classes:
        found += _curves([(run, scored)], scored.title) if alone else []
        band = record.band
        figure = figures.operating_point_figure(scored, record.accuracy_floor, band)
        uncertain = f", uncertain band {band[0]:.4g} to {band[1]:.4g}" if band else ""
        alt = (
            f"Recall and accuracy of {on} against the threshold, with 95 % bands; accuracy floor "
            f"{record.accuracy_floor:g}, threshold {metrics.threshold:.4g}, where recall is "
            f"{number(metrics.recall)} and accuracy {number(metrics.accuracy)}{uncertain}"
        )
        found.append(figures.picture(figure, f"threshold-{key}", alt))
    alt = (
        f"Calibration of {on}: share of positives against the mean score, and against the mean "
        "probability where that isn't the score, in bins of a tenth; "
        f"expected calibration error {number(metrics.calibration_error)}"
    )
    figure = figures.calibration_figure(scored.truth, scores, _probabilities(run, scores))
    found.append(figures.picture(figure, f"calibration-{key}", alt))
    figure = figures.scores_figure(scored.truth, scores, metrics.threshold, record.classes)
    alt = f"Histogram of the scores of {on} by class, threshold {metrics.threshold:.4g}"
    found.append(figures.picture(figure, f"scores-{key}", alt))
    n, (negative, positive) = metrics.confusion, record.classes
    alt = (
        f"Confusion matrix of {on}: of {n['tn'] + n['fp']:,} {negative} {n['tn']:,} called so and "
        f"{n['fp']:,} called {positive}; of {n['tp'] + n['fn']:,} {positive} {n['tp']:,} called so "
        f"and {n['fn']:,} called {negative}"
    )
    figure = figures.confusion_figure(metrics, record.classes)
    found.append(figures.picture(figure, f"confusion-{key}", alt))
    return found


def _probabilities(run: RunFacts, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return what `featx predict` calls the probability; None where it is the score itself."""
    try:
        return None if run.run.calibration is None else run.run.probability(scores)
    except FeatxError:  # the out-of-fold scores are gone, which is told elsewhere
        return None


def _calibration_table(scored: Scored) -> Table:
    scores = scored.table["score"].to_numpy(float)
    rows = tuple(
        (f"{mean:.3f}", f"{share:.3f}" if not math.isnan(share) else "", f"{count:,}")
        for mean, share, count in figures.calibration_points(scored.truth, scores)
    )
    return Table(
        ("mean score", "share of positives", "images"),
        rows,
        "Calibration in bins a tenth wide: where scores are probabilities, the first two agree.",
        frozenset(),
        folded=True,
    )
