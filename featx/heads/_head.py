"""Protocol of every head."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Head(Protocol):
    """A classifier on embeddings, in scikit-learn's form.

    Everything that featx fits, keeps and loads is one: `KerasHead`, `CalibratedHead`, and the
    pipelines that `build` makes.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Classes, known after `fit`. The second is the positive class.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> isinstance(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), Head)
    True
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any, **rows: Any) -> Self:
        """Fit on embeddings and labels. `featx.heads.build` says what ``rows`` may be."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class of each image."""

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Return the probability of each class, of shape (images, 2)."""
