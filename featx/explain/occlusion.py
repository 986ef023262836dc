"""Heat maps of any head: how much the logit falls when a part of the grid is hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx.explain.heads import classifier_of, link_of

PATCH = 3
"""Cells that are hidden at once, each way: trees and neighbours don't notice a single one."""

LEAST = 1e-3
"""Shares of votes are kept this far from 0 and 1, where a logit would be infinite."""

Logit = Callable[[NDArray[np.floating]], NDArray[np.float64]]


def occlusion_maps(
    logit: Logit,
    grid: NDArray[np.floating],
    *,
    fill: NDArray[np.floating] | None = None,
    patch: int = PATCH,
) -> NDArray[np.float32]:
    """Hide a patch around each cell in turn (Zeiler and Fergus, ECCV 2014) and score the rest.

    Parameters
    ----------
    logit
        See `logit_of`.
    grid : ndarray of shape (images, rows, columns, channels)
    fill : ndarray of shape (channels,) or (rows, columns, channels), optional
        What hidden cells are replaced by; None takes the mean of the image's own cells.
    patch
        Cells of a patch, each way; odd.

    Returns
    -------
    ndarray of shape (images, rows, columns), dtype float32
        How much the logit falls when the patch around that cell is hidden.
    """
    images, rows, columns, _ = grid.shape
    hidden = _patches(rows, columns, patch)[..., np.newaxis]
    maps = np.empty((images, rows * columns), np.float32)
    for number, image in enumerate(grid.astype(np.float32, copy=False)):
        filling = image.mean(axis=(0, 1)) if fill is None else fill.astype(np.float32)
        logits = logit(np.concatenate([image[np.newaxis], np.where(hidden, filling, image)]))
        maps[number] = logits[0] - logits[1:]
    return maps.reshape(images, rows, columns)


def logit_of(head: Any) -> Logit:
    """Return a function from embeddings to logits that doesn't saturate as scores do.

    Parameters
    ----------
    head
        A fitted head that isn't a network.
    """
    classifier, link = classifier_of(head), link_of(head)
    steps = [step for _, step in head.steps[:-1]] if isinstance(head, Pipeline) else []

    def logit(grid: NDArray[np.floating]) -> NDArray[np.float64]:
        features = grid
        for step in steps:
            features = step.transform(features)
        if hasattr(classifier, "decision_function"):
            decision = np.asarray(classifier.decision_function(features), np.float64)
            return link.slope * decision + link.intercept
        share = np.clip(classifier.predict_proba(features)[:, 1], LEAST, 1 - LEAST)
        return np.asarray(np.log(share) - np.log1p(-share))

    return logit


def _patches(rows: int, columns: int, patch: int) -> NDArray[np.bool_]:
    """Return the cells of the patch around each cell: shape (cells, rows, columns)."""
    reach = patch // 2
    row, column = np.divmod(np.arange(rows * columns), columns)
    near_row = np.abs(np.arange(rows) - row[:, np.newaxis]) <= reach
    near_column = np.abs(np.arange(columns) - column[:, np.newaxis]) <= reach
    return near_row[:, :, np.newaxis] & near_column[:, np.newaxis, :]
