"""One trial: a setting and a threshold, their out-of-fold scores, and what they achieve."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from featx.heads import HeadSpec
from featx.thresholds import sweep
from featx.training._scoring import FOLDS, EpochCallback
from featx.tuning._scorer import Scorer
from featx.tuning._spaces import suggest
from featx.tuning._spec import SearchSpec

CONSTRAINT_NAME = "accuracy_floor"
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
    """Objective of a search: out-of-fold recall. Accuracy is a constraint, or the second objective.

    The trials that are the best so far are drawn. Nothing can be added to a finished trial, and
    drawing takes longer than trying a threshold: if trials are that quick, some aren't drawn.
    """

    def __init__(self, search: SearchSpec, scorer: Scorer, draw: DrawTrial | None = None) -> None:
        self.search, self.scorer, self._draw_trial = search, scorer, draw
        self._best = (-1.0, -1.0)
        self._started, self._drawing = time.perf_counter(), 0.0

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Score what a trial suggests."""
        spec, threshold = suggest(trial, self.search)
        after_epoch = None
        if self.search.objective == "constrained" and spec.keras and spec.keras.ensemble == 1:
            after_epoch = _Pruning(trial, spec, self.search.accuracy_floor)
        scored = self.scorer(spec, after_epoch)
        truth, called = self.scorer.truth, scored.scores >= threshold
        recall, accuracy = float(called[truth].mean()), float((called == truth).mean())
        # The dashboard's plots mark infeasible trials by their constraint, its lists by attribute.
        attributes: dict[str, Any] = {
            "accuracy": accuracy,
            "specificity": float((~called[~truth]).mean()),
            "roc_auc": float(roc_auc_score(truth, scored.scores)),
            "fit_seconds": round(scored.seconds, 3),
            "feasible": accuracy >= self.search.accuracy_floor,
        }
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        if accuracy >= self.search.accuracy_floor and (recall, accuracy) > self._best:
            self._best = (recall, accuracy)
            self._draw(trial, scored.scores, threshold)
        if self.search.objective == "pareto":
            return recall, accuracy
        trial.set_constraint(CONSTRAINT_NAME, self.search.accuracy_floor - accuracy)
        return recall

    def _draw(self, trial: optuna.Trial, scores: NDArray[np.float64], threshold: float) -> None:
        now = time.perf_counter()
        wanted = SOURCE in trial.user_attrs or self._drawing <= DRAWING_TIME_SHARE * (
            now - self._started
        )
        if self._draw_trial is None or not wanted:
            return
        self._draw_trial(trial, self.scorer.truth, scores, threshold)
        self._drawing += time.perf_counter() - now


class _Pruning(EpochCallback):
    """Report recall under the floor after each epoch of the first fold, and end hopeless trials."""

    def __init__(self, trial: optuna.Trial, spec: HeadSpec, floor: float) -> None:
        assert spec.keras is not None
        self.trial, self.floor = trial, floor
        self.epochs = spec.keras.epochs
        self.started = time.perf_counter()

    def __call__(self, epoch: int, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
        points = sweep(truth, scores)
        best = points.best(self.floor)
        self.trial.report(float(points.recall[best]) if best is not None else 0.0, epoch)
        if self.trial.should_prune():
            seconds = (time.perf_counter() - self.started) / epoch
            left = self.epochs * FOLDS - epoch
            self.trial.set_user_attr(SECONDS_SAVED, round(seconds * left, 1))
            raise optuna.TrialPruned(f"after epoch {epoch} of the first fold")
