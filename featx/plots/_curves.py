"""Curves of scores: ROC, precision against recall, and recall and accuracy by threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn import metrics

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import METRIC_NAMES, Metrics
from featx.evaluation import _confidence_bands as bands
from featx.plots._score_axis import clip_to_span, even_logits, label_scores, logit_span
from featx.plots._style import (
    BLUE,
    COLORS,
    DASHES,
    GREY,
    ORANGE,
    add_legend,
    new_axes,
    plain_label,
)
from featx.plots._subjects import NamedScores, Subject, Subjects, all_subjects, one_subject
from featx.thresholds import Criterion

Values = NDArray[np.float64]
BAND_OPACITY = 0.18
MIN_CORNER_AREA = 0.97
"""Areas of curves from which on all that there is to see is in the corner."""

THRESHOLDS = np.union1d(np.linspace(0.0, 1.0, 201), [0.001, 0.002, 0.01, 0.99, 0.998, 0.999])


@dataclass(frozen=True, slots=True)
class _Kind:
    """Differences between ROC and precision-recall curves."""

    title: str
    corner: str
    labels: tuple[str, str]
    area: tuple[str, str]
    line: Callable[[Scores], tuple[Values, Values]]
    band: Callable[..., bands.Band]
    point: Callable[[Metrics], tuple[float, float]]
    steps: bool


def _roc_line(scores: Scores) -> tuple[Values, Values]:
    false_alarms, recall, _ = metrics.roc_curve(scores.positive, scores.score)
    return false_alarms, recall


def _precision_recall_line(scores: Scores) -> tuple[Values, Values]:
    precision, recall, _ = metrics.precision_recall_curve(
        scores.positive, scores.score, drop_intermediate=True
    )
    return recall[::-1], precision[::-1]


_ROC = _Kind(
    "ROC curve",
    "upper left corner",
    ("1 − specificity (false alarms)", METRIC_NAMES["recall"]),
    ("roc_auc", "AUC"),
    _roc_line,
    bands.roc_band,
    lambda found: (1.0 - found.specificity, found.recall),
    steps=False,
)
_PRECISION_RECALL = _Kind(
    "Precision and recall",
    "upper right corner",
    (METRIC_NAMES["recall"], METRIC_NAMES["precision"]),
    ("average_precision", "AP"),
    _precision_recall_line,
    bands.precision_recall_band,
    lambda found: (found.recall, found.precision),
    steps=True,
)


def roc_curve(
    scores: Subjects,
    ax: Axes | None = None,
    *,
    threshold: float | None = None,
    band: bool = True,
    seed: int = 0,
) -> Axes:
    """Draw ROC curves: recall against false alarms, with 95 % bands and operating points.

    Parameters
    ----------
    scores
        Scores, an evaluation, or several of them by name.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    threshold
        Threshold of the operating point that is marked. None marks that of an evaluation.
    band
        Whether the band is drawn, which takes about a second: patients are resampled 2,000 times.
    seed
        Seed of the resampling.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If a class is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> axes = roc_curve(scores, Figure().subplots(), threshold=0.3, band=False)
    >>> axes.get_legend().get_texts()[0].get_text()
    'AUC 0.750'
    """
    return _draw(_ROC, all_subjects(scores, threshold), ax, band, seed)


def precision_recall_curve(
    scores: Subjects,
    ax: Axes | None = None,
    *,
    threshold: float | None = None,
    band: bool = True,
    seed: int = 0,
) -> Axes:
    """Draw precision against recall, with 95 % bands and operating points.

    Parameters
    ----------
    scores, ax, threshold, band, seed
        See `roc_curve`.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If a class is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> good = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9])
    >>> bad = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> runs = {"good": good, "bad": bad}
    >>> axes = precision_recall_curve(runs, Figure().subplots(), band=False)
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['good, AP 1.000', 'bad, AP 0.833']
    """
    return _draw(_PRECISION_RECALL, all_subjects(scores, threshold), ax, band, seed)


def _draw(
    kind: _Kind, subjects: Sequence[NamedScores], ax: Axes | None, band: bool, seed: int
) -> Axes:
    axes = ax if ax is not None else new_axes(shown=True)
    areas, points = [], []
    for number, subject in enumerate(subjects):
        style: Any = {"color": COLORS[number % len(COLORS)]}
        _require_both_classes(subject.scores)
        across, up = kind.line(subject.scores)
        axes.plot(
            across,
            up,
            drawstyle="steps-pre" if kind.steps else "default",
            ls=DASHES[number % len(DASHES)],
            lw=1.6,
            label=plain_label(_legend_text(kind, subject)),
            **style,
        )
        if band:
            found = kind.band(subject.scores, seed=seed)
            step: Any = "pre" if kind.steps else None
            axes.fill_between(
                found.at, found.low, found.high, step=step, alpha=BAND_OPACITY, lw=0, **style
            )
        areas.append(float(np.trapezoid(up, across)))
        if subject.threshold is not None:
            points.append(kind.point(subject.metrics))
            axes.plot(*points[-1], "o", ms=7, mec="white", mew=1.0, **style)
    if not kind.steps:
        axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1, label="chance")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=kind.title)
    axes.set(xlabel=kind.labels[0], ylabel=kind.labels[1])
    if points and min(areas) >= MIN_CORNER_AREA:
        _show_corner(axes, kind, points)
    add_legend(axes, len(subjects), columns=1 if len(subjects) > 1 else 2)
    return axes


def _legend_text(kind: _Kind, subject: NamedScores) -> str:
    metric, short = kind.area
    text = f"{short} {getattr(subject.metrics, metric):.3f}"
    interval = subject.metrics.intervals.get(metric)
    text += f" ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    return f"{subject.name}, {text}" if subject.name else text


def _show_corner(axes: Axes, kind: _Kind, points: Sequence[tuple[float, float]]) -> None:
    """Show the corner alone in which all the curves bend."""
    across, up = zip(*points, strict=True)
    bottom = min(0.8, min(up) - 0.05)
    if kind.steps:
        axes.set(xlim=(min(0.8, min(across) - 0.05), 1.005), ylim=(bottom, 1.005))
    else:
        axes.set(xlim=(-0.005, max(0.2, max(across) + 0.05)), ylim=(bottom, 1.005))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(f"{kind.title}, {kind.corner}")


def _require_both_classes(scores: Scores) -> None:
    if len(set(scores.positive.tolist())) < 2:
        raise InputError(f"all {len(scores)} images are of one class, so there is no curve to draw")


def _without_bands(scores: Scores, places: Values) -> dict[str, bands.Band]:
    """Return metrics at each threshold, without their bands, which take most of the time."""
    right = (scores.score[:, np.newaxis] >= places) == scores.positive[:, np.newaxis]
    sick, healthy = right[scores.positive], right[~scores.positive]
    found = {"recall": sick, "accuracy": right, "specificity": healthy}
    return {n: bands.Band(places, h.mean(axis=0), *[places] * 3) for n, h in found.items()}


def threshold_curve(
    scores: Subject,
    ax: Axes | None = None,
    *,
    threshold: float | None = None,
    accuracy_floor: float | None = None,
    criterion: Criterion | None = None,
    uncertain_range: tuple[float, float] | None = None,
    band: bool = True,
) -> Axes:
    """Draw recall and accuracy against the threshold, with 95 % bands.

    Specificity is drawn, too, if the criterion looks at it.

    Parameters
    ----------
    scores
        Scores or an evaluation.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    threshold
        Threshold that is marked. None marks that of an evaluation.
    accuracy_floor
        Accuracy that the threshold had to keep, drawn as a line.
    criterion
        Criterion that chose the threshold. Its floors are drawn as lines.
    uncertain_range
        Scores between which a verdict is uncertain.
    band
        Whether the bands are drawn.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If a class is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> axes = threshold_curve(scores, Figure().subplots(), threshold=0.3, accuracy_floor=0.7)
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['recall', 'accuracy', 'accuracy floor 0.7', 'threshold 0.3']
    """
    axes = ax if ax is not None else new_axes(shown=True)
    subject = one_subject(scores, threshold)
    marked = subject.threshold
    span = None if marked is None else logit_span(marked)
    places = THRESHOLDS if span is None else even_logits(*span, 201)
    if marked is not None:
        places = np.union1d(places, [marked])
    own = subject.scores
    _require_both_classes(own)
    floors = {} if criterion is None else criterion.floors
    if accuracy_floor is not None:
        floors["accuracy"] = accuracy_floor
    drawn = [("recall", BLUE, "-"), ("accuracy", ORANGE, "--")]
    if criterion is not None and criterion.looks_at_specificity:
        drawn.append(("specificity", COLORS[2], "-."))
    names = [name for name, *_ in drawn]
    curves = bands.threshold_bands(own, places, names) if band else _without_bands(own, places)
    if uncertain_range is not None:
        limits = np.clip(uncertain_range, *(span or (0.0, 1.0)))
        axes.axvspan(*limits, color="#F0E442", alpha=0.5, lw=0, label="uncertain range")
    for name, color, dashes in drawn:
        curve = curves[name]
        axes.plot(curve.x, curve.y, color=color, ls=dashes, lw=1.6, label=name)
        if band:
            axes.fill_between(
                curve.at, curve.low, curve.high, color=color, alpha=BAND_OPACITY, lw=0
            )
        if marked is not None:
            value = getattr(subject.metrics, name)
            axes.plot(clip_to_span(span, marked), value, "o", color=color, ms=7, mec="white")
    for name, floor in floors.items():
        axes.axhline(floor, color=GREY, ls="-.", lw=1, label=f"{name} floor {floor:g}")
    if marked is not None:
        at, label = clip_to_span(span, marked), f"threshold {marked:.3g}"
        axes.axvline(at, color=GREY, ls=":", lw=1.2, label=label)
    inner = (places > 0.01) & (places < 0.98) if span is None else np.ones(len(places), bool)
    least = min(*floors.values(), *(float(curves[name].y[inner].min()) for name in names))
    bottom = least - 0.05 if least > 0.5 else -0.02
    axes.set(ylabel="fraction", xlim=(-0.02, 1.02), ylim=(bottom, 1.02))
    label_scores(axes, "threshold", span)
    axes.set_title(f"{_listed(names).capitalize()} against the threshold")
    add_legend(axes, 5, columns=2)
    return axes


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
