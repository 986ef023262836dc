"""Platt's map from scores to probabilities, learnt on scores of patients that nobody fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from featx.thresholds.recalibration import Recalibration, logits

_FLATTEST = 1e-9


def learn_platt(y: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> Recalibration:
    """Learn the map from scores to the share of positives, each patient counted once.

    Logistic regression on the scores' log odds with the targets of Platt (1999), which are a little
    less sure than 0 and 1, so that scores without an error don't become certainties.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1
        1 for the positive class.
    scores : array of shape (images,)
        Out of fold, 0..1.
    groups : array of shape (images,)
        The patient of each image.

    Returns
    -------
    Recalibration
        Of scores that order the patients no better than chance, one that gives all of them the
        share of positives.
    """
    truth = np.asarray(y).astype(bool)
    _, patient, size = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    weight = 1.0 / size[patient]
    sick, healthy = weight[truth].sum(), weight[~truth].sum()
    target = np.where(truth, (sick + 1.0) / (sick + 2.0), 1.0 / (healthy + 2.0))
    values = logits(scores)
    model = LogisticRegression(C=np.inf).fit(
        np.concatenate([values, values])[:, None],
        np.repeat([1, 0], len(values)),
        sample_weight=np.concatenate([weight * target, weight * (1.0 - target)]),
    )
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope < _FLATTEST:
        slope, intercept = _FLATTEST, float(logit((sick + 1.0) / (sick + healthy + 2.0)))
    return Recalibration(method="sigmoid", slope=slope, intercept=intercept)
