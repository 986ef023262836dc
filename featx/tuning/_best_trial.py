"""Best feasible trial of a study, the exact optimum behind it, and the Pareto front."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from featx._scores import Scores
from featx.errors import FeatxError, InputError, NoFeasibleThresholdError
from featx.heads import HeadSpec
from featx.thresholds import Criterion, Sweep, sweep
from featx.thresholds._choose import NearestMiss, within_error_note
from featx.thresholds._one_standard_error import most_accurate, recall_error_at
from featx.tuning._objective import SECONDS_SAVED, value_of
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
    `note` says which recall was given up within one standard error, if any was.
    """

    number: int
    spec: HeadSpec
    threshold: float
    recall: float
    accuracy: float
    snapped: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A setting with all its thresholds. `point` is the best of them, or None if none will do."""

    trial: FrozenTrial
    spec: HeadSpec
    scores: NDArray[np.float64]
    points: Sweep
    point: int | None
    seconds: float

    def achieved(self, point: int) -> tuple[float, float]:
        return float(self.points.recall[point]), float(self.points.accuracy[point])


@dataclass(frozen=True, slots=True)
class _Optimum:
    """Setting and threshold that the criterion chooses."""

    candidate: _Candidate
    point: int
    note: str = ""

    @property
    def achieved(self) -> tuple[float, float]:
        return self.candidate.achieved(self.point)


def choose_best_trial(worker: Worker, search: SearchSpec, scorer: Scorer) -> BestTrial:
    """Return the best feasible trial by the criterion; ties go to accuracy and the cheaper head.

    Each setting that was scored is swept over all its thresholds. If that finds a better
    operating point than any trial, it becomes the study's last trial. If recall is what is
    maximized, the most accurate of all points within one standard error of the highest recall is
    the best one.
    """
    study = worker.study
    best = best_feasible_trial(study, search, scorer.truth)
    candidates = _candidates(study, search, scorer, best)
    if not candidates and best is None:
        raise FeatxError(
            "no trial was finished", "Give it more time (`timeout`) or other settings."
        )
    feasible = [c for c in candidates if c.point is not None]
    if not feasible:
        raise _nearest_miss(candidates, search.criterion)
    optimum = _optimum(feasible, search.criterion, scorer)
    found = _trial_at(study, search, optimum)
    snapped = found is None
    threshold = float(optimum.candidate.points.thresholds[optimum.point])
    for _ in range(OPTIMUM_ATTEMPTS):
        if found is not None:
            break
        worker.run_point({**optimum.candidate.trial.params, THRESHOLD: threshold})
        found = _trial_at(study, search, optimum)
    if found is None:
        raise FeatxError(
            "the study's last trial was taken by another process and not finished",
            "Run the same command again.",
        )
    recall, accuracy = _achieved(found)
    return BestTrial(
        number=found.number,
        spec=spec_of_trial(found.params, search),
        threshold=float(found.params[THRESHOLD]),
        recall=recall,
        accuracy=accuracy,
        snapped=snapped,
        note=optimum.note,
    )


def _optimum(candidates: list[_Candidate], criterion: Criterion, scorer: Scorer) -> _Optimum:
    """Choose among all thresholds of all settings."""

    def value(candidate: _Candidate, point: int) -> tuple[float, float, float]:
        points = candidate.points
        recall, specificity = float(points.recall[point]), float(points.specificity[point])
        value = value_of(criterion, recall, specificity, scorer.truth)
        return round(value, 12), float(points.accuracy[point]), -candidate.seconds

    optima = [_Optimum(c, c.point) for c in candidates if c.point is not None]
    best = max(optima, key=lambda each: value(each.candidate, each.point))
    if criterion.objective != "recall":
        return best
    threshold = float(best.candidate.points.thresholds[best.point])
    groups = scorer.table["patient"].to_numpy(object)
    error = recall_error_at(
        Scores.from_arrays(scorer.truth, best.candidate.scores, groups), threshold
    )
    least = best.achieved[0] - error
    near = [
        _Optimum(c, most_accurate(c.points, criterion, least))
        for c in candidates
        if c.point is not None and c.points.recall[c.point] >= least
    ]
    chosen = max(near, key=lambda each: (*each.achieved[::-1], -each.candidate.seconds))
    if chosen.achieved == best.achieved:
        return best
    note = within_error_note(best.achieved, threshold, chosen.achieved, error)
    return _Optimum(chosen.candidate, chosen.point, note)


def _trial_at(study: optuna.Study, search: SearchSpec, optimum: _Optimum) -> FrozenTrial | None:
    """Return the first finished trial of a setting that achieves what a point does, if any."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        same = _achieved(trial) == optimum.achieved
        if same and spec_of_trial(trial.params, search) == optimum.candidate.spec:
            return trial
    return None


def require_own_trials(study: optuna.Study, search: SearchSpec) -> None:
    """Refuse a study in which somebody else has put trials."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        try:
            spec_of_trial(trial.params, search)
            numbers = [trial.params[THRESHOLD], *_achieved(trial)]
            numbers += [trial.user_attrs[name] for name in ("specificity", "fit_seconds")]
            own = all(math.isfinite(number) for number in numbers)
        except (LookupError, ValueError, TypeError, StopIteration):
            own = False
        if not own:
            raise InputError(
                f"trial {trial.number} of the study {study.study_name!r} was not made by featx",
                "Give another `study` or `run`, or `force=True` if the study lies beside the run.",
            )


def best_feasible_trial(
    study: optuna.Study, search: SearchSpec, truth: NDArray[np.bool_]
) -> FrozenTrial | None:
    """Return the best finished trial that keeps the floors, or None.

    `optuna.Study.best_trial` honors constraints, but leaves ties to chance.
    """
    criterion = search.criterion
    feasible = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if _keeps_floors(trial, criterion)
    ]

    def rank(trial: FrozenTrial) -> tuple[float, ...]:
        recall, accuracy = _achieved(trial)
        value = value_of(criterion, recall, trial.user_attrs["specificity"], truth)
        return value, accuracy, -trial.user_attrs["fit_seconds"], -trial.number

    return max(feasible, key=rank, default=None)


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


def count_trials(study: optuna.Study, criterion: Criterion) -> dict[str, int]:
    """Count trials by their state, and those that were scored and don't keep the floors."""
    trials = study.get_trials(deepcopy=False)
    states = {state.name.lower(): 0 for state in TrialState}
    for trial in trials:
        states[trial.state.name.lower()] += 1
    infeasible = sum(not _keeps_floors(trial, criterion) for trial in trials)
    return {**states, "infeasible": infeasible}


def seconds_saved(study: optuna.Study) -> float:
    """Return the seconds that pruning saved, estimated from the speed of each pruned training."""
    return float(sum(trial.user_attrs.get(SECONDS_SAVED, 0.0) for trial in study.get_trials(False)))


def _achieved(trial: FrozenTrial) -> tuple[float, float]:
    """Return recall and accuracy. Recall is the value of a trial that maximizes it."""
    recall = trial.user_attrs.get("recall", trial.values[0])
    return float(recall), float(trial.user_attrs["accuracy"])


def _keeps_floors(trial: FrozenTrial, criterion: Criterion) -> bool:
    """Say whether a trial keeps the floors, or wasn't scored."""
    if "accuracy" not in trial.user_attrs:
        return True
    achieved = dict(trial.user_attrs)
    if trial.values is not None:
        achieved["recall"] = _achieved(trial)[0]
    return all(achieved.get(name, 1.0) >= floor for name, floor in criterion.floors.items())


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
        point = search.criterion.best(points)
        found[spec.fingerprint] = _Candidate(
            trial, spec, scored.scores, points, point, scored.seconds
        )
    return list(found.values())


def _nearest_miss(candidates: list[_Candidate], criterion: Criterion) -> NoFeasibleThresholdError:
    def shortfall(candidate: _Candidate) -> float:
        return float(criterion.shortfall(candidate.points).min())

    nearest = min(candidates, key=shortfall)
    miss = NearestMiss.of(nearest.points, criterion)
    return NoFeasibleThresholdError(
        f"no trial reaches {miss.floors}: the nearest is {miss.reached} by the {nearest.spec.name} "
        f"of trial {nearest.trial.number} at threshold {miss.threshold:.6g}",
        f"{miss.lower} (with `force=True`: the scores are kept), or search more heads.",
        best_accuracy=miss.best_accuracy,
    )
