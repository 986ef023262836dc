"""Search spaces of a trial: a head, its settings, and the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from featx.heads import HeadName, HeadSpec
from featx.tuning._spec import SearchSpec

THRESHOLD, HEAD = "threshold", "head"
# A head that is sure of everybody has scores of exactly 1: one threshold must lie above.
THRESHOLD_SPACE = FloatDistribution(0.0, float(np.nextafter(1.0, 2.0)))
GRID_THRESHOLDS = 19
GRID_POINTS = 4

_POOLED = CategoricalDistribution(("pyramid", "average", "max", "average+max"))
_WEIGHTS = CategoricalDistribution(("balanced", "none"))

SPACES: dict[HeadName, dict[str, BaseDistribution]] = {
    "keras": {
        "architecture": CategoricalDistribution(("study", "gap")),
        "dense_units": CategoricalDistribution(("none", "256", "512,256")),
        "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),
        "dropout": FloatDistribution(0.2, 0.7),
        "label_smoothing": FloatDistribution(0.0, 0.1),
    },
    "logreg": {
        "C": FloatDistribution(1e-5, 10.0, log=True),
        "representation": _POOLED,
        "class_weight": _WEIGHTS,
    },
    "svm": {
        "C": FloatDistribution(0.1, 1000.0, log=True),
        "gamma": FloatDistribution(1e-5, 1e-2, log=True),
        "components": IntDistribution(50, 400, step=50),
        "representation": _POOLED,
        "class_weight": _WEIGHTS,
    },
    "knn": {
        "n_neighbors": IntDistribution(5, 75, step=2),
        "metric": CategoricalDistribution(("euclidean", "cosine", "manhattan")),
        "components": IntDistribution(50, 400, step=50),
        "representation": _POOLED,
    },
    "lda": {
        "shrinkage": FloatDistribution(0.001, 1.0, log=True),
        "components": IntDistribution(50, 400, step=50),
        "representation": _POOLED,
    },
    "hgb": {
        "learning_rate": FloatDistribution(0.02, 0.3, log=True),
        "max_iter": IntDistribution(50, 300, step=50),
        "max_leaf_nodes": IntDistribution(4, 31),
        "l2_regularization": FloatDistribution(0.01, 10.0, log=True),
    },
}
"""Search space of each head, with the names of its settings. C, gamma, rates and shrinkage have a
logarithmic scale. `standardize` isn't searched: it is there for other hospitals' exposure and
contrast, and out-of-fold recall in one hospital can't measure what it is worth."""


def space_of(search: SearchSpec, head: str) -> dict[str, BaseDistribution]:
    """Return what a trial chooses of a head: ``logreg.C`` and so on."""
    if search.threshold_only:
        return {}
    fixed = search.fixed.get(head, ())
    space = SPACES.get(head, {})  # type: ignore[call-overload]
    return {f"{head}.{name}": d for name, d in space.items() if name not in fixed}


def suggest(trial: optuna.Trial, search: SearchSpec) -> tuple[HeadSpec, float]:
    """Let a trial choose a head with its settings, and a threshold."""
    name: str = search.heads[0].name
    if len(search.heads) > 1:
        name = trial.suggest_categorical(HEAD, [head.name for head in search.heads])
    chosen = {
        parameter.partition(".")[2]: _suggest_one(trial, parameter, distribution)
        for parameter, distribution in space_of(search, name).items()
    }
    threshold = float(_suggest_one(trial, THRESHOLD, THRESHOLD_SPACE))
    return _with_settings(search.head(name), chosen), threshold


def spec_of_trial(params: Mapping[str, Any], search: SearchSpec) -> HeadSpec:
    """Return the head that a finished trial stood for."""
    name = params.get(HEAD, search.heads[0].name)
    chosen = {p.partition(".")[2]: v for p, v in params.items() if p.startswith(f"{name}.")}
    return _with_settings(search.head(name), chosen)


def starting_points(search: SearchSpec) -> list[dict[str, Any]]:
    """Return the first trials: each head's defaults, as far as they are in its space."""
    points = []
    for head in search.heads:
        point: dict[str, Any] = {HEAD: head.name} if len(search.heads) > 1 else {}
        settings = head.settings.model_dump(mode="json")
        if head.name == "svm":
            settings["C"] = head.settings.cost  # type: ignore[union-attr]
        for parameter, distribution in space_of(search, head.name).items():
            value = settings[parameter.partition(".")[2]]
            value = "none" if value is None else value
            if not isinstance(value, str) or isinstance(distribution, CategoricalDistribution):
                point[parameter] = value
        points.append(point | {THRESHOLD: 0.5})
    return points


def grid_of(search: SearchSpec) -> dict[str, list[Any]]:
    """Return the values of a grid search: a few of each setting, and thresholds.

    Only one head can be searched on a grid: heads have different settings.
    """
    (head,) = search.heads
    grid = {
        parameter: _grid_values(distribution)
        for parameter, distribution in space_of(search, head.name).items()
    }
    return grid | {THRESHOLD: np.linspace(0.05, 0.95, GRID_THRESHOLDS).round(4).tolist()}


def _grid_values(distribution: BaseDistribution) -> list[Any]:
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case IntDistribution(low=low, high=high, step=step):
            steps = np.linspace(0, (high - low) // step, GRID_POINTS).round().astype(int)
            return [int(low + step * number) for number in np.unique(steps)]
        case FloatDistribution(low=low, high=high, log=log):
            scale = np.geomspace if log else np.linspace
            return [float(f"{value:.6g}") for value in scale(low, high, GRID_POINTS)]
    raise TypeError(f"no grid over {distribution}")


def _suggest_one(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step):
            return trial.suggest_int(name, low, high, step=step)
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
    raise TypeError(f"no way to suggest {distribution}")


def _with_settings(head: HeadSpec, chosen: Mapping[str, Any]) -> HeadSpec:
    if not chosen:  # a classifier of one's own has none
        return head
    settings = head.settings.model_dump() | dict(chosen)
    return HeadSpec(name=head.name, seed=head.seed, calibration=head.calibration, settings=settings)
