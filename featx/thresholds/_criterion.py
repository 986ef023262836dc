"""The criterion of the operating point: what is made as high as it can be, above which floors."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from featx._arguments import wrong_type
from featx._specs import Spec
from featx.errors import InputError
from featx.thresholds._sweep import Sweep

ACCURACY_FLOOR = 0.9
"""Default of the accuracy floor, everywhere."""

FLOORS = ("accuracy", "recall", "specificity")
COST_EXAMPLE = "such as (10, 1)"
_DIGITS = 12
"""Decimals that are compared: sums of floats differ in the last ones."""

Objective = Literal["recall", "specificity", "youden", "cost"]


class Criterion(Spec):
    """Criterion by which a threshold is chosen: floors, and what is maximized above them.

    Floors are constraints. All of them have to be kept. What is maximized follows from what is
    named: with `cost` the expected cost is as low as it can be, with `youden` Youden's index is as
    high as it can be (Youden 1950), with a `recall_floor` specificity is, and otherwise recall is.

    Attributes
    ----------
    accuracy_floor
        Accuracy to keep, 0..1. It is 0.9 if nothing else is named, and none if something is.
    recall_floor, specificity_floor
        Recall and specificity to keep, 0..1. None is no floor.
    cost
        Cost of a missed sick patient, and cost of a false alarm, in any unit.
    youden
        Whether recall + specificity - 1 is maximized.

    Raises
    ------
    InputError
        If a floor is no fraction, a cost isn't above 0, or there are two objectives.

    Examples
    --------
    >>> Criterion()
    Criterion(highest recall with accuracy ≥ 0.9)
    >>> Criterion(recall_floor=0.97, specificity_floor=0.5)
    Criterion(highest specificity with recall ≥ 0.97 and specificity ≥ 0.5)
    >>> from featx.thresholds import sweep
    >>> points = sweep([0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.3, 0.9])
    >>> best = Criterion(recall_floor=0.5).best(points)
    >>> round(float(points.thresholds[best]), 2), float(points.specificity[best])
    (0.65, 1.0)
    """

    accuracy_floor: float | None = None
    recall_floor: float | None = None
    specificity_floor: float | None = None
    cost: tuple[float, float] | None = None
    youden: bool = False

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, fields: Any) -> Any:
        """Check the fields, and set the accuracy floor if nothing is named."""
        if not isinstance(fields, dict):
            return fields
        for name in FLOORS:
            if (floor := fields.get(f"{name}_floor")) is not None:
                check_floor(name, floor)
        if fields.get("cost") is not None:
            fields = {**fields, "cost": _checked_cost(fields["cost"])}
            if fields.get("youden"):
                raise InputError(
                    "`cost` and `youden` are two objectives, and a threshold can have one",
                    "Leave one of them out.",
                    parameter="youden",
                )
        return fields if _named(fields) else {**fields, "accuracy_floor": ACCURACY_FLOOR}

    @property
    def objective(self) -> Objective:
        """What is maximized: ``recall``, ``specificity``, ``youden``, or less ``cost``."""
        if self.cost is not None:
            return "cost"
        if self.youden:
            return "youden"
        return "specificity" if self.recall_floor is not None else "recall"

    @property
    def floors(self) -> dict[str, float]:
        """Floors that there are, by the name of their metric."""
        found = {name: getattr(self, f"{name}_floor") for name in FLOORS}
        return {name: float(floor) for name, floor in found.items() if floor is not None}

    @property
    def stopping_floor(self) -> float:
        """Accuracy floor of a training that stops by one. It is 0.9 if the criterion has none."""
        return ACCURACY_FLOOR if self.accuracy_floor is None else self.accuracy_floor

    @property
    def looks_at_specificity(self) -> bool:
        """Whether specificity decides, as more than a part of accuracy."""
        return self.objective != "recall" or self.specificity_floor is not None

    @property
    def objective_in_words(self) -> str:
        """What is maximized, in words."""
        if self.cost is not None:
            missed, alarm = self.cost
            return (
                f"lowest expected cost ({missed:g} for a missed sick patient, {alarm:g} for a "
                "false alarm)"
            )
        if self.youden:
            return "highest recall + specificity - 1 (Youden)"
        return f"highest {self.objective}"

    @property
    def floors_in_words(self) -> str:
        """Floors in words, such as ``accuracy ≥ 0.9 and recall ≥ 0.95``; empty if there are none.

        The last of three has "and" before it, too.
        """
        return " and ".join(f"{name} ≥ {floor:g}" for name, floor in self.floors.items())

    @property
    def in_words(self) -> str:
        """The criterion in words, without an article."""
        floors = self.floors_in_words
        return self.objective_in_words + (f" with {floors}" if floors else "")

    @property
    def short(self) -> str:
        """The criterion in a few words, for a column of a table."""
        parts = [f"{name} ≥ {floor:g}" for name, floor in self.floors.items()]
        if self.cost is not None:
            parts.insert(0, f"cost {self.cost[0]:g}:{self.cost[1]:g}")
        elif self.youden:
            parts.insert(0, "Youden")
        return ", ".join(parts)

    def values(
        self, recall: ArrayLike, specificity: ArrayLike, share: float
    ) -> NDArray[np.float64]:
        """Return what is maximized.

        Parameters
        ----------
        recall, specificity : array of shape (points,)
            Recall and specificity, 0..1.
        share
            Share of the sick among the images, 0..1. Costs depend on it.

        Returns
        -------
        ndarray of shape (points,), dtype float64
            Recall, specificity, Youden's index, or less the expected cost of an image.
        """
        found, cleared = np.asarray(recall, np.float64), np.asarray(specificity, np.float64)
        if self.cost is not None:
            missed, alarm = self.cost
            return -(missed * share * (1.0 - found) + alarm * (1.0 - share) * (1.0 - cleared))
        if self.youden:
            return found + cleared - 1.0
        return found if self.objective == "recall" else cleared

    def shortfall(self, points: Sweep) -> NDArray[np.float64]:
        """Return by how much each point misses the floors, summed over them. 0 keeps all.

        Returns
        -------
        ndarray of shape (points,), dtype float64
        """
        missed = np.zeros(len(points))
        for name, floor in self.floors.items():
            missed += np.maximum(floor - getattr(points, name), 0.0)
        return missed

    def feasible(self, points: Sweep) -> NDArray[np.bool_]:
        """Say which points of a sweep keep all floors.

        Returns
        -------
        ndarray of shape (points,), dtype bool
        """
        return np.asarray(self.shortfall(points) == 0.0)

    def best(self, points: Sweep) -> int | None:
        """Return the best feasible point of a sweep, or None if there is none.

        Ties are broken by recall, and then by accuracy. `choose_threshold` looks at chance, too.
        """
        feasible = np.flatnonzero(self.feasible(points))
        if not feasible.size:
            return None
        values = self._ranked(points)[feasible]
        keys = points.accuracy[feasible], points.recall[feasible], values
        return int(feasible[np.lexsort(keys)[-1]])

    def nearest(self, points: Sweep) -> int:
        """Return the point that misses the floors least. Ties are broken by what is maximized."""
        values = self._ranked(points)
        return int(np.lexsort((-values, self.shortfall(points).round(_DIGITS)))[0])

    def _ranked(self, points: Sweep) -> NDArray[np.float64]:
        """Return what is maximized, in multiples of the higher cost, and without last digits."""
        values = self.values(points.recall, points.specificity, points.share)
        return (values / max(self.cost or (1.0,))).round(_DIGITS)

    def require_floor(self) -> None:
        """Refuse a guarantee that has nothing to promise.

        Raises
        ------
        InputError
            If there is no floor.
        """
        if not self.floors:
            raise InputError(
                f"`guarantee` promises floors, and the {self.objective_in_words} has none",
                "Add `accuracy_floor`, `recall_floor` or `specificity_floor`.",
                parameter="guarantee",
            )

    def __str__(self) -> str:
        return self.in_words

    def __repr__(self) -> str:
        return f"Criterion({self.in_words})"


def criterion_or(own: Criterion, fields: dict[str, Any]) -> Criterion:
    """Return the criterion whose fields are given, or a run's own one if none is."""
    return Criterion(**fields) if _named(fields) else own


def _named(fields: dict[str, Any]) -> bool:
    """Say whether a field of a criterion is given. A floor of 0 is."""
    return any(value is not None and value is not False for value in fields.values())


def check_floor(name: str, floor: object) -> None:
    """Refuse what can't be a floor of a metric.

    Raises
    ------
    InputError
        If it isn't a number between 0 and 1.
    """
    parameter = f"{name}_floor"
    if isinstance(floor, bool) or not isinstance(floor, Real):
        raise wrong_type(parameter, floor, "a number")
    if not 0.0 <= float(floor) <= 1.0:
        raise InputError(
            f"the {name} floor {floor} is not between 0 and 1",
            f"Give `{parameter}` a fraction such as 0.90.",
            parameter=parameter,
        )


def _checked_cost(cost: object) -> tuple[float, float]:
    """Return the two costs.

    Raises
    ------
    InputError
        If they aren't two numbers above 0.
    """
    hint = (
        "Give `cost` what a missed sick patient and what a false alarm costs, both above 0, "
        f"{COST_EXAMPLE}."
    )
    given = tuple(cost) if isinstance(cost, tuple | list) else ()
    if len(given) != 2 or not all(isinstance(each, Real) for each in given):
        raise InputError(f"{cost!r:.60} is no pair of costs", hint, parameter="cost")
    missed, alarm = float(given[0]), float(given[1])
    for each in (missed, alarm):
        if not (math.isfinite(each) and each > 0.0):
            raise InputError(f"{each:g} can't be a cost", hint, parameter="cost")
    return missed, alarm
