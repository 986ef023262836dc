"""Which images must never be split: one patient's, and copies of one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def linked(
    columns: Sequence[Sequence[object]], pairs: Iterable[tuple[int, int]] = ()
) -> NDArray[np.int64]:
    """Number the sets of images that are linked, directly or through others.

    Parameters
    ----------
    columns
        Images with the same value in any of these columns are linked: patients, hashes.
    pairs
        More links: positions of two images.

    Returns
    -------
    ndarray of shape (images,), dtype int64
        Equal for images that belong together; numbered from 0 in the order of their first image.
    """
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
