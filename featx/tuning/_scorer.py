"""Out-of-fold scores of a head's settings, computed once and kept on disk."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._specs import fingerprint_of
from featx.errors import InputError
from featx.extraction._spec import spec_of
from featx.heads import HeadSpec, PatientFolds, build, pooling_of
from featx.training import FITTED_SPLITS, TrainingData, load_training_data, out_of_fold
from featx.training._memory import available_memory
from featx.training._scoring import Watch
from featx.tuning._score_cache import memory_at
from featx.tuning._spec import SearchSpec
from featx_cache import Cache

HELD_OUT_SHARE = 5
"""With a guarantee, one patient in so many is set aside to calibrate it on."""

_ROOM = 6.0
"""Free memory, in multiples of the largest embeddings held, that lets more be held beside them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What one setting of a head achieves out of fold.

    Attributes
    ----------
    scores : ndarray of shape (images,), dtype float64
        In the order of `Scorer.table`.
    seconds
        Of fitting and scoring all folds, when that was done.
    """

    scores: NDArray[np.float64]
    seconds: float


class Scorer:
    """Scores heads on the train and val images of a cache.

    Parameters
    ----------
    cache
        The embeddings.
    search
        Says which copies are fitted on, the folds' seed, and whether patients are set aside.
    folder
        Where scores are kept; processes may share it.

    Attributes
    ----------
    table : DataFrame
        One line a searched image: path, sha256, label, split, group.
    truth : ndarray of shape (images,), dtype bool
        Whether each is of the positive class.

    Raises
    ------
    InputError
        When a class is missing, or has too few patients to set some aside.
    """

    def __init__(self, cache: Cache, search: SearchSpec, folder: Path) -> None:
        self.cache, self.search = cache, search
        originals = cache.table(cache.row_numbers(splits=FITTED_SPLITS, copies=False))
        self.held_out = _held_out(originals, search)
        searched = ~originals["group"].isin(self.held_out).to_numpy()
        self.table = originals[searched].reset_index(drop=True)
        self.truth = (self.table["label"] == cache.classes[1]).to_numpy()
        self._data: dict[Any, tuple[TrainingData, TrainingData | None]] = {}
        self._scores = memory_at(folder).cache(_compute, ignore=["compute"])

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What the scores depend on besides a head: embeddings, images, labels, patients, folds."""
        columns = self.table[["sha256", "label", "group"]]
        lines = [" ".join(map(str, row)) for row in columns.itertuples(index=False)]
        return {
            "embeddings": spec_of(self.cache).fingerprint,
            "images": fingerprint_of({"images": lines}),
        }

    def __call__(self, spec: HeadSpec, watch: Watch | None = None) -> Scored:
        """Return the scores of a head, from disk where they were computed before.

        Parameters
        ----------
        spec
            The head with its settings.
        watch
            See `featx.training.out_of_fold`.
        """

        def compute() -> dict[str, NDArray[Any]]:
            data, _ = self.data(spec)
            started = time.perf_counter()
            scores, *_ = out_of_fold(
                spec,
                data,
                seed=self.search.seed,
                accuracy_floor=self.search.accuracy_floor,
                watch=watch,
            )
            if scores["path"].tolist() != self.table["path"].tolist():
                raise AssertionError("scores are not in the order of the table")
            seconds = time.perf_counter() - started
            return {"scores": scores["score"].to_numpy(np.float64), "seconds": np.array(seconds)}

        found = self._scores(self._key(spec), compute)
        return Scored(found["scores"], float(found["seconds"]))

    def has(self, spec: HeadSpec) -> bool:
        """Say whether a head's scores lie on disk."""
        return bool(self._scores.check_call_in_cache(self._key(spec), None))

    def _key(self, spec: HeadSpec) -> str:
        values = {
            **self.identity,
            "head": spec.model_dump(mode="json"),
            "copies": self.search.copies_for(spec),
            "seed": self.search.seed,
        }
        if spec.keras is not None and spec.keras.stopping == "dual":
            values["accuracy_floor"] = self.search.accuracy_floor
        return fingerprint_of(values)

    def data(self, spec: HeadSpec) -> tuple[TrainingData, TrainingData | None]:
        """Read what a head is fitted on, and apart from it what was set aside for the guarantee."""
        pooling = pooling_of(build(spec))
        copies = self.search.copies_for(spec)
        key = (copies, None if pooling is None else tuple(sorted(pooling.get_params().items())))
        if key not in self._data:
            largest = max((_bytes(data) for data, _ in self._data.values()), default=0)
            if largest * _ROOM > available_memory():
                self._data.clear()
            whole = load_training_data(self.cache, spec, use_copies=copies)
            if len(self.held_out):
                apart = np.isin(whole.groups, self.held_out)
                self._data[key] = (whole.part(~apart), whole.part(apart))
            else:
                self._data[key] = (whole, None)
        return self._data[key]


def _compute(key: str, compute: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Compute what belongs to a key; joblib remembers it under the key alone."""
    del key
    return compute()


def _held_out(originals: pd.DataFrame, search: SearchSpec) -> NDArray[Any]:
    """Choose the patients that no head sees, so that a promise can be calibrated on them."""
    groups = np.asarray(originals["group"].to_numpy(), dtype=object)
    if search.guarantee is None:
        return groups[:0]
    try:
        folds = PatientFolds(HELD_OUT_SHARE, search.seed).split(
            originals, originals["label"].to_numpy(), groups
        )
        _, apart = next(iter(folds))
    except ValueError as error:
        raise InputError(
            "a guarantee sets patients aside, and a class has images of one patient only",
            "Add images of more patients, or leave `guarantee` out.",
        ) from error
    return np.unique(groups[apart].astype(str)).astype(object)


def _bytes(data: TrainingData) -> int:
    return int(getattr(data.X, "nbytes", 0))
