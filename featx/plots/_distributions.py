"""Distributions of scores: calibration, histograms by class, and cumulative distributions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from featx._scores import Scores
from featx.evaluation._interval import proportion_interval
from featx.evaluation._metrics import BINS
from featx.plots._score_axis import clip_to_span, even_logits, label_scores, logit_span
from featx.plots._style import BLUE, GREY, ORANGE, add_legend, new_axes, plain_label
from featx.plots._subjects import Subject, one_subject

HISTOGRAM_BINS = 40
MAX_LINEAR_COUNT = 60
"""Images in a bar. With more, an even axis would hide the bars of few images."""

Values = NDArray[np.float64]


def calibration_points(scores: Scores) -> list[tuple[float, float, int]]:
    """Return mean score, share of positives and number of images of each bin that has some.

    scikit-learn's `calibration_curve` over ten bins of equal width.
    """
    from sklearn import calibration

    clipped = scores.score.clip(0.0, 1.0)
    shares, means = calibration.calibration_curve(
        scores.positive, clipped, n_bins=BINS, strategy="uniform"
    )
    edges = np.linspace(0.0, 1.0, BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], clipped), minlength=BINS)
    return list(zip(means.tolist(), shares.tolist(), counts[counts > 0].tolist(), strict=True))


def calibration_curve(
    scores: Subject, ax: Axes | None = None, *, probabilities: Values | None = None
) -> Axes:
    """Draw the share of positives against the mean score, in ten bins with Wilson intervals.

    Parameters
    ----------
    scores
        Scores or an evaluation.
    ax
        Axes to draw on. None makes a figure with the number of images of each bin below.
    probabilities : ndarray of shape (images,), dtype float64, optional
        Probabilities that were made of the scores, drawn as a second curve.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> calibration_curve(scores, Figure().subplots()).get_ylabel()
    'share of positives'
    """
    axes, below = (ax, None) if ax is not None else new_axes(2, (3, 1), shown=True)
    return draw_calibration(scores, axes, below, probabilities)


def draw_calibration(
    subject: Subject, axes: Axes, below: Axes | None, probabilities: Values | None = None
) -> Axes:
    """Draw a calibration curve, and the number of images of each bin on axes below it."""
    scores = one_subject(subject, None).scores
    points = calibration_points(scores)
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1, label="perfect")
    for mean, share, count in points:
        interval = proportion_interval(round(share * count), count)
        if interval is not None:
            axes.plot([mean, mean], [interval.low, interval.high], color=BLUE, lw=1.2, alpha=0.6)
    means, shares, counts = (list(column) for column in zip(*points, strict=True))
    what = "score" if probabilities is not None else "score, which is the probability"
    axes.plot(means, shares, "o-", color=BLUE, lw=1.4, label=f"{what}, with Wilson intervals")
    if probabilities is not None:
        mapped = calibration_points(
            Scores(scores.positive, probabilities, scores.patient, scores.classes)
        )
        axes.plot(
            [mean for mean, _, _ in mapped],
            [share for _, share, _ in mapped],
            "s--", color=ORANGE, lw=1.2, ms=4, label="probability, made of the score",
        )  # fmt: skip
    axes.set(ylabel="share of positives", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title("Calibration: do scores mean probabilities?")
    add_legend(axes, 3, columns=1)
    if below is None:
        axes.set_xlabel("mean of the bin")
        return axes
    below.bar(means, counts, 0.05, color=GREY)
    below.set(xlabel="mean of the bin", ylabel="images", xlim=(-0.02, 1.02))
    if max(counts) > MAX_LINEAR_COUNT:
        below.set_yscale("symlog", linthresh=1)
    below.set_ylim(bottom=0)
    return axes


def score_histogram(
    scores: Subject, ax: Axes | None = None, *, threshold: float | None = None
) -> Axes:
    """Draw how many images of each class have which score.

    Parameters
    ----------
    scores
        Scores or an evaluation.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    threshold
        Threshold that is marked. None marks that of an evaluation.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from featx import Scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    >>> axes = score_histogram(scores, Figure().subplots(), threshold=0.3)
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['negative (2)', 'positive (2)', 'threshold 0.3']
    """
    axes = ax if ax is not None else new_axes(shown=True)
    subject = one_subject(scores, threshold)
    own, marked = subject.scores, subject.threshold
    values, span = own.score, None if marked is None else logit_span(marked)
    if span is None:
        low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
        bins = np.linspace(low, high, HISTOGRAM_BINS + 1)
    else:
        values, bins = values.clip(*span), even_logits(*span, HISTOGRAM_BINS + 1)
    edges = bins.tolist()
    for label, members, color in zip(
        own.classes, (~own.positive, own.positive), (BLUE, ORANGE), strict=True
    ):
        of_class = values[members]
        text = plain_label(f"{label} ({len(of_class):,})")
        axes.hist(of_class, edges, color=color, alpha=0.5, label=text)
        axes.hist(of_class, edges, color=color, histtype="step", lw=1.2)
    if marked is not None:
        at, text = clip_to_span(span, marked), f"threshold {marked:.3g}"
        axes.axvline(at, color=GREY, ls=":", lw=1.4, label=text)
    counts = "images"
    if axes.get_ylim()[1] > MAX_LINEAR_COUNT:
        counts = "images (logarithmic)"
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set(ylabel=counts, title="Scores by class")
    label_scores(axes, "score", span)
    add_legend(axes, 3)
    return axes


def cumulative_distribution(
    values: Mapping[str, tuple[Values, Values]],
    ax: Axes | None = None,
    *,
    quantity: str = "score",
    limit: float | None = None,
    span: tuple[float, float] | None = None,
) -> Axes:
    """Draw which share of the images has at most which value, in training and elsewhere.

    Parameters
    ----------
    values
        One or two pairs by name: values of the training images, and of the other images.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    quantity
        Name of the values.
    limit
        Value that 1 % of the training images exceed, drawn as a line.
    span
        Ends of an axis of log odds. None draws an even axis.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> values = {"NORMAL": (np.array([0.1, 0.2]), np.array([0.3, 0.4]))}
    >>> axes = cumulative_distribution(values, Figure().subplots())
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['NORMAL, training', 'NORMAL, here']
    """
    axes = ax if ax is not None else new_axes(shown=True)
    for (name, pair), color in zip(values.items(), (BLUE, ORANGE), strict=False):
        for each, dashes, where in zip(pair, ("--", "-"), ("training", "here"), strict=True):
            drawn = each if span is None else each.clip(*span)
            axes.ecdf(drawn, color=color, ls=dashes, lw=1.6, label=plain_label(f"{name}, {where}"))
    if limit is not None:
        label = "99 % of training are below"
        axes.axvline(limit, color=GREY, ls=":", lw=1.2, label=label)
    axes.set(ylabel="share of the images", ylim=(-0.02, 1.02))
    label_scores(axes, quantity, span)
    add_legend(axes, 4, columns=2)
    return axes
