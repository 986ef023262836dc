"""Predictive values if another share of the people is sick."""

from __future__ import annotations

from typing import Any

import numpy as np

from featx.errors import InputError
from featx.evaluation._interval import Interval

AT_PREVALENCE = ("ppv_at_prevalence", "npv_at_prevalence")


def predictive_values(sensitivity: Any, specificity: Any, prevalence: float) -> tuple[Any, Any]:
    """Return PPV and NPV at a prevalence, by Bayes' theorem.

    Sensitivity and specificity, floats or arrays, are taken to be the same at every prevalence. A
    value is NaN if nobody is called positive, or nobody negative.
    """
    require_share(prevalence)
    hits, misses = sensitivity * prevalence, (1.0 - sensitivity) * prevalence
    cleared, alarms = specificity * (1.0 - prevalence), (1.0 - specificity) * (1.0 - prevalence)
    with np.errstate(invalid="ignore"):
        return np.divide(hits, hits + alarms), np.divide(cleared, cleared + misses)


def predictive_intervals(
    sensitivity: Interval, specificity: Interval, prevalence: float
) -> tuple[Interval, Interval]:
    """Return 95 % intervals of PPV and NPV, for classifiers whose resamples have none.

    PPV and NPV grow with sensitivity and with specificity. So the ends of their intervals are at
    the ends of both. They are a little too wide, since it is rare that both are as bad.
    """
    low = predictive_values(sensitivity.low, specificity.low, prevalence)
    high = predictive_values(sensitivity.high, specificity.high, prevalence)
    ppv, npv = (Interval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    return ppv, npv


def require_share(prevalence: float) -> None:
    """Refuse a prevalence that isn't between 0 and 1."""
    if not 0.0 < prevalence < 1.0:
        raise InputError(
            f"`prevalence` {prevalence:g} is not between 0 and 1",
            "Give a fraction such as 0.05.",
            parameter="prevalence",
        )
