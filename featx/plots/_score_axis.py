"""The axis of scores in figures: even, or of log odds where the threshold is near 0 or 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from scipy.special import expit, logit

EDGE_DISTANCE = 0.02
"""Distance from 0 or 1 below which a threshold can't be told from the end of an even axis."""

MAX_TICKS = 9
"""Number of labels that fit side by side."""


def logit_span(threshold: float) -> tuple[float, float] | None:
    """Return where an axis of log odds begins and ends. None where an even one shows the threshold.

    Examples
    --------
    >>> logit_span(0.3) is None, logit_span(1.5e-5)[0]
    (True, 1e-07)
    """
    if not 0.0 < threshold < 1.0 or EDGE_DISTANCE < threshold < 1.0 - EDGE_DISTANCE:
        return None

    def beyond(gap: float) -> float:
        return max(float(10.0 ** (np.floor(np.log10(gap)) - 2)), 1e-15)

    return min(beyond(threshold), 1e-3), 1.0 - min(beyond(1.0 - threshold), 1e-3)


def clip_to_span(span: tuple[float, float] | None, threshold: float) -> float:
    """Return where a threshold is drawn: at the end of the axis if the axis doesn't reach it."""
    return threshold if span is None else min(max(threshold, span[0]), span[1])


def even_logits(low: float, high: float, number: int) -> NDArray[np.float64]:
    """Return numbers from low to high whose log odds are evenly spaced."""
    spaced: NDArray[np.float64] = expit(np.linspace(logit(low), logit(high), number))
    spaced[[0, -1]] = low, high
    return spaced


def label_scores(axes: Any, label: str, span: tuple[float, float] | None) -> None:
    """Label an axis of scores. With a span it shows log odds, so that its ends aren't squeezed."""
    if span is not None:
        axes.set_xscale("logit")
        axes.set_xlim(*span)
        ticks = _ticks(*span)
        axes.set_xticks(ticks, [_tick(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        label += " (axis of log odds)"
    axes.set_xlabel(label)


def _ticks(low: float, high: float) -> list[float]:
    """Choose tenths, hundredths and so on from either end, where their labels have room."""
    powers = 10.0 ** np.arange(-15, 0)
    chosen: list[float] = []
    for place in [*powers, 0.5, *(1.0 - powers[::-1])]:
        room = (logit(high) - logit(low)) / MAX_TICKS
        if low <= place <= high and (not chosen or logit(place) - logit(chosen[-1]) >= room):
            chosen.append(float(place))
    return chosen


def _tick(place: float) -> str:
    return f"{place:g}" if place < 0.9995 else f"1 − {1.0 - place:.0e}"
