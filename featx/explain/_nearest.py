"""The training images that an image is most like."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError
from featx.evaluation._reference import directions
from featx.explain._figure import Neighbour
from featx.images import UnreadableImageError, decode_for_display
from featx.runs._fitted import FittedRun
from featx_cache import open_cache

THUMBNAIL = 200
OF_EACH = 2
SAME_PICTURE = 1e-4
"""Images nearer than that by cosine are the same picture: nobody is a neighbour of himself."""


class Neighbourhood:
    """The training images of a run, as far as it keeps them and they are still there."""

    def __init__(self, run: FittedRun) -> None:
        # A run of an earlier version is explained without neighbours.
        reference = run.reference if run.has_reference else None
        self.table = None if reference is None else reference.table
        self.mean = None if reference is None else reference.mean
        self.root: Path | None = None
        if reference is None:
            return
        self.directions = directions(reference.vectors)
        with contextlib.suppress(FeatxError):  # the cache may be gone
            self.root = Path(open_cache(run.record.cache).data)

    def of(self, vector: NDArray[np.float32], called: str) -> list[Neighbour]:
        """Find the nearest images of the class that an image was called, then of the other."""
        if self.table is None:
            return []
        distance = 1.0 - self.directions @ directions(vector[np.newaxis])[0]
        order = np.argsort(distance, kind="stable")
        order = order[distance[order] > SAME_PICTURE]
        same = self.table["label"].to_numpy()[order] == called
        chosen = np.concatenate([order[same][:OF_EACH], order[~same][:OF_EACH]])
        return [
            Neighbour(
                str(self.table["path"].iloc[row]),
                str(self.table["label"].iloc[row]),
                float(distance[row]),
            )
            for row in chosen
        ]

    def thumbnail(self, neighbour: Neighbour) -> NDArray[np.float32] | None:
        """Read a neighbour, if it is still there."""
        if self.root is None:
            return None
        try:
            return decode_for_display(self.root / neighbour.path, THUMBNAIL)
        except UnreadableImageError:
            return None
