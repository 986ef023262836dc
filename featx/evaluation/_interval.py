"""Confidence intervals: what they are, and those of proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval.

    Examples
    --------
    >>> Interval(0.84, 0.97)
    Interval(low=0.84, high=0.97)
    """

    low: float
    high: float


def proportion_interval(
    hits: int, total: int, method: Literal["wilson", "clopper_pearson"] = "wilson"
) -> Interval | None:
    """Return the 95 % interval of a proportion of independent images, or None if there are none.

    The methods are Wilson's (1927) and Clopper and Pearson's exact one (1934).
    """
    if not total:
        return None
    name: Literal["wilson", "exact"] = "wilson" if method == "wilson" else "exact"
    found = binomtest(hits, total).proportion_ci(CONFIDENCE, method=name)
    return Interval(float(found.low), float(found.high))
