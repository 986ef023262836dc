"""Out-of-fold scores of a head's settings, computed once and kept on disk."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._specs import fingerprint_of
from featx.data._links import merged_groups
from featx.errors import InputError
from featx.extraction._spec import spec_of
from featx.heads import HeadSpec, PatientFolds, build, pooling_of
from featx.training import FITTED_SPLITS, TrainingData, load_training_data, out_of_fold
from featx.training._copies import copies_choice
from featx.training._memory import available_memory
from featx.training._scoring import EpochCallback
from featx.tuning._score_store import HeadScores, ScoreStore
from featx.tuning._spec import SearchSpec
from featx_cache import Cache

GUARANTEE_FOLDS = 5
"""With a guarantee, one patient in so many is set aside to calibrate it on."""

FREE_MEMORY_FACTOR = 6.0
"""Free memory, in multiples of the largest embeddings held, that lets more be held beside them."""


@dataclass(frozen=True, slots=True)
class SearchData:
    """Data that heads are searched on, and data set aside for a guarantee, if there is one."""

    searched: TrainingData
    set_aside: TrainingData | None


class Scorer:
    """Scores heads on the train and val images of a cache, and keeps the scores in a folder.

    `table` has one row a score, in their order, and `truth` its labels: True for the positive
    class. Its column `patient` has one name for patients who share an image. Processes may share
    the folder.
    """

    def __init__(self, cache: Cache, search: SearchSpec, folder: Path) -> None:
        self.cache, self.search = cache, search
        self.copies = copies_choice(
            cache, use_copies=search.fits_on_copies, choose_on=search.choose_on
        )
        table = cache.table(cache.row_numbers(splits=FITTED_SPLITS, copies=True))
        table = table.assign(patient=merged_groups(table["group"], table["sha256"]))
        originals = table[table["copy"] == 0]
        self.held_out = _held_out(originals, search)
        parts = {"untouched": [originals], "copies": [table[table["copy"] > 0]]}
        parts["both"] = parts["untouched"] + parts["copies"]
        known = pd.concat(parts[self.copies.choose_on])
        self.table = known[~known["patient"].isin(self.held_out)].reset_index(drop=True)
        self.truth = (self.table["label"] == cache.classes[1]).to_numpy()
        self._data: dict[Any, SearchData] = {}
        self._store = ScoreStore(folder)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Description of all that the scores depend on, besides the head and the seed."""
        columns = self.table[["sha256", "label", "group"]]
        lines = [" ".join(map(str, row)) for row in columns.itertuples(index=False)]
        return {
            "embeddings": spec_of(self.cache).fingerprint,
            "images": fingerprint_of({"images": lines}),
        }

    def __call__(self, spec: HeadSpec, after_epoch: EpochCallback | None = None) -> HeadScores:
        """Return the scores of a head, from disk if they were computed before."""
        key = self._key(spec)
        found = self._store.read(key)
        if found is None or found.scores.shape != self.truth.shape:
            found = self._compute(spec, after_epoch)
            self._store.write(key, found)
        return found

    def _compute(self, spec: HeadSpec, after_epoch: EpochCallback | None) -> HeadScores:
        data = self.data(spec).searched
        started = time.perf_counter()
        found = out_of_fold(
            spec,
            data,
            seed=self.search.seed,
            accuracy_floor=self.search.criterion.stopping_floor,
            after_epoch=after_epoch,
        )
        scores = found.chosen_on(self.copies.choose_on, self.cache.classes)
        if not np.array_equal(scores.positive, self.truth):
            raise AssertionError("scores are not in the order of the table")
        return HeadScores(scores.score, time.perf_counter() - started)

    def has(self, spec: HeadSpec) -> bool:
        """Say whether a head's scores lie on disk."""
        return self._store.path(self._key(spec)).is_file()

    def _key(self, spec: HeadSpec) -> str:
        values = {
            **self.identity,
            "head": spec.model_dump(mode="json"),
            "copies": self.search.fits_on_copies,
            "seed": self.search.seed,
        }
        if self.copies.choose_on != "untouched":
            values["choose_on"] = self.copies.choose_on
        if spec.stops_by_accuracy_floor:
            values["accuracy_floor"] = self.search.criterion.stopping_floor
        return fingerprint_of(values)

    def data(self, spec: HeadSpec) -> SearchData:
        """Read what a head is fitted on. Heads that pool alike share it."""
        pooling = pooling_of(build(spec))
        key = None if pooling is None else tuple(sorted(pooling.get_params().items()))
        if key not in self._data:
            largest = max((_bytes(data.searched) for data in self._data.values()), default=0)
            if largest * FREE_MEMORY_FACTOR > available_memory():
                self._data.clear()
            whole = load_training_data(
                self.cache,
                spec,
                use_copies=self.copies.use_copies,
                score_copies=self.copies.score_copies,
            )
            if len(self.held_out):
                apart = np.isin(whole.groups, self.held_out)
                self._data[key] = SearchData(whole.part(~apart), whole.part(apart))
            else:
                self._data[key] = SearchData(whole, None)
        return self._data[key]


def _held_out(originals: pd.DataFrame, search: SearchSpec) -> NDArray[Any]:
    """Choose patients that no head sees, so that a promise can be calibrated on them."""
    groups = np.asarray(originals["patient"].to_numpy(), dtype=object)
    if search.guarantee is None:
        return groups[:0]
    try:
        folds = PatientFolds(GUARANTEE_FOLDS, search.seed).split(
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
