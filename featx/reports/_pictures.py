"""Pictures in a report: figures, training images, and the images with the largest errors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from featx.images import UnreadableImageError, decode
from featx.plots._style import svg
from featx.reports._document import Picture
from featx.reports._report_data import EvaluatedSplit, NamedCache

SIDE = 256
"""Side of the square that an image is shown as, in pixels."""

SAMPLES_PER_CLASS = 6
MAX_ERRORS = 6
"""Number of misses that are shown at most, and of false alarms."""

JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class DecodedImages:
    """Images that could be read, and why others couldn't.

    Attributes
    ----------
    pixels
        Pixels by path in the manifest: shape (side, side, 1 or 3), float32, 0..255.
    reasons
        Reasons why images couldn't be read, without repeats.
    """

    pixels: dict[str, NDArray[np.float32]]
    reasons: tuple[str, ...]


def sample_images(source: NamedCache, splits: Sequence[str], *, seed: int) -> pd.DataFrame:
    """Draw images of each class at random from the splits that a run was fitted on."""
    images = source.cache.images
    images = images[images["split"].isin(list(splits))]
    random = np.random.default_rng(seed)
    drawn = [
        images.iloc[
            np.sort(
                random.permutation(np.flatnonzero(images["label"] == label))[:SAMPLES_PER_CLASS]
            )
        ]
        for label in source.cache.classes
    ]
    return pd.concat(drawn)


def largest_errors(split: EvaluatedSplit) -> dict[str, pd.DataFrame]:
    """Return the images on the wrong side of the threshold, furthest from it first.

    Returns
    -------
    dict of str to DataFrame
        ``miss`` and ``false alarm``: the rows of `EvaluatedSplit.table`, at most six each.
    """
    called, positive = split.scores.called(split.metrics.threshold), split.scores.positive
    missed, alarms = split.table[positive & ~called], split.table[~positive & called]
    return {
        "miss": missed.sort_values("score", kind="stable").head(MAX_ERRORS),
        "false alarm": alarms.sort_values("score", ascending=False, kind="stable").head(MAX_ERRORS),
    }


def read_images(source: NamedCache | None, paths: Sequence[str]) -> DecodedImages:
    """Decode images of a cache's data folder, if their content is what was embedded."""
    if source is None:
        return DecodedImages({}, ("the cache that says where they are isn't there",))
    root = Path(source.cache.data)
    if not source.cache.data or not root.exists():
        where = source.cache.data or "of images that the cache notes"
        return DecodedImages({}, (f"there is no folder {where} any more",))
    hashes = dict(zip(source.cache.images["path"], source.cache.images["sha256"], strict=True))
    pixels: dict[str, NDArray[np.float32]] = {}
    reasons: dict[str, int] = {}
    for path in paths:
        try:
            pixels[path] = decode(root / path, SIDE, sha256=hashes.get(path))
        except UnreadableImageError as error:
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
    told = [f"{number} of {len(paths)}: {reason}" for reason, number in reasons.items()]
    return DecodedImages(pixels, tuple(told))


def svg_picture(axes: Axes, name: str, alt: str, caption: str = "") -> Picture:
    """Return the figure of some axes as an SVG picture."""
    return Picture(name, "svg", svg(axes), alt, caption)


def jpeg_picture(pixels: NDArray[np.float32], name: str, alt: str, caption: str) -> Picture:
    """Return pixels as a JPEG picture.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 1 or 3)
        0..255.
    name, alt, caption
        See `Picture`.
    """
    values = np.rint(pixels).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=JPEG_QUALITY)
    return Picture(name, "jpg", content.getvalue(), alt, caption)
