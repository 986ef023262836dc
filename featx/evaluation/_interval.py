"""Confidence intervals: what they are, and those of proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def proportion_interval(
    hits: int, total: int, method: Literal["wilson", "clopper_pearson"] = "wilson"
) -> Interval | None:
    """Return the 95 % interval of a proportion of independent images.

    Parameters
    ----------
    hits, total
        Counts.
    method
        ``wilson`` (Wilson 1927) or ``clopper_pearson`` (exact, Clopper and Pearson 1934).

    Returns
    -------
    Interval or None
        None where there are no images.
    """
    if not total:
        return None
    test = binomtest(hits, total)
    if method == "wilson":
        found = test.proportion_ci(CONFIDENCE, method="wilson")
    else:
        found = test.proportion_ci(CONFIDENCE, method="exact")
    return Interval(float(found.low), float(found.high))
