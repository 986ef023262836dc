"""New splits and folds: stratified by label, with patients and duplicates kept together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.data._links import linked
from featx.data._manifest import Manifest
from featx.errors import InputError
from featx_cache._index import TEXT

FOLD_COLUMN = "fold"
_MOST_PARTS = 100
_CLOSE = 0.005
"""What a share may be off, where that takes no more parts than `_MOST_PARTS`."""


def split_manifest(
    manifest: Manifest,
    *,
    test: float = 0.15,
    val: float = 0.15,
    seed: int = 0,
    near: Iterable[tuple[int, int]] = (),
) -> Manifest:
    """Deal images anew into train, val and test.

    Parameters
    ----------
    manifest
        The images; their old splits don't matter.
    test, val
        Share of the images, 0..1; 0 makes no such split.
    seed
        Of the dealing.
    near
        Pairs of images that look the same and must stay together, as positions.

    Returns
    -------
    Manifest
        The same images in the same order.

    Raises
    ------
    InputError
        When the shares don't leave anything to train on, or a class has too few patients for every
        split to get one.
    """
    for name, share in (("test", test), ("val", val)):
        if not 0.0 <= share < 1.0:
            raise InputError(f"--{name} {share:g} is not a share between 0 and 1")
    if test + val >= 1.0:
        raise InputError(
            f"`test` {test:g} and `val` {val:g} leave nothing to train on", "Make them smaller."
        )
    names = ["train", *(n for n, share in (("val", val), ("test", test)) if share > 0.0)]
    y, sets = _sets(manifest, near)
    _require_patients(manifest, y, sets, len(names), f"{len(names)} splits")
    split = np.full(len(y), "train", dtype=object)
    left, share_left = np.arange(len(y)), 1.0
    for name, share in (("test", test), ("val", val)):
        if share > 0.0:
            others = 1 + (name == "test" and val > 0.0)  # splits that need patients, too
            chosen = _part(y[left], sets[left], share / share_left, others, seed)
            split[left[chosen]] = name
            left, share_left = left[~chosen], share_left - share
    result = replace(manifest, table=manifest.table.assign(split=pd.Series(split, dtype=TEXT)))
    _require_classes(result, names)
    return result


def fold_manifest(
    manifest: Manifest, folds: int, *, seed: int = 0, near: Iterable[tuple[int, int]] = ()
) -> Manifest:
    """Number images with folds, for cross-validation of one's own.

    Parameters
    ----------
    manifest, seed, near
        See `split_manifest`.
    folds
        How many.

    Returns
    -------
    Manifest
        The same images, all in split train, with a column ``fold`` from 1 on.

    Raises
    ------
    InputError
        When a class has fewer patients than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise InputError(f"`folds` {folds} is fewer than two")
    y, sets = _sets(manifest, near)
    _require_patients(manifest, y, sets, folds, f"{folds} folds")
    fold = np.empty(len(y), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(y, y, sets)):
        fold[held_out] = number + 1
    columns = {
        "split": pd.Series(["train"] * len(y), dtype=TEXT),
        FOLD_COLUMN: pd.Series([str(number) for number in fold], dtype=TEXT),
    }
    return replace(manifest, table=manifest.table.assign(**columns))


def _sets(
    manifest: Manifest, near: Iterable[tuple[int, int]]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    table = manifest.table
    y = (table["label"] == manifest.classes[1]).to_numpy()
    return y, linked([table["group"].tolist(), table["sha256"].tolist()], near)


def _part(
    y: NDArray[np.bool_], sets: NDArray[np.int64], share: float, others: int, seed: int
) -> NDArray[np.bool_]:
    """Choose a share of the images, whole sets of both classes: some of as many equal parts.

    Few parts are dealt most evenly, so there are as few as come close to the share.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(sets[y])), len(np.unique(sets[~y])))
    taken = {
        parts: min(max(1, round(share * parts)), parts - others)
        for parts in range(1 + others, min(fewest, _MOST_PARTS) + 1)
    }
    error = {parts: abs(number / parts - share) for parts, number in taken.items()}
    close = [parts for parts in error if error[parts] <= _CLOSE]
    parts = min(close) if close else min(error, key=lambda parts: error[parts])
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    chosen = np.zeros(len(y), bool)
    for number, (_, rows) in enumerate(splitter.split(y, y, sets)):
        chosen[rows] = number < taken[parts]
    return chosen


def _require_patients(
    manifest: Manifest, y: NDArray[np.bool_], sets: NDArray[np.int64], fewest: int, what: str
) -> None:
    for label, of_class in zip(manifest.classes, (~y, y), strict=True):
        count = len(np.unique(sets[of_class]))
        if count < fewest:
            raise InputError(
                f"class {label!r} has {count} patient{'s' * (count != 1)}, too few for {what}",
                "Add images of more patients, ask for fewer splits, or check `group_regex`.",
            )


def _require_classes(manifest: Manifest, names: list[str]) -> None:
    counts = manifest.counts().reindex(names, fill_value=0)
    empty = [(s, c) for s in counts.index for c in counts.columns if counts.loc[s, c] == 0]
    if empty:
        split, label = empty[0]
        raise InputError(
            f"with these shares the split {split!r} gets no image of class {label!r}",
            "Ask for a larger share or another `seed`, or add images of more patients.",
        )
