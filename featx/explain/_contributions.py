"""Which layer spoke, if embeddings are of several."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx.explain._heads import logits_of
from featx.heads import Head


def contributions(head: Head, embeddings: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """Say how far each part of an embedding moves the logit from the average training image's.

    It is the fall of the logit if the features of a part are replaced by their means in the
    training images, which the head's scaling knows. Those of a linear head and the logit of the
    average training image sum up to the logit.

    Parameters
    ----------
    head
        Fitted head of embeddings with parts.
    embeddings : ndarray of shape (images, values)

    Returns
    -------
    ndarray of shape (images, parts), dtype float64, or None
        In the unit of the head's maps. None for a network, which has no such means.
    """
    if not isinstance(head, Pipeline):
        return None
    pooling, means = head.named_steps["pooling"], head.named_steps["scaling"].mean_
    features = pooling.transform(embeddings)
    numbers = [pooling.number_of_features(shape) for shape in pooling.part_shapes]
    logits = logits_of(head, features)
    found = np.empty((len(features), len(numbers)))
    for part, (start, end) in enumerate(pairwise(np.cumsum([0, *numbers]))):
        without = features.copy()
        without[:, start:end] = means[start:end]
        found[:, part] = logits - logits_of(head, without)
    return found
