"""Images that must stay together: those of a patient, and copies of one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def linked(
    columns: Sequence[Sequence[object]], pairs: Iterable[tuple[int, int]] = ()
) -> NDArray[np.int64]:
    """Give each set of images that are linked, directly or through others, a number.

    Images with the same value in any column (patients, hashes) are linked, and so are `pairs` of
    positions. Numbers, of shape (images,), begin with 0 and are in the order of the first image.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(columns[0])
    codes, start = [], count
    for column in columns:
        code, names = pd.factorize(np.asarray(column, dtype=object))
        codes.append(code + start)
        start += len(names)
    more = np.array(list(pairs), np.int64).reshape(-1, 2)
    one = np.concatenate([*(np.arange(count) for _ in columns), more[:, 0]])
    other = np.concatenate([*codes, more[:, 1]])
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(start, start))
    _, component = connected_components(graph, directed=False)
    return pd.factorize(component[:count])[0].astype(np.int64)


def merged_groups(groups: pd.Series[str], sha256: pd.Series[str]) -> pd.Series[str]:
    """Give patients who share an image the name of the first of them.

    Both series have one row an image. The same `groups` come back if no two patients share one.
    """
    pairs = pd.DataFrame({"group": groups, "sha256": sha256}).drop_duplicates()
    if not pairs["sha256"].duplicated().any():
        return groups
    sets = linked([pairs["group"].tolist(), pairs["sha256"].tolist()])
    first = pairs["group"].groupby(sets).transform("first")
    names = dict(zip(pairs["group"], first, strict=True))
    return groups.map(names).astype(groups.dtype)
