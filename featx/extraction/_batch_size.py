"""Batch size of the forward pass, found by trying."""

from __future__ import annotations

import time

import numpy as np

from featx.backbones import Backbone
from featx.errors import OutOfMemoryError

DEFAULT_BATCH_SIZE = 8
MIN_BATCH_SIZE = 4
MAX_BATCH_SIZE = {"cpu": 64, "gpu": 256}
"""Largest batches that are tried. A CPU that runs out of memory kills the process."""
MIN_SPEEDUP = 1.03
"""Least gain in speed for which a larger batch is taken."""
ROWS_PER_PROBED_ROW = 64
"""Rows that a job has to have for each row of a batch, so that trying costs little."""


def probe_batch_size(
    backbone: Backbone, largest: int | None = None
) -> tuple[int, dict[int, float]]:
    """Time forward passes over ever larger batches, until larger ones aren't faster.

    Returns
    -------
    batch_size
        Smallest size within 3 % of the fastest, `largest` at most.
    speeds
        Rows a second for every size that was tried.
    """
    speeds: dict[int, float] = {}
    size = MIN_BATCH_SIZE
    limit = MAX_BATCH_SIZE[backbone.device.partition(":")[0]]
    while size <= min(limit, largest or limit):
        images = np.zeros((size, *(backbone.spec.input_size,) * 2, 1), np.float32)
        seconds = []
        try:
            for _ in range(2):  # the first pass also sets things up
                started = time.perf_counter()
                backbone.embed(images)
                seconds.append(time.perf_counter() - started)
        except OutOfMemoryError:
            break
        best = max(speeds.values(), default=0.0)
        speeds[size] = size / min(seconds)
        if speeds[size] < best * MIN_SPEEDUP:
            break
        size *= 2
    if not speeds:
        return 1, speeds
    fastest = max(speeds.values())
    return min(size for size, speed in speeds.items() if speed * MIN_SPEEDUP >= fastest), speeds
