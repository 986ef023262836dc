"""Spec of a search, and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

from pydantic import Field, ValidationError

from featx._specs import Spec, require_known, spec_error
from featx.errors import InputError
from featx.heads import HeadSpec
from featx.thresholds import check_accuracy_floor
from featx.thresholds._choose import ACCURACY_FLOOR
from featx.training._data import ChooseOn

ObjectiveName = Literal["constrained", "pareto"]
SamplerName = Literal["tpe", "gp", "random", "grid", "nsga2"]
PrunerName = Literal["median", "hyperband", "none"]

OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
PRUNERS: tuple[PrunerName, ...] = get_args(PrunerName)
PARETO_SAMPLERS: tuple[SamplerName, ...] = ("nsga2", "tpe")
JOURNAL_NAME = "study.journal"
"""Name of the file of a study, in a run and beside it."""

UNCONSTRAINED_SAMPLERS = ("cmaes", "qmc", "bruteforce", "partialfixed")


class SearchSpec(Spec):
    """Heads, settings and operating point that a study searches.

    Two studies of one name must have equal specs.

    Attributes
    ----------
    heads
        Heads, with the settings that a trial doesn't choose.
    fixed
        Names of settings that a trial doesn't choose, by head.
    accuracy_floor
        Accuracy that a trial must keep out of fold.
    objective
        ``constrained``: recall, subject to the floor. ``pareto``: recall and accuracy, as two
        objectives.
    threshold_only
        Whether the settings of the head stay as they are.
    use_copies
        Whether heads are fitted on augmented copies too, if the cache has some. None means yes.
    choose_on
        Out-of-fold scores that trials are measured on. See `featx.fit`. None is ``both`` if heads
        are fitted on copies, else ``untouched``.
    guarantee
        Confidence with which the floor is promised for new patients. None promises nothing.
    recall_floor
        Recall that is promised, too. None promises no recall.
    seed
        Seed of the folds and the sampler.

    Examples
    --------
    >>> from featx.heads import HeadSpec
    >>> search = SearchSpec(heads=(HeadSpec(name="logreg"),), accuracy_floor=0.95)
    >>> search.objective, search.fits_on_copies
    ('constrained', True)
    """

    heads: tuple[HeadSpec, ...] = Field(min_length=1)
    fixed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    accuracy_floor: float = Field(ACCURACY_FLOOR, ge=0, le=1)
    objective: ObjectiveName = "constrained"
    threshold_only: bool = False
    use_copies: bool | None = None
    choose_on: ChooseOn | None = None
    guarantee: float | None = Field(None, gt=0, lt=1)
    recall_floor: float | None = Field(None, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)

    added: ClassVar[frozenset[str]] = frozenset({"choose_on"})

    @classmethod
    def choose(cls, **fields: Any) -> SearchSpec:
        """Make a spec from what a user typed. See the attributes.

        Raises
        ------
        InputError
            If a value is out of range, or a recall floor has no guarantee to go with.
        """
        check_accuracy_floor(fields.get("accuracy_floor", ACCURACY_FLOOR))
        require_known("objective", fields.get("objective", OBJECTIVES[0]), OBJECTIVES)
        if fields.get("recall_floor") is not None and fields.get("guarantee") is None:
            raise InputError(
                "`recall_floor` is part of a promise and there is none",
                "Add `guarantee=0.9`, or leave it out: the search maximises recall anyway.",
                parameter="recall_floor",
            )
        try:
            return cls(**fields)
        except ValidationError as error:
            raise spec_error(error) from error

    def head(self, name: str) -> HeadSpec:
        """Return one of the heads by its name."""
        return next(head for head in self.heads if head.name == name)

    @property
    def fits_on_copies(self) -> bool:
        """Whether heads are fitted on copies, if the cache has some."""
        return self.use_copies is not False


@dataclass(frozen=True, slots=True)
class Budget:
    """Number of trials of a search, its time, and its method.

    Attributes
    ----------
    trials
        Number of finished trials that the study has in the end, those of other machines included.
    timeout
        Seconds after which no trial begins. None is no limit.
    jobs
        Number of processes.
    sampler
        Optuna's sampler: ``tpe``, ``gp``, ``random``, ``grid`` or ``nsga2``.
    pruner
        Optuna's pruner, which ends hopeless Keras trainings: ``median``, ``hyperband`` or ``none``.

    Examples
    --------
    >>> Budget(trials=50, timeout=600)
    Budget(trials=50, timeout=600, jobs=1, sampler='tpe', pruner='median')
    """

    trials: int = 100
    timeout: float | None = None
    jobs: int = 1
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "median"

    @classmethod
    def choose(
        cls,
        search: SearchSpec,
        *,
        trials: int = 100,
        timeout: float | None = None,
        jobs: int = 1,
        sampler: str | None = None,
        pruner: str = "median",
    ) -> Budget:
        """Make a budget from what a user typed.

        A `sampler` that is None means ``tpe``, and ``nsga2`` for the objective ``pareto``.

        Raises
        ------
        InputError
            If there is no such sampler or pruner, or the sampler can't follow the search.
        """
        pareto = search.objective == "pareto"
        sampler = sampler or ("nsga2" if pareto else "tpe")
        if sampler in UNCONSTRAINED_SAMPLERS:
            raise InputError(
                f"the sampler {sampler} can't take constraints, and the accuracy floor is one",
                f"Choose one of {', '.join(SAMPLERS)}.",
                parameter="sampler",
            )
        require_known("sampler", sampler, SAMPLERS)
        if pareto and sampler not in PARETO_SAMPLERS:
            raise InputError(
                f"the sampler {sampler} doesn't follow two objectives",
                f"With `objective='pareto'` take {' or '.join(PARETO_SAMPLERS)}.",
                parameter="sampler",
            )
        require_known("pruner", pruner, PRUNERS)
        return cls(trials, timeout, jobs, cast(SamplerName, sampler), cast(PrunerName, pruner))
