"""Nearest neighbours, as many as there can be."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.neighbors import KNeighborsClassifier


class NearestNeighbors(KNeighborsClassifier):  # type: ignore[misc]
    """Scikit-learn's `KNeighborsClassifier`, weighted by distance; fewer where images are fewer.

    Parameters
    ----------
    n_neighbors
        At most.
    metric
        ``euclidean``, ``cosine`` or ``manhattan``.
    """

    def __init__(self, n_neighbors: int = 25, metric: str = "euclidean") -> None:
        super().__init__(n_neighbors, weights="distance", metric=metric, algorithm="brute")

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Find neighbours; see scikit-learn."""
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors
        return super().kneighbors(X, min(wanted, self.n_samples_fit_), return_distance)
