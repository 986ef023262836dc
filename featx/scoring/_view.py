"""Whether an image is an upright frontal chest X-ray: two witnesses, pixels and embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.evaluation import Reference

VIEWS = (
    "",
    "rotated 90",
    "upside down",
    "rotated 270",
    "inverted",
    "inverted, rotated 90",
    "inverted, upside down",
    "inverted, rotated 270",
)
"""Names of an image's view by the number of the change that makes an upright X-ray of it.

A change turns counterclockwise by so many quarters, and inverts from the fifth on. So the image
itself was rotated clockwise by the degrees in its name.
"""
OTHER = "other"

# fmt: off
_CHEST = np.array([
    [-1.1, -0.5,  0.1, 0.8, 0.8,  0.1, -0.5, -1.1],
    [-1.1,  0.1,  0.3, 0.7, 0.7,  0.3,  0.1, -1.1],
    [-1.4,  0.2, -0.1, 0.8, 0.8, -0.1,  0.2, -1.4],
    [-1.6,  0.1, -0.1, 1.1, 1.1, -0.1,  0.1, -1.6],
    [-1.7, -0.2,  0.1, 1.3, 1.3,  0.1, -0.2, -1.7],
    [-1.7, -0.3,  0.3, 1.2, 1.2,  0.3, -0.3, -1.7],
    [-1.7,  0.0,  0.9, 1.4, 1.4,  0.9,  0.0, -1.7],
    [-1.5,  0.7,  1.4, 1.6, 1.6,  1.4,  0.7, -1.5],
])
# fmt: on
"""Grey values of a chest X-ray: the average of 4,186 of the public set (Kermany et al. 2018), each
standardized, symmetric, in 8 rows and columns. Air is dark, the spine and the belly are bright."""

_CHEST /= np.sqrt((_CHEST**2).mean())

MIN_LIKENESS = 0.2
"""Correlation with `_CHEST` below which pixels don't speak for a chest X-ray."""

FAR_FACTOR = 3.0
"""Distance that can't be a disturbed X-ray: so many times as far beyond the training images' median
as `Reference.limit` is."""

MIN_CONTRAST = 2.0
"""Standard deviation of the grey values, 0..255, below which there is nothing to see."""


class Look(NamedTuple):
    """What the pixels of an image say.

    Attributes
    ----------
    change
        Number of the change after which it looks most like an upright chest X-ray. See `VIEWS`.
    likeness
        Correlation with the average chest X-ray after it. NaN if the image has no contrast.
    """

    change: int
    likeness: float


NOTHING = Look(0, np.nan)
"""What an image without contrast says."""


def look(pixels: NDArray[np.floating]) -> Look:
    """Compare an image and its changes with the average chest X-ray.

    Parameters
    ----------
    pixels : ndarray of shape (rows, columns, channels)
        Grey values or colors, 0..255.
    """
    channels = pixels.shape[-1]
    grey = Image.fromarray(pixels @ np.full(channels, 1.0 / channels, np.float32))
    small = np.asarray(grey.resize(_CHEST.shape, Image.Resampling.BOX), np.float64)
    contrast = small.std()
    if not contrast >= MIN_CONTRAST:
        return NOTHING
    small = (small - small.mean()) / contrast
    turns = [float((np.rot90(small, turn) * _CHEST).mean()) for turn in range(4)]
    likeness = np.array([*turns, *(-turn for turn in turns)])
    change = int(likeness.argmax())
    return Look(change, float(likeness[change]))


def changed(pixels: NDArray[np.float32], change: int) -> NDArray[np.float32]:
    """Make the change of that number. See `VIEWS`."""
    inverted, turns = divmod(change, 4)
    return np.ascontiguousarray(np.rot90(255.0 - pixels if inverted else pixels, turns), np.float32)


@dataclass(frozen=True)
class ViewCheck:
    """The training images' say on the view of other images.

    Pixels alone don't know which X-rays a run is for, and distances alone take a strong change of
    exposure for an inversion. So an image is called inverted or turned only if both say so.

    Attributes
    ----------
    reference
        Training images.
    """

    reference: Reference

    def doubts(self, seen: Look, vector: NDArray[np.float32]) -> bool:
        """Say whether an image is to be embedded once more, after the change that suits it best.

        Images nearer to the training images than half of these are, aren't.
        """
        return (
            seen.change > 0
            and seen.likeness >= MIN_LIKENESS
            and self._distance(vector) > self.reference.median
        )

    def view(
        self, seen: Look, vector: NDArray[np.float32], after: NDArray[np.float32] | None = None
    ) -> str:
        """Return the view of an image: one of `VIEWS`, or `OTHER`.

        Parameters
        ----------
        seen
            What its pixels say.
        vector, after : ndarray of shape (channels,)
            Averaged embeddings of the image, and of the image after the change, if it was doubted.
        """
        distance, median, limit = (
            self._distance(vector),
            self.reference.median,
            self.reference.limit,
        )
        far = median + FAR_FACTOR * (limit - median)
        # Another run of the same embedding may have doubted what this one doesn't.
        nearer = after is not None and self._distance(after) < min(distance, far)
        if nearer and self.doubts(seen, vector):
            return VIEWS[seen.change]
        like_none = seen.likeness < MIN_LIKENESS and distance > limit
        return OTHER if like_none or distance > far or np.isnan(seen.likeness) else ""

    def _distance(self, vector: NDArray[np.float32]) -> float:
        return float(self.reference.distance(vector[np.newaxis])[0])
