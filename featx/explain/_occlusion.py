"""Heat maps of any head: how much the logit falls when a part of the grid is hidden."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx.backbones._parts import main_part
from featx.explain._heads import logits_of
from featx.explain._linear import EPSILON
from featx.heads import SpatialPooling

PATCH = 3
"""Cells hidden at once in each direction. Trees and neighbors don't notice a single cell."""


def occlusion_maps(
    head: Pipeline,
    embeddings: NDArray[np.floating],
    mean: NDArray[np.floating] | None = None,
    *,
    patch: int = PATCH,
) -> NDArray[np.float32]:
    """Hide a patch around each cell in turn (Zeiler and Fergus, ECCV 2014) and score the rest.

    Hidden cells look like the average training image at their place. Without `mean` they do so as
    far as the head knows it: the means that its scaling learned, in the exposure and contrast of
    this image where it standardizes. A head on maxima knows no such means; there it is the mean of
    the image's cells.

    `embeddings` have the shape (images, rows, columns, channels), or are vectors of several parts,
    of which the main one's grid is hidden. A patch is an odd number of cells in each direction. A
    map says how far the logit falls if the patch around a cell is hidden.
    """
    whole = head.named_steps["pooling"]
    pooling = SpatialPooling(whole.how, standardize=whole.standardize)
    grid = main_part(embeddings, whole.part_shapes)
    images, rows, columns, _ = grid.shape
    number_of_main = pooling.number_of_features(grid.shape[1:])
    # First nothing, then each patch.
    nothing = np.zeros((1, rows * columns), bool)
    hidden = np.concatenate([nothing, _patches(rows, columns, patch)])
    taken = _taken(pooling, rows, columns) if pooling.how in ("average", "pyramid") else None
    maps = np.empty((images, rows * columns), np.float32)
    for number in range(images):
        image = grid[number].astype(np.float32)
        if mean is None:
            means = head.named_steps["scaling"].mean_[:number_of_main]
            fill = _filling(pooling, means, image, taken)
        else:
            fill = mean.astype(np.float32)
        if taken is not None:
            features = _pooled(pooling, image, fill, hidden, taken)
        else:
            shown = hidden.reshape(-1, rows, columns, 1)
            features = pooling.transform(np.where(shown, fill, image))
        if whole.parts:
            others = whole.transform(embeddings[number : number + 1])[:, number_of_main:]
            features = np.concatenate([features, others.repeat(len(features), axis=0)], axis=1)
        logits = logits_of(head, features)
        maps[number] = logits[0] - logits[1:]
    return maps.reshape(images, rows, columns)


def _patches(rows: int, columns: int, patch: int) -> NDArray[np.bool_]:
    """Return the cells of the patch around each cell: shape (cells, cells)."""
    reach = patch // 2
    row, column = np.divmod(np.arange(rows * columns), columns)
    apart = np.maximum(np.abs(row[:, None] - row), np.abs(column[:, None] - column))
    return np.asarray(apart <= reach)


def _taken(pooling: SpatialPooling, rows: int, columns: int) -> NDArray[np.float32]:
    """Return what each vector takes of each cell, (vectors, cells): pool one-hot cells."""
    cells = rows * columns
    one_hot = np.eye(cells, dtype=np.float32).reshape(1, rows, columns, cells)
    return np.asarray(SpatialPooling(pooling.how).transform(one_hot).reshape(-1, cells))


def _pooled(
    pooling: SpatialPooling,
    image: NDArray[np.float32],
    fill: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    taken: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Pool one image with each set of cells hidden: means needn't be taken anew."""
    cells = image.reshape(taken.shape[1], -1)
    change = (hidden[:, np.newaxis] * taken).reshape(-1, len(cells))
    change = change @ (fill.reshape(cells.shape) - cells)
    vectors = (taken @ cells) + change.reshape(len(hidden), len(taken), -1)
    if pooling.standardize:
        vectors -= vectors.mean(axis=2, keepdims=True)
        vectors /= vectors.std(axis=2, keepdims=True) + EPSILON
    return np.asarray(vectors.reshape(len(hidden), -1), np.float32)


def _filling(
    pooling: SpatialPooling,
    mean: NDArray[np.floating],
    image: NDArray[np.float32],
    taken: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Return the average training image as this image would show it: (rows, columns, channels).

    `mean` holds the means of the pooled features.
    """
    if pooling.how == "flatten":
        spread = image.std() + EPSILON if pooling.standardize else 1.0
        offset = image.mean() if pooling.standardize else 0.0
        return np.asarray(mean.reshape(image.shape) * spread + offset, np.float32)
    if taken is None:
        return np.asarray(np.broadcast_to(image.mean(axis=(0, 1)), image.shape))
    cells = image.reshape(taken.shape[1], -1)
    means = mean.reshape(len(taken), -1)
    if pooling.standardize:
        vectors = taken @ cells
        spread = vectors.std(axis=1, keepdims=True) + EPSILON
        means = means * spread + vectors.mean(axis=1, keepdims=True)
    # The regions of the pyramid that a cell is in know its place; the first vector is the whole.
    parts = taken[1:] > 0 if len(taken) > 1 else taken > 0
    of_cell = parts / parts.sum(axis=0)
    return np.asarray(of_cell.T @ means[-len(parts) :], np.float32).reshape(image.shape)
