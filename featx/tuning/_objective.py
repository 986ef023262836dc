"""One trial: a setting and a threshold, their out-of-fold scores, and what they achieve."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from featx.heads import HeadSpec
from featx.thresholds import Criterion, sweep
from featx.training._scoring import FOLDS, EpochCallback
from featx.tuning._scorer import Scorer
from featx.tuning._spaces import suggest
from featx.tuning._spec import SearchSpec

SOURCE, SNAPPED = "source", "exact sweep"
SECONDS_SAVED = "seconds_saved"
DRAWING_TIME_SHARE = 0.1
"""Share of the time that may go into figures."""


class DrawTrial(Protocol):
    """Draws a running trial that is the best so far. It can be pickled."""

    def __call__(
        self,
        trial: optuna.Trial,
        truth: NDArray[np.bool_],
        scores: NDArray[np.float64],
        threshold: float,
    ) -> None:
        """Draw it, and attach the figures to it."""


class Objective:
    """Objective of a search: out of fold, what the criterion maximizes. Floors are constraints.

    The objective ``pareto`` has recall and accuracy instead, and no constraint.

    The trials that are the best so far are drawn. Nothing can be added to a finished trial, and
    drawing takes longer than trying a threshold: if trials are that quick, some aren't drawn.
    """

    def __init__(self, search: SearchSpec, scorer: Scorer, draw: DrawTrial | None = None) -> None:
        self.search, self.scorer, self._draw_trial = search, scorer, draw
        self.criterion = search.criterion
        self._best = (-np.inf, -np.inf)
        self._started, self._drawing = time.perf_counter(), 0.0

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Score what a trial suggests."""
        spec, threshold = suggest(trial, self.search)
        after_epoch = None
        if self.search.objective == "constrained" and spec.keras and spec.keras.ensemble == 1:
            after_epoch = _Pruning(trial, spec, self.criterion)
        scored = self.scorer(spec, after_epoch)
        truth, called = self.scorer.truth, scored.scores >= threshold
        achieved = {
            "recall": float(called[truth].mean()),
            "accuracy": float((called == truth).mean()),
            "specificity": float((~called[~truth]).mean()),
        }
        missed = {name: floor - achieved[name] for name, floor in self.criterion.floors.items()}
        recall, accuracy, specificity = achieved.values()
        feasible = all(by <= 0.0 for by in missed.values())
        value = value_of(self.criterion, recall, specificity, truth)
        # The dashboard's plots mark infeasible trials by their constraint, its lists by attribute.
        attributes: dict[str, Any] = {
            "accuracy": accuracy,
            "specificity": specificity,
            "roc_auc": float(roc_auc_score(truth, scored.scores)),
            "fit_seconds": round(scored.seconds, 3),
            "feasible": feasible,
        }
        if self.criterion.objective != "recall":
            attributes["recall"] = recall
        for name, attribute in attributes.items():
            trial.set_user_attr(name, attribute)
        if feasible and (value, accuracy) > self._best:
            self._best = (value, accuracy)
            self._draw(trial, scored.scores, threshold)
        if self.search.objective == "pareto":
            return recall, accuracy
        for name, by in missed.items():
            trial.set_constraint(f"{name}_floor", by)
        return value

    def _draw(self, trial: optuna.Trial, scores: NDArray[np.float64], threshold: float) -> None:
        now = time.perf_counter()
        wanted = SOURCE in trial.user_attrs or self._drawing <= DRAWING_TIME_SHARE * (
            now - self._started
        )
        if self._draw_trial is None or not wanted:
            return
        self._draw_trial(trial, self.scorer.truth, scores, threshold)
        self._drawing += time.perf_counter() - now


def value_of(
    criterion: Criterion, recall: float, specificity: float, truth: NDArray[np.bool_]
) -> float:
    """Return what a criterion maximizes, of one operating point."""
    return float(criterion.values(recall, specificity, float(truth.mean())))


class _Pruning(EpochCallback):
    """Report the best value above the floors after each epoch of the first fold.

    Hopeless trials are ended. An epoch after which no threshold keeps the floors has the worst
    value, such as a recall of 0.
    """

    def __init__(self, trial: optuna.Trial, spec: HeadSpec, criterion: Criterion) -> None:
        assert spec.keras is not None
        self.trial, self.criterion = trial, criterion
        self.epochs = spec.keras.epochs
        self.started = time.perf_counter()

    def __call__(self, epoch: int, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        points = sweep(truth, scores)
        best = self.criterion.best(points)
        values = self.criterion.values(points.recall, points.specificity, points.share)
        self.trial.report(float(values.min() if best is None else values[best]), epoch)
        if self.trial.should_prune():
            seconds = (time.perf_counter() - self.started) / epoch
            left = self.epochs * FOLDS - epoch
            self.trial.set_user_attr(SECONDS_SAVED, round(seconds * left, 1))
            raise optuna.TrialPruned(f"after epoch {epoch} of the first fold")
