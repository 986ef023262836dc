"""The training images that an image is most like."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError
from featx.evaluation._reference import directions
from featx.explain._figure import Neighbor
from featx.images import UnreadableImageError, decode_for_display
from featx.runs import FittedRun
from featx_cache import open_cache

THUMBNAIL_SIDE = 200
NEIGHBORS_PER_CLASS = 2
DUPLICATE_DISTANCE = 1e-4
"""Cosine distance below which two images are the same picture, so that they aren't neighbors."""


class TrainingNeighbors:
    """The training images of a run, as far as the run keeps them and they are still there."""

    def __init__(self, run: FittedRun) -> None:
        # A run of an earlier version is explained without neighbors.
        reference = run.reference if run.has_reference else None
        self.table = None if reference is None else reference.table
        self.mean = None if reference is None else reference.mean
        self.root: Path | None = None
        if reference is None:
            return
        self.directions = directions(reference.vectors)
        with contextlib.suppress(FeatxError):  # the cache may be gone
            self.root = Path(open_cache(run.record.cache).data)

    def nearest(self, vector: NDArray[np.float32], called: str) -> list[Neighbor]:
        """Find the nearest images of the class that an image was called, then of the other."""
        if self.table is None:
            return []
        distance = 1.0 - self.directions @ directions(vector[np.newaxis])[0]
        order = np.argsort(distance, kind="stable")
        order = order[distance[order] > DUPLICATE_DISTANCE]
        same = self.table["label"].to_numpy()[order] == called
        rows = [*order[same][:NEIGHBORS_PER_CLASS], *order[~same][:NEIGHBORS_PER_CLASS]]
        paths, labels = self.table["path"], self.table["label"]
        return [
            Neighbor(str(paths.iloc[row]), str(labels.iloc[row]), float(distance[row]))
            for row in rows
        ]

    def thumbnail(self, neighbor: Neighbor) -> NDArray[np.float32] | None:
        """Read a neighbor, if it is still there."""
        if self.root is None:
            return None
        try:
            return decode_for_display(self.root / neighbor.path, THUMBNAIL_SIDE)
        except UnreadableImageError:
            return None
