"""New splits and folds: stratified by label, with patients and duplicates kept together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._arguments import require_number, require_whole
from featx._progress import Progress, progress_of
from featx.data import ImageSource, Manifest, load_manifest
from featx.data._links import linked
from featx.errors import InputError
from featx.inspection._duplicates import near_pairs
from featx.inspection._measure_images import measure
from featx_cache._index import TEXT
from featx_cache._text import plural

FOLD_COLUMN = "fold"
DEFAULT_SHARE = 0.15
"""Share of the images in val and in test."""

_MAX_PARTS = 100
_MAX_SHARE_ERROR = 0.005
"""Largest difference of a share, if that takes no more parts than `_MAX_PARTS`."""


def split_manifest(
    data: ImageSource,
    *,
    test: float = DEFAULT_SHARE,
    val: float = DEFAULT_SHARE,
    seed: int = 0,
    near: bool | Sequence[tuple[int, int]] = True,
    progress: Progress | bool = True,
) -> Manifest:
    """Divide images anew into train, val and test.

    Classes are in every split in the same proportion. A patient's images and byte-identical images
    stay together, and so do images that look the same.

    Parameters
    ----------
    data
        Manifest, or anything that `featx.load_manifest` takes. Old splits don't matter.
    test, val
        Share of the images, 0 to 1. With 0 there is no such split.
    seed
        Seed of the division.
    near
        Whether images that look the same stay together. Every image is decoded to find them. Their
        positions, such as `Inspection.near`, save that work.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Manifest
        The same images in the same order.

    Raises
    ------
    InputError
        If the shares leave nothing to train on, or a class has too few patients for all splits.

    Examples
    --------
    >>> import featx
    >>> data = featx.split_manifest("chest_xray", test=0.2, val=0)  # doctest: +SKIP
    >>> data.save("manifest.csv")  # doctest: +SKIP

    >>> import pandas as pd
    >>> names = [f"{number:02}" for number in range(20)]
    >>> table = pd.DataFrame({"path": names, "label": ["ill", "well"] * 10, "group": names})
    >>> table = table.assign(sha256=[64 * "0"] + [f"{n:064x}" for n in range(1, 20)])
    >>> table = table.assign(width=8, height=8, mode="L", source="PNG")
    >>> data = featx.load_manifest(table, positive="ill", keep_identifiers=True)
    >>> featx.split_manifest(data, test=0.2, val=0.2, near=False)
    Manifest(20 images of 20 patients: 10 well, 10 ill; train 12, val 4, test 4)
    """
    for name, share in (("test", test), ("val", val)):
        require_number(name, share)
        if not 0.0 <= share < 1.0:
            raise InputError(f"`{name}` {share:g} is not a share between 0 and 1", parameter=name)
    if test + val >= 1.0:
        raise InputError(
            f"`test` {test:g} and `val` {val:g} leave nothing to train on", "Make them smaller."
        )
    names = ["train", *(n for n, share in (("val", val), ("test", test)) if share > 0.0)]
    sets = _ImageSets.of(data, near, progress_of(progress))
    sets.require_patients(len(names), f"{len(names)} splits")
    split = np.full(len(sets.y), "train", dtype=object)
    left, share_left = np.arange(len(sets.y)), 1.0
    for name, share in (("test", test), ("val", val)):
        if share > 0.0:
            others = 1 + (name == "test" and val > 0.0)  # splits that need patients, too
            chosen = _part(sets.y[left], sets.number[left], share / share_left, others, seed)
            split[left[chosen]] = name
            left, share_left = left[~chosen], share_left - share
    table = sets.manifest.table.assign(split=pd.Series(split, dtype=TEXT))
    result = replace(sets.manifest, table=table)
    _require_classes(result, names)
    return result


def fold_manifest(
    data: ImageSource,
    folds: int,
    *,
    seed: int = 0,
    near: bool | Sequence[tuple[int, int]] = True,
    progress: Progress | bool = True,
) -> Manifest:
    """Give images numbers of folds, for cross-validation of one's own.

    Parameters
    ----------
    data, seed, near, progress
        See `split_manifest`.
    folds
        Number of folds.

    Returns
    -------
    Manifest
        The same images, all in split train, with a column ``fold`` from 1 on.

    Raises
    ------
    InputError
        If a class has fewer patients than there are folds.

    Examples
    --------
    >>> import featx
    >>> data = featx.fold_manifest("chest_xray", 5)  # doctest: +SKIP
    >>> data.counts("fold")  # doctest: +SKIP
    """
    from sklearn.model_selection import StratifiedGroupKFold

    require_whole("folds", folds)
    if folds < 2:
        raise InputError(
            f"`folds` {folds} is fewer than two", "Give at least 2.", parameter="folds"
        )
    sets = _ImageSets.of(data, near, progress_of(progress))
    sets.require_patients(folds, f"{folds} folds")
    fold = np.empty(len(sets.y), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(sets.y, sets.y, sets.number)):
        fold[held_out] = number + 1
    columns = {
        "split": pd.Series(["train"] * len(fold), dtype=TEXT),
        FOLD_COLUMN: pd.Series([str(number) for number in fold], dtype=TEXT),
    }
    return replace(sets.manifest, table=sets.manifest.table.assign(**columns))


@dataclass(frozen=True, slots=True)
class _ImageSets:
    """Images, which of them are positive, and the number of the set that must stay together."""

    manifest: Manifest
    y: NDArray[np.bool_]
    number: NDArray[np.int64]

    @classmethod
    def of(
        cls, data: ImageSource, near: bool | Sequence[tuple[int, int]], progress: Progress
    ) -> Self:
        manifest = load_manifest(data, progress=progress)
        table = manifest.table
        if near is True:
            near = near_pairs(measure(manifest, progress=progress), table["sha256"].tolist())
        sets = linked([table["group"].tolist(), table["sha256"].tolist()], near or ())
        return cls(manifest, manifest.positive, sets)

    def require_patients(self, fewest: int, what: str) -> None:
        """Refuse classes of fewer patients than there are parts."""
        for label, of_class in zip(self.manifest.classes, (~self.y, self.y), strict=True):
            count = len(np.unique(self.number[of_class]))
            if count < fewest:
                raise InputError(
                    f"class {label!r} has {plural(count, 'patient')}, too few for {what}",
                    "Add images of more patients, ask for fewer splits, or check `group_regex`.",
                )


def _part(
    y: NDArray[np.bool_], sets: NDArray[np.int64], share: float, others: int, seed: int
) -> NDArray[np.bool_]:
    """Choose a share of the images, whole sets of both classes: some of equal parts.

    Few parts are the most even, so there are as few as come close to the share.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(sets[y])), len(np.unique(sets[~y])))
    taken = {
        parts: min(max(1, round(share * parts)), parts - others)
        for parts in range(1 + others, min(fewest, _MAX_PARTS) + 1)
    }
    error = {parts: abs(number / parts - share) for parts, number in taken.items()}
    close = [parts for parts in error if error[parts] <= _MAX_SHARE_ERROR]
    parts = min(close) if close else min(error, key=lambda parts: error[parts])
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    chosen = np.zeros(len(y), bool)
    for number, (_, rows) in enumerate(splitter.split(y, y, sets)):
        chosen[rows] = number < taken[parts]
    return chosen


def _require_classes(manifest: Manifest, names: list[str]) -> None:
    counts = manifest.counts().reindex(names, fill_value=0)
    empty = [(s, c) for s in counts.index for c in counts.columns if counts.loc[s, c] == 0]
    if empty:
        split, label = empty[0]
        raise InputError(
            f"with these shares the split {split!r} gets no image of class {label!r}",
            "Ask for a larger share or another `seed`, or add images of more patients.",
        )
