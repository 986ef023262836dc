"""Optuna's samplers and pruners, by the names that users type."""

from __future__ import annotations

import importlib.util

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    GridSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from featx._silence import silent_optuna
from featx.errors import InputError
from featx.tuning._spaces import grid_of
from featx.tuning._spec import PrunerName, SamplerName, SearchSpec

STARTUP_TRIALS = 10
POPULATION_SIZE = 20
UNPRUNED_TRIALS = 5


def make_sampler(name: SamplerName, search: SearchSpec, seed: int) -> BaseSampler:
    """Make a sampler: TPE (Bergstra et al. 2011), NSGA-II (Deb et al. 2002), or a simpler one."""
    with silent_optuna():
        match name:
            case "tpe":
                # Heads have settings of their own: groups of parameters that occur together.
                return TPESampler(
                    seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True
                )
            case "gp":
                if importlib.util.find_spec("torch") is None:
                    raise InputError(
                        "the sampler gp needs PyTorch, which isn't installed",
                        "Install it with `pip install 'featx[gp]'`, or take `sampler` tpe.",
                    )
                return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
            case "random":
                return RandomSampler(seed=seed)
            case "grid":
                if len(search.heads) > 1:
                    raise InputError(
                        "the sampler grid searches one head, and heads have different settings",
                        "Give one `head`, or take `sampler` tpe.",
                    )
                return GridSampler(grid_of(search), seed=search.seed)
            case "nsga2":
                return NSGAIISampler(population_size=POPULATION_SIZE, seed=seed)


def make_pruner(name: PrunerName, search: SearchSpec) -> BasePruner:
    """Make a pruner for searches in which a Keras head reports its recall after each epoch."""
    epochs = max((head.keras.epochs for head in search.heads if head.keras is not None), default=0)
    if not epochs or search.objective == "pareto" or name == "none":
        return NopPruner()
    with silent_optuna():
        if name == "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
        return MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=1)


def grid_is_done(study: optuna.Study) -> bool:
    """Say whether a grid search has been everywhere."""
    return isinstance(study.sampler, GridSampler) and study.sampler.is_exhausted(study)
