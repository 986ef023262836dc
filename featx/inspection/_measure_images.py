"""Decoding every image once, and keeping the few numbers that all checks need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx._progress import SILENT, Progress
from featx.data import Manifest
from featx.data import _npz as npz
from featx.images import DecodingSpec, UnreadableImageError, decode

SIDE = 128
"""Side of the square that an image is decoded to, in pixels."""

THUMBNAIL = 32
"""Side of the square that is kept, in pixels."""

IMAGES_PER_TASK = 64

_DECODING = DecodingSpec(jpeg_reduction=1)


@dataclass(frozen=True, slots=True)
class Measurements:
    """Numbers of each image of a manifest, in its order.

    Attributes
    ----------
    thumbnail : ndarray of shape (images, 32, 32), dtype uint8
        Grey values.
    phash : ndarray of shape (images,), dtype uint64
        Perceptual hash: signs of the 64 lowest frequencies (imagehash's ``phash``).
    low, high : ndarray of shape (images,), dtype float32
        Grey values below which 1 % and 99 % of the pixels lie, 0..255.
    bytes : ndarray of shape (images,), dtype int64
        Size of the file, 0 for an image inside an ``.npz`` file.
    problems
        Position -> reason why the image can't be decoded. Its numbers are 0.
    """

    thumbnail: NDArray[np.uint8]
    phash: NDArray[np.uint64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    bytes: NDArray[np.int64]
    problems: dict[int, str]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each image could be decoded."""
        readable = np.ones(len(self.phash), bool)
        readable[list(self.problems)] = False
        return readable


@dataclass(frozen=True, slots=True)
class _Measured:
    """One image's numbers."""

    thumbnail: NDArray[np.uint8]
    phash: int
    low: float
    high: float
    bytes: int
    problem: str = ""


def measure(
    manifest: Manifest, *, jobs: int | None = None, progress: Progress = SILENT
) -> Measurements:
    """Decode every image of a manifest once, in several threads.

    Decoding leaves Python's lock, and threads need neither time to start nor memory of their own.
    """
    paths = manifest.table["path"].tolist()
    jobs = jobs or os.cpu_count() or 1
    parts = [paths[i : i + IMAGES_PER_TASK] for i in range(0, len(paths), IMAGES_PER_TASK)]
    measured: list[_Measured] = []
    with progress.task("Decoding images", len(paths), "image") as advance:
        run = joblib.Parallel(n_jobs=jobs, return_as="generator", prefer="threads")
        for part in run(joblib.delayed(_measure_part)(manifest.root, each) for each in parts):
            measured += part
            advance(len(part))
    return Measurements(
        thumbnail=np.stack([each.thumbnail for each in measured]),
        phash=np.array([each.phash for each in measured], np.uint64),
        low=np.array([each.low for each in measured], np.float32),
        high=np.array([each.high for each in measured], np.float32),
        bytes=np.array([each.bytes for each in measured], np.int64),
        problems={i: each.problem for i, each in enumerate(measured) if each.problem},
    )


def _measure_part(root: Path, paths: Sequence[str]) -> list[_Measured]:
    return [_measure(root / path) for path in paths]


def _measure(path: Path) -> _Measured:
    import imagehash

    try:
        pixels = decode(path, SIDE, spec=_DECODING)
    except UnreadableImageError as error:
        empty = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
        return _Measured(empty, 0, 0.0, 0.0, 0, error.reason)
    grey = pixels[..., 0] if pixels.shape[-1] == 1 else pixels.mean(axis=-1)
    low, high = np.percentile(grey, (1.0, 99.0))
    image = Image.fromarray(np.rint(grey).astype(np.uint8))
    small = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    bits = imagehash.phash(image).hash.ravel()
    phash = int("".join("1" if bit else "0" for bit in bits), 2)
    size = 0 if npz.is_row_path(path) else path.stat().st_size
    return _Measured(small, phash, float(low), float(high), size)
