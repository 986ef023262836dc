"""Looking at a Keras training from outside: scores of other images after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from featx.heads._batches import Embeddings

WATCHED_BATCH = 256

OnScores = Callable[[int, NDArray[np.float64]], None]
"""Is told the epoch, from 1, and the scores after it; may raise to end the training."""


class ScoresEachEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Score images that a network isn't trained on after each of its epochs.

    Parameters
    ----------
    X : array or LazyEmbeddings of shape (images, rows, columns, channels)
        Embeddings.
    on_scores
        Is told the epoch and the scores, of shape (images,), dtype float64.
    """

    def __init__(self, X: Embeddings, on_scores: OnScores) -> None:
        super().__init__()
        self.X, self.on_scores = X, on_scores

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Score them with the weights as they are now."""
        parts = [
            np.asarray(self.model(self.X[start : start + WATCHED_BATCH], training=False))
            for start in range(0, len(self.X), WATCHED_BATCH)
        ]
        self.on_scores(epoch + 1, np.concatenate(parts)[:, 0].astype(np.float64))
