"""Decision curves: the net benefit of a classifier, of treating all and of treating none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from featx._arguments import wrong_type
from featx.evaluation import DecisionCurve
from featx.plots._style import BLUE, GREY, ORANGE, add_legend, new_axes

BAND_OPACITY = 0.18
MARGIN = 0.08
"""Room above and below the curves, as a share of the prevalence."""

DEEPEST = 0.5
"""Shown loss at most, as a share of the prevalence: treating all falls without end."""


class Decided(Protocol):
    """Something that makes a decision curve of itself, such as a `featx.scoring.Evaluation`."""

    def decision_curve(self) -> DecisionCurve:
        """Return the curve."""


def decision_curve(
    curve: DecisionCurve | Decided, ax: Axes | None = None, *, band: bool = True
) -> Axes:
    """Draw a decision curve with its 95 % band: the highest line is the best choice.

    Parameters
    ----------
    curve
        Decision curve, or an evaluation. For another prevalence, draw
        ``evaluation.decision_curve(prevalence=0.05)``.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    band
        Whether the band is drawn.

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
    >>> from featx.evaluation import decision_curve as weigh
    >>> curve = weigh(Scores.from_arrays([0, 0, 0, 1], [0.1, 0.2, 0.6, 0.9]))
    >>> axes = decision_curve(curve, Figure().subplots())
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['treat by the model', 'treat all', 'treat none']
    """
    found = curve if isinstance(curve, DecisionCurve) else _curve_of(curve)
    axes = ax if ax is not None else new_axes(shown=True)
    at, benefit, share = found.thresholds, found.net_benefit, found.prevalence
    axes.plot(at, benefit, color=BLUE, lw=1.6, label="treat by the model")
    if band:
        axes.fill_between(at, found.low, found.high, color=BLUE, alpha=BAND_OPACITY, lw=0)
    axes.plot(at, found.treat_all, color=ORANGE, ls="--", lw=1.6, label="treat all")
    axes.axhline(0.0, color=GREY, ls=":", lw=1.4, label="treat none")
    own = found.operating_point
    if own is not None:
        axes.axvline(own, color=GREY, ls="-.", lw=1.0, label=f"own threshold, {own:.2g}")
        if own in at:
            place = float(benefit[np.searchsorted(at, own)])
            axes.plot(own, place, "o", color=BLUE, ms=7, mec="white")
    deepest = max(min(float(benefit.min()), 0.0), -DEEPEST * share)
    highest = float(np.nanmax(np.r_[share, found.high if band else share]))
    axes.set(xlim=(-0.02, 1.02), ylim=(deepest - MARGIN * share, highest + MARGIN * share))
    axes.set(xlabel="threshold probability, from which one would treat", ylabel="net benefit")
    axes.set_title(f"Decision curve, prevalence {share:.3g}")
    add_legend(axes, 4, columns=2)
    return axes


def _curve_of(subject: Decided) -> DecisionCurve:
    if not hasattr(subject, "decision_curve"):
        raise wrong_type("curve", subject, "an Evaluation or its `decision_curve()`")
    return subject.decision_curve()
