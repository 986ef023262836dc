"""Heat maps of linear heads: each cell's share of the decision function, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.explain._heads import classifier_of, link_of
from featx.heads import SpatialPooling

EPSILON = np.float32(1e-6)
"""Term that `SpatialPooling` adds to standard deviations."""


@dataclass(frozen=True, slots=True)
class Linear:
    """The logit of a head's score in pooled features: weights @ (features - mean) + rest.

    Attributes
    ----------
    weights, mean : ndarray of shape (features,), dtype float64
        Weights of the pooled (and standardized) features, and their mean in the training images.
    rest : float
        The logit of the average training image.
    """

    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    rest: float

    @classmethod
    def of(cls, head: Any) -> Linear | None:
        """Undo calibration, principal components and scaling. None if a head isn't linear."""
        classifier = classifier_of(head)
        # An SVC has weights only if its kernel is linear.
        coefficients = getattr(classifier, "coef_", None)
        if coefficients is None:
            return None
        link = link_of(head)
        weights = link.slope * np.asarray(coefficients, np.float64).ravel()
        rest = link.slope * float(np.ravel(classifier.intercept_)[0]) + link.intercept
        steps = head.named_steps
        if "reduction" in steps:
            pca = steps["reduction"].pca_
            weights = pca.components_.T.astype(np.float64) @ weights
            rest -= float(pca.mean_ @ weights)
        scaling = steps["scaling"]
        return cls(weights / scaling.scale_, np.asarray(scaling.mean_, np.float64), rest)

    def first(self, features: int) -> Linear:
        """Return the part of the first features: those of an embedding's main part."""
        return Linear(self.weights[:features], self.mean[:features], self.rest)


def linear_maps(
    head: Any,
    linear: Linear,
    grid: NDArray[np.floating],
    mean: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.float32], float]:
    """Divide the logit among the cells of the grid.

    This is the class activation map of Zhou et al. (CVPR 2016), carried through the pyramid and
    through standardization: given an image's own mean and standard deviation a standardized
    average is linear in the cells. The average training image's map is subtracted, so that a cell
    counts by what sets it apart; without `mean` its contribution is, evenly from each region.

    `grid` has the shape (images, rows, columns, channels), `mean` is the average embedding of the
    training images. The cells of a map and the second result sum up to the logit of the score. Of
    embeddings with several parts, `grid` is the main one. What the others add isn't in the sum.
    """
    pooling = head.named_steps["pooling"]
    linear = linear.first(pooling.number_of_features(grid.shape[1:]))
    cells = grid.astype(np.float32, copy=False).reshape(len(grid), -1, grid.shape[3])
    spread = _flat if pooling.how == "flatten" else _pooled
    maps, rest = spread(pooling, linear, cells, grid.shape[1:3]), linear.rest
    if mean is not None:
        average = mean.astype(np.float32, copy=False).reshape(1, *cells.shape[1:])
        usual = spread(pooling, linear, average, grid.shape[1:3])
        maps, rest = maps - usual, rest + float(usual.sum())
    return maps.reshape(grid.shape[:3]).astype(np.float32), rest


def _pooled(
    pooling: SpatialPooling, linear: Linear, cells: NDArray[np.float32], side: tuple[int, ...]
) -> NDArray[np.float64]:
    """Spread (vectors * channels) features over (images, cells)."""
    images, number, channels = cells.shape
    plain = SpatialPooling(pooling.how)
    vectors = plain.transform(cells.reshape(images, *side, channels))
    vectors = vectors.reshape(images, -1, channels)
    weights = linear.weights.reshape(-1, channels)
    offsets = (weights * linear.mean.reshape(-1, channels)).sum(axis=1)
    scales = np.ones(vectors.shape[:2], np.float32)
    if pooling.standardize:
        # The mean over channels is linear too: it is taken off the weights instead.
        weights = weights - weights.mean(axis=1, keepdims=True)
        scales = 1 / (vectors.std(axis=2) + EPSILON)
    # Weight of each cell in each vector, by pooling one-hot cells.
    taken = plain.transform(np.eye(number, dtype=np.float32).reshape(1, *side, number))
    taken = taken.reshape(-1, number)
    maps = np.zeros((images, number))
    for vector, (weight, share) in enumerate(zip(weights, taken, strict=True)):
        if _is_maximum(pooling.how, vector):
            own = _of_maxima(cells, vectors[:, vector], weight)
            share = np.full(number, 1 / number)
        else:
            own = (cells @ weight.astype(np.float32)) * share
        maps += own * scales[:, vector, np.newaxis] - offsets[vector] * share
    return maps


def _is_maximum(how: str, vector: int) -> bool:
    return how == "max" or (how == "average+max" and vector == 1)


def _of_maxima(
    cells: NDArray[np.float32], maxima: NDArray[np.float32], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give each channel's maximum to the cell that has it. Cells that tie share it."""
    there = cells == maxima[:, np.newaxis]
    each = maxima * weight / there.sum(axis=1)
    return np.asarray(np.einsum("nkc,nc->nk", there, each))


def _flat(
    pooling: SpatialPooling,
    linear: Linear,
    cells: NDArray[np.float32],
    side: tuple[int, ...],  # noqa: ARG001
) -> NDArray[np.float64]:
    """Give every feature to the cell that it is of."""
    flat = cells.astype(np.float64)
    if pooling.standardize:
        flat -= flat.mean(axis=(1, 2), keepdims=True)
        flat /= flat.std(axis=(1, 2), keepdims=True) + EPSILON
    shape = cells.shape[1:]
    away = flat - linear.mean.reshape(shape)
    return np.asarray((away * linear.weights.reshape(shape)).sum(axis=2))
