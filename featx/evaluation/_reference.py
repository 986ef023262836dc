"""Embeddings of the training population, and distances of other images from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg
from sklearn.covariance import LedoitWolf

from featx.errors import InputError
from featx.heads import SpatialPooling
from featx_cache._hdf5 import UNREADABLE_FILE_ERRORS, dataset, opened
from featx_cache._text import first_line

DISTANCE_QUANTILE = 0.99
"""Quantile of the training images' own distances, beyond which an image is unlike them."""

NEAR_DUPLICATE_SHARE = 0.35
"""Share of the cosine distance that 99 % of the training images have from those of other folds.
Images with a smaller distance are the same picture. On the public chest X-ray set (VGG16, 5,232
images of 224 pixels) that distance is 0.039, and the nearest two patients are at 0.029. Copies of
40 images of 180 pixels (PNG) are at 0.006 to 0.014 from their originals, copies of 160 pixels
(JPEG, quality 90) at 0.010 to 0.038 (2 of 40 below the mark), copies of 112 pixels at 0.06 to 0.18.
Embeddings don't tell the last from other patients."""

_SAMPLE = 2000
_ROWS_AT_ONCE = 512


def average_over_grid(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average embeddings over their grid. Vectors pass through.

    Parameters
    ----------
    embeddings : ndarray of shape (images, rows, columns, channels) or (images, channels)

    Returns
    -------
    ndarray of shape (images, channels), dtype float32
    """
    if embeddings.ndim == 2:
        return embeddings.astype(np.float32)
    return np.asarray(SpatialPooling("average").transform(embeddings), np.float32)


@dataclass(frozen=True)
class Reference:
    """The untouched images that a run was fitted on.

    Attributes
    ----------
    vectors : ndarray of shape (images, channels), dtype float32
        Their embeddings, averaged over the grid.
    table : DataFrame
        One row an image in the same order: path, label, group, fold, and score out of fold.
    mean : ndarray of shape (rows, columns, channels), dtype float32, or None
        Their average embedding, cell by cell. None if embeddings have no grid, and in runs that
        didn't keep it.
    """

    vectors: NDArray[np.float32]
    table: pd.DataFrame
    mean: NDArray[np.float32] | None = None

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Mahalanobis distance of each image to the images of the other folds.

        The images of its own patient would draw the mean and the covariance towards it. Distances
        of new images would look larger than they are.
        """
        fold = self.table["fold"].to_numpy()
        found = np.empty(len(fold))
        for number in np.unique(fold):
            held_out = fold == number
            found[held_out] = _Population(self.vectors[~held_out]).distance(self.vectors[held_out])
        return found

    @cached_property
    def limit(self) -> float:
        """The distance that 1 % of the training images themselves are beyond."""
        return float(np.quantile(self.distances, DISTANCE_QUANTILE))

    @cached_property
    def median(self) -> float:
        """The distance that half of the training images themselves are beyond."""
        return float(np.median(self.distances))

    def distance(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the Mahalanobis distance of images to the training images.

        The covariance is shrunk as Ledoit and Wolf do (Journal of Multivariate Analysis 2004),
        since there may be fewer images than channels. Vectors are those of `average_over_grid`.
        """
        return self._population.distance(vectors)

    def has(self, vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Say which images are nearly the same picture as a training image.

        That finds copies in another format or size, if little was lost. See `NEAR_DUPLICATE_SHARE`.
        """
        return _nearest(vectors, self.vectors) < self._near

    @cached_property
    def _near(self) -> float:
        """The cosine distance below which an image is the same picture as a training image."""
        fold = self.table["fold"].to_numpy()
        random = np.random.default_rng(0)
        some = random.permutation(len(fold))[:_SAMPLE]
        found = [
            _nearest(self.vectors[some[fold[some] == number]], self.vectors[fold != number])
            for number in np.unique(fold[some])
        ]
        limit = np.quantile(np.concatenate(found), 1.0 - DISTANCE_QUANTILE)
        return NEAR_DUPLICATE_SHARE * float(limit)

    @cached_property
    def _population(self) -> _Population:
        return _Population(self.vectors)

    @staticmethod
    def write(path: Path, blocks: Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]) -> None:
        """Write embeddings averaged over the grid and over the images into an HDF5 file.

        The first are the dataset ``vectors``, float16. The second are ``mean``, float32, if there
        is a grid. Blocks are positions and embeddings, as `featx_cache.Cache.blocks` yields them.
        """
        parts: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        total: NDArray[np.float64] | float = 0.0
        for where, embeddings in blocks:
            parts.append((where, average_over_grid(embeddings)))
            total = total + embeddings.sum(axis=0, dtype=np.float64)
        rows = sum(len(where) for where, _ in parts)
        vectors = np.empty((rows, parts[0][1].shape[1]), np.float16)
        limit = np.finfo(np.float16).max
        for where, part in parts:
            vectors[where] = part.clip(-limit, limit)
        with h5py.File(path, "w", locking=False) as file:
            file.create_dataset("vectors", data=vectors, compression="gzip", shuffle=True)
            if np.ndim(total) == 3:
                mean = np.asarray(total / rows, np.float32)
                file.create_dataset("mean", data=mean, compression="gzip", shuffle=True)

    @classmethod
    def read(cls, path: Path, table: pd.DataFrame) -> Reference:
        """Read a file of `write`. The table is that of the attributes.

        Raises
        ------
        InputError
            If the file is damaged, or has another number of images than the table.
        """
        try:
            with opened(path) as file:
                held = dataset(file, "vectors", "f", 2)
                if len(held) != len(table):
                    raise ValueError(f"{len(table)} vectors were to be in it, not {held.shape}")
                vectors = np.asarray(held[:], np.float32)
                kept = dataset(file, "mean", "f", 3) if "mean" in file else None
                mean = np.asarray(kept[:], np.float32) if kept is not None else None
        except UNREADABLE_FILE_ERRORS as error:
            reason = first_line(error)
            raise InputError(f"{path} is damaged: {reason}", "Fit the run again.") from error
        return cls(vectors, table, mean)


def directions(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale vectors to length 1, but for those of length 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def _nearest(vectors: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine distance of each vector to the nearest of the others."""
    found, wanted = np.empty(len(vectors)), directions(others).T
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        found[part] = 1.0 - (directions(vectors[part]) @ wanted).max(axis=1)
    return found


class _Population:
    """Mean and covariance of images. What is the same for all distances is computed once."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._fitted = LedoitWolf(store_precision=False).fit(vectors.astype(np.float64))
        self._factor: tuple[NDArray[np.float64], bool] | None = None
        with contextlib.suppress(linalg.LinAlgError):  # all images are equal
            self._factor = linalg.cho_factor(self._fitted.covariance_)

    def distance(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        points = vectors.astype(np.float64)
        if self._factor is None:
            return np.sqrt(np.asarray(self._fitted.mahalanobis(points), np.float64))
        # The pseudo-inverse of scikit-learn takes ten times as long, and more if cores are busy.
        apart = points - self._fitted.location_
        solved = linalg.cho_solve(self._factor, apart.T).T
        squared: NDArray[np.float64] = (apart * solved).sum(axis=1)
        return np.sqrt(squared)
