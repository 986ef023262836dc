"""Embeddings with a lesion that is known, and heads that were fitted on such."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

ROWS, COLUMNS, CHANNELS = 5, 4, 16


class Lesions(NamedTuple):
    """Embeddings, labels, and the cell of each sick image that made it so."""

    X: NDArray[np.float16]
    y: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


@pytest.fixture(scope="session")
def lesions() -> Lesions:
    """Noise as a rectified network has it. Four channels are strong in one cell of the sick."""
    random = np.random.default_rng(0)
    images = 120
    y = np.arange(images) % 2
    X = np.maximum(random.normal(0, 1, (images, ROWS, COLUMNS, CHANNELS)), 0)
    row, column = random.integers(0, ROWS, images), random.integers(0, COLUMNS, images)
    for image in np.flatnonzero(y):
        X[image, row[image], column[image], :4] += 6
    return Lesions(X.astype(np.float16), y, row, column)
