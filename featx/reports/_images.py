"""Images in a report: some that a run was trained on, and those that it got most wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from featx.images import UnreadableImageError, decode
from featx.reports._document import Picture
from featx.reports._facts import Scored, Source

SIDE = 256
"""Of the square that images are shown as, in pixels."""

SAMPLES = 6
"""Of each class."""

WORST = 6
"""Misses, and as many false alarms."""

_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures of images, and why the others aren't there.

    Attributes
    ----------
    pixels
        Of each image that could be read, by its path in the manifest: shape (side, side, 1 or 3),
        float32, 0..255.
    reasons
        Why others couldn't, without repeats.
    """

    pixels: dict[str, NDArray[np.float32]]
    reasons: tuple[str, ...]


def sample(source: Source, splits: Sequence[str], *, seed: int) -> pd.DataFrame:
    """Draw images of each class at random from the splits that a run was fitted on."""
    images = source.cache.images
    images = images[images["split"].isin(list(splits))]
    random = np.random.default_rng(seed)
    drawn = [
        images.iloc[np.sort(random.permutation(np.flatnonzero(images["label"] == label))[:SAMPLES])]
        for label in source.cache.classes
    ]
    return pd.concat(drawn)


def most_wrong(scored: Scored) -> dict[str, pd.DataFrame]:
    """Return the images on the wrong side of the threshold, furthest from it first.

    Returns
    -------
    dict of str to DataFrame
        ``miss`` and ``false alarm``: the rows of `Scored.table`, at most six each.
    """
    called = scored.table["score"] >= scored.metrics.threshold
    missed, alarms = scored.truth & ~called, ~scored.truth & called
    return {
        "miss": scored.table[missed].sort_values("score", kind="stable").head(WORST),
        "false alarm": scored.table[alarms]
        .sort_values("score", ascending=False, kind="stable")
        .head(WORST),
    }


def read_images(source: Source | None, paths: Sequence[str]) -> Shown:
    """Decode images of a cache's data folder, if their content is what was embedded."""
    if source is None:
        return Shown({}, ("the cache that says where they are isn't there",))
    root = Path(source.cache.data)
    if not source.cache.data or not root.exists():
        where = source.cache.data or "of images that the cache notes"
        return Shown({}, (f"there is no folder {where} any more",))
    hashes = dict(zip(source.cache.images["path"], source.cache.images["sha256"], strict=True))
    pixels: dict[str, NDArray[np.float32]] = {}
    reasons: dict[str, int] = {}
    for path in paths:
        try:
            pixels[path] = decode(root / path, SIDE, sha256=hashes.get(path))
        except UnreadableImageError as error:
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
    told = [f"{number} of {len(paths)}: {reason}" for reason, number in reasons.items()]
    return Shown(pixels, tuple(told))


def photograph(pixels: NDArray[np.float32], name: str, alt: str, caption: str) -> Picture:
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
    image.save(content, "JPEG", quality=_QUALITY)
    return Picture(name, "jpg", content.getvalue(), alt, caption)
