"""Best feasible trial of a study, the exact optimum behind it, and the Pareto front."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from featx.errors import FeatxError, InputError, NoFeasibleThresholdError
from featx.heads import HeadSpec
from featx.thresholds import Sweep, sweep
from featx.tuning._objective import SECONDS_SAVED
from featx.tuning._scorer import Scorer
from featx.tuning._spaces import THRESHOLD, spec_of_trial
from featx.tuning._spec import SearchSpec
from featx.tuning._workers import Worker

OPTIMUM_ATTEMPTS = 3
"""Times that the exact optimum is queued: another machine on the study may take it first."""

TRIAL_ATTRIBUTES = ("accuracy", "specificity", "roc_auc", "fit_seconds")


@dataclass(frozen=True, slots=True)
class BestTrial:
    """Best trial of a study, with its results on the folds of the search.

    `snapped` says whether no trial had hit the exact optimum, which was then added as the last one.
    """

    number: int
    spec: HeadSpec
    threshold: float
    recall: float
    accuracy: float
    snapped: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The exact optimum of one setting."""

    trial: FrozenTrial
    spec: HeadSpec
    points: Sweep
    point: int
    seconds: float

    @property
    def rank(self) -> tuple[float, float, float]:
        """Recall first, then accuracy, then the cheaper head."""
        return (*self.achieved, -self.seconds)

    @property
    def achieved(self) -> tuple[float, float]:
        return float(self.points.recall[self.point]), float(self.points.accuracy[self.point])


def choose_best_trial(worker: Worker, search: SearchSpec, scorer: Scorer) -> BestTrial:
    """Return the best feasible trial: highest recall, then accuracy, then the cheaper head.

    Each setting that was scored is swept over all its thresholds. If that finds a better
    operating point than any trial, it becomes the study's last trial.
    """
    study, floor = worker.study, search.accuracy_floor
    best = best_feasible_trial(study, search)
    candidates = _candidates(study, search, scorer, best)
    if not candidates and best is None:
        raise FeatxError(
            "no trial was finished", "Give it more time (`timeout`) or other settings."
        )
    feasible = [c for c in candidates if c.point >= 0]
    if not feasible:
        raise _nearest_miss(candidates, floor)
    optimum = max(feasible, key=lambda candidate: candidate.rank)
    snapped = best is None or _achieved(best) < optimum.achieved
    if snapped:
        threshold = float(optimum.points.thresholds[optimum.point])
        for _ in range(OPTIMUM_ATTEMPTS):
            worker.run_point({**optimum.trial.params, THRESHOLD: threshold})
            best = best_feasible_trial(study, search)
            if best is not None and _achieved(best) >= optimum.achieved:
                break
    if best is None or _achieved(best) < optimum.achieved:
        raise FeatxError(
            "the study's last trial was taken by another process and not finished",
            "Run the same command again.",
        )
    recall, accuracy = _achieved(best)
    return BestTrial(
        number=best.number,
        spec=spec_of_trial(best.params, search),
        threshold=float(best.params[THRESHOLD]),
        recall=recall,
        accuracy=accuracy,
        snapped=snapped,
    )


def require_own_trials(study: optuna.Study, search: SearchSpec) -> None:
    """Refuse a study in which somebody else has put trials."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        try:
            spec_of_trial(trial.params, search)
            numbers = [trial.params[THRESHOLD], trial.user_attrs["fit_seconds"], *_achieved(trial)]
            own = all(math.isfinite(number) for number in numbers)
        except (LookupError, ValueError, TypeError, StopIteration):
            own = False
        if not own:
            raise InputError(
                f"trial {trial.number} of the study {study.study_name!r} was not made by featx",
                "Give another `study` or `run`, or `force=True` if the study lies beside the run.",
            )


def best_feasible_trial(study: optuna.Study, search: SearchSpec) -> FrozenTrial | None:
    """Return the best finished trial that keeps the floor, or None.

    `optuna.Study.best_trial` honours constraints, but leaves ties to chance.
    """
    feasible = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.user_attrs["accuracy"] >= search.accuracy_floor
    ]
    return max(
        feasible,
        key=lambda trial: (*_achieved(trial), -trial.user_attrs["fit_seconds"], -trial.number),
        default=None,
    )


def front_table(study: optuna.Study, *, everything: bool = False) -> pd.DataFrame:
    """Return the Pareto front: trial, recall, accuracy, threshold, and the settings.

    Rows are in the order of accuracy. A point that several trials reach is there once.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows = [
        {
            "trial": trial.number,
            "recall": trial.values[0],
            "accuracy": trial.values[1],
            **{name: trial.user_attrs[name] for name in TRIAL_ATTRIBUTES[1:]},
            **trial.params,
        }
        for trial in (finished if everything else study.best_trials)
    ]
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table = table.sort_values(["accuracy", "trial"]).drop_duplicates(["recall", "accuracy"])
    return table.reset_index(drop=True)


def count_trials(study: optuna.Study, accuracy_floor: float) -> dict[str, int]:
    """Count trials by their state, and those that were scored and don't keep the floor."""
    trials = study.get_trials(deepcopy=False)
    states = {state.name.lower(): 0 for state in TrialState}
    for trial in trials:
        states[trial.state.name.lower()] += 1
    infeasible = sum(trial.user_attrs.get("accuracy", 1.0) < accuracy_floor for trial in trials)
    return {**states, "infeasible": infeasible}


def seconds_saved(study: optuna.Study) -> float:
    """Return the seconds that pruning saved, estimated from the speed of each pruned training."""
    return float(sum(trial.user_attrs.get(SECONDS_SAVED, 0.0) for trial in study.get_trials(False)))


def _achieved(trial: FrozenTrial) -> tuple[float, float]:
    return float(trial.values[0]), float(trial.user_attrs["accuracy"])


def _candidates(
    study: optuna.Study, search: SearchSpec, scorer: Scorer, best: FrozenTrial | None
) -> list[_Candidate]:
    """Sweep each setting whose scores are here. Another machine's best trial is scored again."""
    found: dict[str, _Candidate] = {}
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in trials:
        spec = spec_of_trial(trial.params, search)
        if spec.fingerprint in found or not (
            scorer.has(spec) or (best is not None and trial.number == best.number)
        ):
            continue
        scored = scorer(spec)
        points = sweep(scorer.truth, scored.scores)
        point = points.best(search.accuracy_floor)
        found[spec.fingerprint] = _Candidate(
            trial, spec, points, -1 if point is None else point, scored.seconds
        )
    return list(found.values())


def _nearest_miss(candidates: list[_Candidate], floor: float) -> NoFeasibleThresholdError:
    def nearest(candidate: _Candidate) -> tuple[float, int]:
        best = int(np.argmax(candidate.points.accuracy))
        return float(candidate.points.accuracy[best]), best

    miss = max(candidates, key=lambda candidate: nearest(candidate)[0])
    accuracy, point = nearest(miss)
    return NoFeasibleThresholdError(
        f"no trial reaches accuracy {floor:g}: the nearest is {accuracy:.4f} (recall "
        f"{miss.points.recall[point]:.4f}) by the {miss.spec.name} of trial {miss.trial.number} at "
        f"threshold {miss.points.thresholds[point]:.6g}",
        f"Lower `accuracy_floor` to {math.floor(accuracy * 1e4) / 1e4:.4f} at most (with "
        "`force=True`: the scores are kept), or search more heads.",
        best_accuracy=accuracy,
    )
