"""Spec of a search, and its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

from pydantic import Field, ValidationError, model_validator

from featx._specs import Spec, require_known, spec_error
from featx.errors import InputError
from featx.heads import HeadSpec
from featx.thresholds import Criterion
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

CRITERION_FIELDS = ("accuracy_floor", "recall_floor", "specificity_floor", "cost", "youden")
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
    accuracy_floor, recall_floor, specificity_floor
        Accuracy, recall and specificity that a trial must keep out of fold. If nothing of the
        criterion is given, accuracy must be 0.9. With a recall floor specificity is maximized.
    objective
        ``constrained``: what the criterion maximizes, subject to its floors. ``pareto``: recall and
        accuracy, as two objectives. The criterion chooses one of the trials.
    threshold_only
        Whether the settings of the head stay as they are.
    use_copies
        Whether heads are fitted on augmented copies too, if the cache has some. None means yes.
    choose_on
        Out-of-fold scores that trials are measured on. See `featx.fit`. None is ``both`` if heads
        are fitted on copies, else ``untouched``.
    guarantee
        Confidence with which the floors are promised for new patients. None promises nothing.
    seed
        Seed of the folds and the sampler.
    cost, youden
        Cost of a missed sick patient and of a false alarm, whose expectation is minimized. Or
        whether Youden's index is maximized.

    Examples
    --------
    >>> from featx.heads import HeadSpec
    >>> search = SearchSpec(heads=(HeadSpec(name="logreg"),), accuracy_floor=0.95)
    >>> search.objective, search.fits_on_copies
    ('constrained', True)
    """

    added: ClassVar[frozenset[str]] = frozenset(
        {"choose_on", "specificity_floor", "cost", "youden"}
    )

    heads: tuple[HeadSpec, ...] = Field(min_length=1)
    fixed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    accuracy_floor: float | None = None
    objective: ObjectiveName = "constrained"
    threshold_only: bool = False
    use_copies: bool | None = None
    choose_on: ChooseOn | None = None
    guarantee: float | None = Field(None, gt=0, lt=1)
    recall_floor: float | None = None
    seed: int = Field(0, ge=0, lt=2**31)
    specificity_floor: float | None = None
    cost: tuple[float, float] | None = None
    youden: bool = False

    @model_validator(mode="before")
    @classmethod
    def _with_criterion(cls, fields: Any) -> Any:
        """Check the criterion, and set the accuracy floor if nothing of it is given."""
        if not isinstance(fields, dict):
            return fields
        own = Criterion(**{name: fields[name] for name in CRITERION_FIELDS if name in fields})
        if fields.get("guarantee") is not None:
            own.require_floor()
        return {**fields, "accuracy_floor": own.accuracy_floor}

    @property
    def criterion(self) -> Criterion:
        """Criterion of the operating point."""
        return Criterion(**{name: getattr(self, name) for name in CRITERION_FIELDS})

    @classmethod
    def choose(cls, **fields: Any) -> SearchSpec:
        """Make a spec from what a user typed. See the attributes.

        Raises
        ------
        InputError
            If a value is out of range, or there is a guarantee and no floor to promise.
        """
        require_known("objective", fields.get("objective", OBJECTIVES[0]), OBJECTIVES)
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
                f"the sampler {sampler} can't take constraints, and floors are some",
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
