"""Figures of a report: curves with their bands, calibration, scores, learning, class balance."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from featx._scores import Scores
from featx.evaluation import Metrics
from featx.evaluation._confidence_bands import (
    Band,
    precision_recall_band,
    roc_band,
    threshold_bands,
)
from featx.evaluation._metrics import BINS
from featx.reports._document import Picture
from featx.reports._score_axis import even_logits, label_scores, logit_span, within
from featx.training._history import BLUE, CURVES, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#666666"
# Okabe and Ito's colours, which people with colour blindness can tell apart; no yellow on white.
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
DASHES = ("-", "--", "-.", ":")
THRESHOLDS = np.union1d(np.linspace(0.0, 1.0, 201), [0.001, 0.002, 0.01, 0.99, 0.998, 0.999])
CORNER_FROM = 0.97
"""Areas of curves from which on all that there is to see is in the corner."""

SCORE_BINS = 40
MOST_ON_LINEAR_AXIS = 60
"""Images in a bar; with more, bars of few images would not be seen beside it."""

_STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "legend.fontsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # looks the same on every machine
    "svg.hashsalt": "featx",  # the same figure is the same file
    "path.simplify_threshold": 0.2,
}


def curves_figure(
    kind: str, curves: Mapping[str, tuple[Band, str]], points: Sequence[tuple[float, float]]
) -> Figure:
    """Draw ROC or precision-recall curves with their bands and operating points.

    Parameters
    ----------
    kind
        ``roc`` or ``precision-recall``.
    curves
        By name: the band, and what the legend adds to the name.
    points
        The operating point of each.
    """
    figure, axes = _figure()
    for number, (name, (band, text)) in enumerate(curves.items()):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        label = _plain(f"{name}, {text}" if len(curves) > 1 else text)
        if kind == "roc":
            axes.plot(band.x, band.y, color=colour, ls=dashes, lw=1.6, label=label)
            axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.18, lw=0)
        else:
            axes.step(band.x, band.y, where="pre", color=colour, ls=dashes, lw=1.6, label=label)
            axes.fill_between(
                band.at, band.low, band.high, step="pre", color=colour, alpha=0.18, lw=0
            )
        axes.plot(*points[number], "o", color=colour, ms=7, mec="white", mew=1.0)
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1, label="chance")
        axes.set(xlabel="1 − specificity (false alarms)", ylabel="recall (sensitivity)")
    else:
        axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    title = "ROC curve" if kind == "roc" else "Precision and recall"
    if _zoom(axes, kind, [band for band, _ in curves.values()], points):
        title += f", upper {'left' if kind == 'roc' else 'right'} corner"
    axes.set_title(title)
    _legend(figure, len(curves), columns=1 if len(curves) > 1 else 2)
    return figure


def _zoom(
    axes: Any, kind: str, bands: Sequence[Band], points: Sequence[tuple[float, float]]
) -> bool:
    """Show the corner alone where all the curves bend in it, and say whether that was done."""
    if any(np.trapezoid(band.y, band.x) < CORNER_FROM for band in bands):
        return False
    across, up = zip(*points, strict=True)
    bottom = min(0.8, min(up) - 0.05)
    if kind == "roc":
        axes.set(xlim=(-0.005, max(0.2, max(across) + 0.05)), ylim=(bottom, 1.005))
    else:
        axes.set(xlim=(min(0.8, min(across) - 0.05), 1.005), ylim=(bottom, 1.005))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return True


def roc_of(scored: Any, seed: int) -> Band:
    """Return the ROC band of some scores."""
    return roc_band(_scores_of(scored), seed=seed)


def precision_recall_of(scored: Any, seed: int) -> Band:
    """Return the precision-recall band of some scores."""
    return precision_recall_band(_scores_of(scored), seed=seed)


def _scores_of(scored: Any) -> Scores:
    return Scores.from_arrays(scored.truth, scored.table["score"], scored.table["group"])


def operating_point_figure(
    scored: Any, floor: float, uncertain: tuple[float, float] | None
) -> Figure:
    """Draw recall and accuracy against the threshold with the floor and the uncertain band."""
    figure, axes = _figure()
    threshold = scored.metrics.threshold
    span = logit_span(threshold)
    place = within(span, threshold)
    places = np.union1d(THRESHOLDS if span is None else even_logits(*span, 201), [threshold])
    bands = threshold_bands(_scores_of(scored), places)
    if uncertain is not None:
        axes.axvspan(
            *np.clip(uncertain, *(span or (0.0, 1.0))),
            color="#F0E442",
            alpha=0.5,
            lw=0,
            label="uncertain band",
        )
    for name, colour, dashes in (("recall", BLUE, "-"), ("accuracy", ORANGE, "--")):
        band = bands[name]
        axes.plot(band.x, band.y, color=colour, ls=dashes, lw=1.6, label=name)
        axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.18, lw=0)
        axes.plot(place, getattr(scored.metrics, name), "o", color=colour, ms=7, mec="white")
    axes.axhline(floor, color=GREY, ls="-.", lw=1, label=f"accuracy floor {floor:g}")
    axes.axvline(place, color=GREY, ls=":", lw=1.2, label=f"threshold {threshold:.3g}")
    inner = (places > 0.01) & (places < 0.98) if span is None else np.ones(len(places), bool)
    least = min(floor, *(float(band.y[inner].min()) for band in bands.values()))
    bottom = least - 0.05 if least > 0.5 else -0.02
    axes.set(ylabel="fraction", xlim=(-0.02, 1.02), ylim=(bottom, 1.02))
    label_scores(axes, "threshold", span)
    axes.set_title("Recall and accuracy against the threshold")
    _legend(figure, 5, columns=2)
    return figure


def calibration_points(
    truth: NDArray[np.bool_], scores: NDArray[np.float64]
) -> list[tuple[float, float, int]]:
    """Return mean score, share of positives and number of images of each bin that has some.

    scikit-learn's `calibration_curve` over ten bins of equal width.
    """
    from sklearn.calibration import calibration_curve

    clipped = scores.clip(0.0, 1.0)
    shares, means = calibration_curve(truth, clipped, n_bins=BINS, strategy="uniform")
    edges = np.linspace(0.0, 1.0, BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], clipped), minlength=BINS)
    held = counts[counts > 0].tolist()
    return list(zip(means.tolist(), shares.tolist(), held, strict=True))


def calibration_figure(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    probabilities: NDArray[np.float64] | None = None,
) -> Figure:
    """Draw the share of positives against the mean score, over the number of images.

    Parameters
    ----------
    truth, scores
        Of each image.
    probabilities
        What `featx predict` calls so; None where it is the score.
    """
    from featx.evaluation._interval import proportion_interval

    figure, (axes, below) = _figure(2, ratios=(3, 1))
    points = calibration_points(truth, scores)
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1, label="perfect")
    for mean, share, count in points:
        interval = proportion_interval(round(share * count), count)
        if interval is not None:
            axes.plot([mean, mean], [interval.low, interval.high], color=BLUE, lw=1.2, alpha=0.6)
    means, shares, counts = (list(column) for column in zip(*points, strict=True))
    what = "score" if probabilities is not None else "score, which is the probability"
    axes.plot(means, shares, "o-", color=BLUE, lw=1.4, label=f"{what}, with Wilson intervals")
    if probabilities is not None:
        mapped = calibration_points(truth, probabilities)
        axes.plot(
            *zip(*((mean, share) for mean, share, _ in mapped), strict=True),
            "s--", color=ORANGE, lw=1.2, ms=4, label="probability, made of the score",
        )  # fmt: skip
    axes.set(ylabel="share of positives", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title("Calibration: do scores mean probabilities?")
    _legend(figure, 3, columns=1)
    below.bar(means, counts, 0.05, color=GREY)
    below.set(xlabel="mean of the bin", ylabel="images", xlim=(-0.02, 1.02))
    if max(counts) > MOST_ON_LINEAR_AXIS:
        below.set_yscale("symlog", linthresh=1)
    below.set_ylim(bottom=0)
    return figure


def scores_figure(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    threshold: float,
    classes: tuple[str, str],
) -> Figure:
    """Draw how many images of each class have which score."""
    figure, axes = _figure()
    span = logit_span(threshold)
    if span is None:
        low, high = min(0.0, float(scores.min())), max(1.0, float(scores.max()))
        bins = np.linspace(low, high, SCORE_BINS + 1)
    else:
        scores, bins = scores.clip(*span), even_logits(*span, SCORE_BINS + 1)
    for number, (label, colour) in enumerate(zip(classes, (BLUE, ORANGE), strict=True)):
        of_class = scores[truth == bool(number)]
        axes.hist(
            of_class, bins, color=colour, alpha=0.5, label=_plain(f"{label} ({len(of_class):,})")
        )
        axes.hist(of_class, bins, color=colour, histtype="step", lw=1.2)
    axes.axvline(
        within(span, threshold), color=GREY, ls=":", lw=1.4, label=f"threshold {threshold:.3g}"
    )
    counts = "images"
    if axes.get_ylim()[1] > MOST_ON_LINEAR_AXIS:
        counts = "images (logarithmic)"
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set(ylabel=counts, title="Scores by class")
    label_scores(axes, "score", span)
    _legend(figure, 3)
    return figure


def distributions_figure(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    quantity: str,
    title: str,
    limit: float | None = None,
    span: tuple[float, float] | None = None,
) -> Figure:
    """Draw which share of the images has at most which value, in training and here.

    Parameters
    ----------
    curves
        By name: the values in training, and those here.
    quantity, title
        What the values are.
    limit
        Where a line is drawn that 1 % of the training images are beyond.
    span
        See `logit_span`. None for an even axis.
    """
    figure, axes = _figure()
    for (name, (there, here)), colour in zip(curves.items(), (BLUE, ORANGE), strict=False):
        for values, dashes, where in ((there, "--", "training"), (here, "-", "here")):
            values = values if span is None else values.clip(*span)
            axes.ecdf(values, color=colour, ls=dashes, lw=1.6, label=_plain(f"{name}, {where}"))
    if limit is not None:
        label = "99 % of training are below"
        axes.axvline(limit, color=GREY, ls=":", lw=1.2, label=label)
    axes.set(ylabel="share of the images", title=title, ylim=(-0.02, 1.02))
    label_scores(axes, quantity, span)
    _legend(figure, 4, columns=2)
    return figure


def confusion_figure(metrics: Metrics, classes: tuple[str, str]) -> Figure:
    """Draw the confusion matrix: counts, and their share of the row."""
    figure, axes = _figure()
    n = metrics.confusion
    counts = np.array([[n["tn"], n["fp"]], [n["fn"], n["tp"]]])
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axes.text(
            column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", fontsize=13,
            color="white" if share > 0.55 else "black",
        )  # fmt: skip
    names = [_plain(_short(label)) for label in classes]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel="called", ylabel="truth", title="Confusion matrix")
    return figure


def learning_figures(history: pd.DataFrame) -> dict[str, Figure]:
    """Draw loss, accuracy and recall against the epoch: folds thin, the final fit bold."""
    figures = {}
    for name in CURVES:
        if name not in history:
            continue
        figure, axes = _figure()
        marked: set[str] = set()
        for (training, _), epochs in history.groupby(["training", "member"], sort=False):
            final = training == "final"
            how: dict[str, Any] = {"lw": 2.2 if final else 0.9, "alpha": 1.0 if final else 0.45}
            which = "final fit" if final else "folds"
            for column, colour, dashes, images in (
                (name, BLUE, "-", "training images"),
                (f"val_{name}", ORANGE, "--", "held-out patients"),
            ):
                if column not in epochs or epochs[column].isna().all():
                    continue
                label = f"{images}, {which}"
                axes.plot(
                    epochs["epoch"], epochs[column], color=colour, ls=dashes,
                    marker="." if len(epochs) < 3 else "",
                    label="" if label in marked else label, **how,
                )  # fmt: skip
                marked.add(label)
        if name == "loss" and history[name].max() > 5.0 * max(history[name].min(), 1e-12):
            axes.set_yscale("log")  # the first epoch's would press all others onto the axis
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=name, title=f"{name[:1].upper()}{name[1:]} by epoch")
        axes.grid(alpha=0.25)
        _legend(figure, 4, columns=2)
        figures[name] = figure
    return figures


def balance_figure(counts: pd.DataFrame) -> Figure:
    """Draw the share of each class in each split, with counts."""
    figure, axes = _figure(height=1.5 + 0.55 * len(counts))
    shares = counts.div(counts.sum(axis=1), axis=0)
    place, left = np.arange(len(counts)), np.zeros(len(counts))
    for label, colour in zip(counts.columns, (BLUE, ORANGE), strict=True):
        values = shares[label].to_numpy()
        bars = axes.barh(place, values, 0.7, left=left, color=colour, label=_plain(label))
        texts = [
            f"{count:,}" if value >= 0.08 else ""
            for value, count in zip(values, counts[label], strict=True)
        ]
        axes.bar_label(bars, texts, label_type="center", color="white", fontweight="bold")
        left += values
    axes.set_yticks(place, [_plain(str(name)) for name in counts.index])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(0, 1), xlabel="share of the images", title="Class balance by split")
    _legend(figure, 2)
    return figure


def picture(figure: Figure, name: str, alt: str, caption: str = "") -> Picture:
    """Return a figure as an SVG picture."""
    content = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": "featx"})
    return Picture(name, "svg", content.getvalue(), alt, caption)


def _legend(figure: Figure, entries: int, columns: int | None = None) -> None:
    """Put the legend below, where it hides nothing."""
    with mpl.rc_context(_STYLE):
        figure.legend(
            loc="outside lower center",
            ncols=columns or (1 if entries > 3 else 2),
            frameon=False,
            fontsize=9,
        )


def _figure(
    rows: int = 1, ratios: Sequence[float] = (1,), height: float = 4.2
) -> tuple[Figure, Any]:
    """Make a figure without pyplot, which would keep it and look for a screen."""
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, height), layout="constrained")
        axes = figure.subplots(rows, 1, gridspec_kw={"height_ratios": ratios}, sharex=rows > 1)
    return figure, axes


def _plain(text: str) -> str:
    """Keep a name from being read as a formula."""
    return text.replace("$", r"\$")


def _short(text: str, most: int = 18) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
