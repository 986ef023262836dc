"""Results as people: how many of 1,000 patients are found, missed, and called sick wrongly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from featx.evaluation._interval import Interval
from featx.evaluation._metrics import Metrics
from featx.evaluation._prevalence import require_share
from featx_cache._text import plural

PATIENTS = (1_000, 10_000, 100_000, 1_000_000)
"""Numbers of patients to tell of: the first of whom one is sick and one healthy."""

_ROUNDING_ERROR = 1e-9


@dataclass(frozen=True, slots=True)
class PerThousand:
    """Verdicts on 1,000 patients, in whole numbers that add up. `per_thousand` makes it.

    Attributes
    ----------
    prevalence
        Share of the patients who are sick.
    patients
        Number of patients: 1,000, or more if otherwise nobody would be sick, or nobody healthy.
    sick
        Number of the sick. It is `found` and `missed` together.
    found, missed
        Numbers of the sick who are called sick, and who aren't.
    false_alarms, cleared
        Numbers of the healthy who are called sick, and who aren't.
    intervals
        95 % intervals of ``missed`` and ``false_alarms``, from those of recall and specificity,
        rounded outwards. One that isn't known isn't there.
    stated
        Whether the prevalence was stated. Otherwise it is that of the images.

    Examples
    --------
    >>> PerThousand(0.05, 1000, 50, 49, 1, 95, 855).in_words
    'Per 1,000 patients, 50 of them sick: 49 found, 1 missed, 95 false alarms, 855 rightly cleared.'
    """

    prevalence: float
    patients: int
    sick: int
    found: int
    missed: int
    false_alarms: int
    cleared: int
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    stated: bool = True

    @property
    def in_words(self) -> str:
        """All numbers in a sentence."""
        here = "" if self.stated else ", as in these images"
        return (
            f"Per {self.patients:,} patients, {self.sick:,} of them sick{here}: "
            f"{self.found:,} found, {self.missed:,} missed{self._between('missed')}, "
            f"{plural(self.false_alarms, 'false alarm')}{self._between('false_alarms')}, "
            f"{self.cleared:,} rightly cleared."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        plain: dict[str, Any] = asdict(self)
        intervals = {
            name: {"low": int(interval.low), "high": int(interval.high)}
            for name, interval in self.intervals.items()
        }
        return plain | {"intervals": intervals, "in_words": self.in_words}

    def _between(self, name: str) -> str:
        interval = self.intervals.get(name)
        return f" ({interval.low:,.0f} to {interval.high:,.0f})" if interval else ""


def per_thousand(metrics: Metrics, prevalence: float | None = None) -> PerThousand | None:
    """Say what becomes of 1,000 patients with one image each, if so many of them are sick.

    Recall and specificity are taken to be the same at every prevalence.

    Parameters
    ----------
    metrics
        Metrics at a threshold.
    prevalence
        Share of the patients who are sick. None takes that of the images.

    Returns
    -------
    PerThousand or None
        None if there is no image of a class that the patients have.

    Raises
    ------
    InputError
        If the prevalence isn't a share.

    Examples
    --------
    >>> from featx import Scores
    >>> from featx.evaluation import evaluate_scores
    >>> scores = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
    >>> found = per_thousand(evaluate_scores(scores, 0.5), prevalence=0.1)
    >>> found.found, found.missed, found.false_alarms, found.cleared
    (100, 0, 450, 450)
    """
    if prevalence is not None:
        require_share(prevalence)
    n = metrics.confusion
    share = (n["tp"] + n["fn"]) / metrics.images if prevalence is None else prevalence
    patients, sick = _patients(share)
    healthy = patients - sick
    numbers: dict[str, int] = {}
    intervals: dict[str, Interval] = {}
    for name, right, people in (
        ("missed", "recall", sick),
        ("false_alarms", "specificity", healthy),
    ):
        value = getattr(metrics, right)
        if people and math.isnan(value):
            return None
        numbers[name] = round(people * (1.0 - value)) if people else 0
        if people and (interval := metrics.intervals.get(right)) is not None:
            low, high = people * (1.0 - interval.high), people * (1.0 - interval.low)
            ends = math.floor(low + _ROUNDING_ERROR), math.ceil(high - _ROUNDING_ERROR)
            intervals[name] = Interval(*ends)
    return PerThousand(
        prevalence=share,
        patients=patients,
        sick=sick,
        found=sick - numbers["missed"],
        missed=numbers["missed"],
        false_alarms=numbers["false_alarms"],
        cleared=healthy - numbers["false_alarms"],
        intervals=intervals,
        stated=prevalence is not None,
    )


def _patients(share: float) -> tuple[int, int]:
    """Return of how many patients to tell, and how many of them are sick."""
    for patients in PATIENTS:
        sick = round(patients * share)
        if share in (0.0, 1.0) or 0 < sick < patients:
            break
    return patients, sick
