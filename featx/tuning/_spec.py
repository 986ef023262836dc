"""What is searched: which heads, which of their settings, for which operating point."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from pydantic import Field, ValidationError

from featx._specs import Spec, require_known, spec_error
from featx.errors import InputError
from featx.heads import HeadSpec
from featx.thresholds import check_accuracy_floor

ObjectiveName = Literal["constrained", "pareto"]
SamplerName = Literal["tpe", "gp", "random", "grid", "nsga2"]
PrunerName = Literal["median", "hyperband", "none"]

OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
PRUNERS: tuple[PrunerName, ...] = get_args(PrunerName)
PARETO_SAMPLERS: tuple[SamplerName, ...] = ("nsga2", "tpe")
WITHOUT_CONSTRAINTS = ("cmaes", "qmc", "bruteforce", "partialfixed")


class SearchSpec(Spec):
    """What a study searches; two studies of one name must have equal ones.

    Attributes
    ----------
    heads
        With the settings that a trial doesn't choose.
    fixed
        Names of settings that are no trial's to choose, by head.
    accuracy_floor
        The constraint on out-of-fold accuracy.
    objective
        ``constrained``: recall, subject to the floor. ``pareto``: recall and accuracy, each for its
        own sake.
    threshold_only
        Whether the settings of the head stay as they are.
    use_copies
        Train on augmented copies too; None: keras does, the others don't.
    guarantee
        Confidence with which the floor is promised for new patients; None for no promise.
    recall_floor
        What recall is promised to reach, too; None for no such promise.
    seed
        Of the folds and the sampler.
    """

    heads: tuple[HeadSpec, ...] = Field(min_length=1)
    fixed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    accuracy_floor: float = Field(0.9, ge=0, le=1)
    objective: ObjectiveName = "constrained"
    threshold_only: bool = False
    use_copies: bool | None = None
    guarantee: float | None = Field(None, gt=0, lt=1)
    recall_floor: float | None = Field(None, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)

    @classmethod
    def choose(cls, **typed: Any) -> SearchSpec:
        """Make a spec from what a user typed.

        Raises
        ------
        InputError
            When a value is out of range, or a recall floor has no guarantee to go with.
        """
        check_accuracy_floor(typed.get("accuracy_floor", 0.9))
        if typed.get("recall_floor") is not None and typed.get("guarantee") is None:
            raise InputError(
                "`recall_floor` is part of a promise and there is none",
                "Add `guarantee` 0.9, or leave it out: the search maximises recall anyway.",
            )
        try:
            return cls(**typed)
        except ValidationError as error:
            raise spec_error(error) from error

    def head(self, name: str) -> HeadSpec:
        """Return one of the heads by its name."""
        return next(head for head in self.heads if head.name == name)

    def copies_for(self, head: HeadSpec) -> bool:
        """Say whether a head is fitted on copies."""
        return self.use_copies if self.use_copies is not None else head.name == "keras"


def check_objective(objective: str) -> ObjectiveName:
    """Return an objective's name as it was typed.

    Raises
    ------
    InputError
        When there is no such objective.
    """
    require_known("objective", objective, OBJECTIVES)
    return cast(ObjectiveName, objective)


def check_sampler(sampler: str, objective: ObjectiveName) -> SamplerName:
    """Return a sampler's name as it was typed.

    Raises
    ------
    InputError
        When there is no such sampler, it can't take constraints, or it can't follow two objectives.
    """
    if sampler in WITHOUT_CONSTRAINTS:
        raise InputError(
            f"the sampler {sampler} can't take constraints, and the accuracy floor is one",
            f"Choose one of {', '.join(SAMPLERS)}.",
        )
    require_known("sampler", sampler, SAMPLERS)
    if objective == "pareto" and sampler not in PARETO_SAMPLERS:
        raise InputError(
            f"the sampler {sampler} doesn't follow two objectives",
            f"With `objective` pareto take {' or '.join(PARETO_SAMPLERS)}.",
        )
    return cast(SamplerName, sampler)


def check_pruner(pruner: str) -> PrunerName:
    """Return a pruner's name as it was typed.

    Raises
    ------
    InputError
        When there is no such pruner.
    """
    require_known("pruner", pruner, PRUNERS)
    return cast(PrunerName, pruner)
