"""The operating point: an Optuna study that maximises recall above an accuracy floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from featx._silence import silent_optuna
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds._sweep import Sweep, sweep

DEFAULT_TRIALS = 100
ACCURACY_FLOOR = 0.9
"""Default of the accuracy floor, everywhere."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A chosen threshold and what it achieved on the scores that chose it.

    Attributes
    ----------
    threshold
        An image is positive when its score is at least this.
    recall, accuracy
        On the scores given to the search.
    accuracy_floor
        What accuracy had to reach.
    trials
        Trials of the Optuna study.
    snapped
        Whether the study's own best trial missed the exact optimum, which was then added as its
        last trial.
    """

    threshold: float
    recall: float
    accuracy: float
    accuracy_floor: float
    trials: int
    snapped: bool


def choose_threshold(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    accuracy_floor: float = 0.9,
    trials: int = DEFAULT_TRIALS,
    seed: int = 0,
) -> OperatingPoint:
    """Pick the threshold that maximises recall subject to accuracy at or above a floor.

    The floor goes to Optuna as a constraint, never as a penalty: a penalty needs a weight, and a
    wrong weight calls everybody sick. Ties in recall are broken by accuracy. Small sets of scores
    are searched exhaustively, larger ones by TPE; an exact sweep over all distinct scores then
    holds the study to the true optimum.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1
        1 for the positive class.
    scores : array of shape (images,)
        Scores that the model gave to images it wasn't trained on.
    accuracy_floor
        Between 0 and 1.
    trials
        Budget of the study.
    seed
        Of the sampler.

    Raises
    ------
    InputError
        When the floor or the scores can't be used.
    NoFeasibleThresholdError
        When no threshold reaches the floor; it names the best accuracy and its threshold.
    """
    check_accuracy_floor(accuracy_floor)
    points = sweep(y, scores)
    optimum = points.best(accuracy_floor)
    if optimum is None:
        best = int(points.accuracy.argmax())
        reachable = math.floor(points.accuracy[best] * 1e4) / 1e4
        raise NoFeasibleThresholdError(
            f"no threshold reaches accuracy {accuracy_floor:g}: the best is "
            f"{points.accuracy[best]:.4f} (recall {points.recall[best]:.4f}) at threshold "
            f"{points.thresholds[best]:.6g}",
            f"Lower `accuracy_floor` to {reachable:.4f} at most, or fit a better head.",
            best_accuracy=float(points.accuracy[best]),
            roc_auc=float(roc_auc_score(y, scores)) if len(np.unique(y)) == 2 else None,
        )
    with silent_optuna():
        study = _study(points, accuracy_floor, min(trials, len(points.thresholds)), seed)
        snapped = _best_point(study) != optimum
        if snapped:
            study.enqueue_trial({"point": optimum}, user_attrs={"source": "exact sweep"})
            study.optimize(lambda trial: _objective(trial, points, accuracy_floor), n_trials=1)
    return OperatingPoint(
        threshold=float(points.thresholds[optimum]),
        recall=float(points.recall[optimum]),
        accuracy=float(points.accuracy[optimum]),
        accuracy_floor=accuracy_floor,
        trials=len(study.trials),
        snapped=snapped,
    )


def check_accuracy_floor(accuracy_floor: float) -> None:
    """Refuse what can't be an accuracy, before any long work.

    Raises
    ------
    InputError
        When it isn't between 0 and 1.
    """
    if not 0.0 <= accuracy_floor <= 1.0:
        raise InputError(
            f"the accuracy floor {accuracy_floor} is not between 0 and 1",
            "Give `accuracy_floor` a fraction such as 0.90.",
        )


def _study(points: Sweep, floor: float, trials: int, seed: int) -> optuna.Study:
    sampler: optuna.samplers.BaseSampler
    if len(points.thresholds) <= trials:
        sampler = optuna.samplers.BruteForceSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: _objective(trial, points, floor), n_trials=trials)
    return study


def _objective(trial: optuna.Trial, points: Sweep, floor: float) -> float:
    """Return the recall of a point; its accuracy is the constraint."""
    point = trial.suggest_int("point", 0, len(points.thresholds) - 1)
    accuracy = float(points.accuracy[point])
    trial.set_constraint("accuracy_floor", floor - accuracy)
    trial.set_user_attr("accuracy", accuracy)
    trial.set_user_attr("threshold", float(points.thresholds[point]))
    return float(points.recall[point])


def _best_point(study: optuna.Study) -> int | None:
    """Return the best feasible trial's point, ties broken by accuracy; None when there is none."""
    feasible = [t for t in study.trials if all(v <= 0 for v in t.constraints.values())]
    if not feasible:
        return None
    best = max(feasible, key=lambda t: (t.value or 0.0, t.user_attrs["accuracy"]))
    return int(best.params["point"])
