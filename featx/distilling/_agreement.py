"""How well a student reproduces its teacher's embeddings of images that it didn't learn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a student's embeddings with its teacher's.

    Attributes
    ----------
    rows
        Number of embeddings.
    correlation
        Pearson correlation of all values.
    channel_mean, channel_median
        Mean and median over the channels of the correlation of their spatial averages. Channels
        that are the same in all rows don't count.
    explained
        Share of the variance of the teacher's values, cell by cell, that the student explains.

    Examples
    --------
    >>> import numpy as np
    >>> from featx.distilling import Agreement
    >>> made = np.random.default_rng(0).normal(size=(20, 2, 2, 4)).astype(np.float32)
    >>> Agreement.of(made, made).correlation
    1.0
    """

    rows: int
    correlation: float
    channel_mean: float
    channel_median: float
    explained: float

    @classmethod
    def of(cls, teacher: NDArray[np.floating], student: NDArray[np.floating]) -> Agreement:
        """Compare embeddings of shape (rows, height, width, channels), of any float dtype."""
        sums = Sums()
        sums.add(teacher, student)
        return sums.agreement()

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name, rounded to six digits."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


class Sums:
    """Sums over rows that come block by block."""

    def __init__(self) -> None:
        self.rows, self._values = 0, 0
        self._moments = np.zeros(5)
        self._of_cells = np.zeros((2, 1, 1, 1))
        self._error = 0.0
        self._averages: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def add(self, teacher: NDArray[np.floating], student: NDArray[np.floating]) -> None:
        """Count in a block of embeddings of shape (rows, height, width, channels)."""
        y, p = teacher.astype(np.float64), student.astype(np.float64)
        self.rows, self._values = self.rows + len(y), self._values + y.size
        self._moments += (y.sum(), p.sum(), (y * y).sum(), (p * p).sum(), (y * p).sum())
        self._of_cells = self._of_cells + np.stack([y.sum(axis=0), (y * y).sum(axis=0)])
        self._error += float(((y - p) ** 2).sum())
        self._averages.append((y.mean(axis=(1, 2)), p.mean(axis=(1, 2))))

    def agreement(self) -> Agreement:
        """Return the numbers of all blocks."""
        y, p, yy, pp, yp = self._moments / self._values
        total = float((self._of_cells[1] - self._of_cells[0] ** 2 / self.rows).sum())
        averages = [np.concatenate(each) for each in zip(*self._averages, strict=True)]
        channels = _correlations(*averages)
        return Agreement(
            self.rows,
            _ratio(yp - y * p, float(np.sqrt(max(yy - y * y, 0.0) * max(pp - p * p, 0.0)))),
            float(channels.mean()) if channels.size else float("nan"),
            float(np.median(channels)) if channels.size else float("nan"),
            1.0 - _ratio(self._error, total),
        )


def _correlations(y: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate columns. Those of one value have none, and a student's count as 0."""
    y, p = y - y.mean(axis=0), p - p.mean(axis=0)
    varies = (y * y).sum(axis=0) > 0.0
    y, p = y[:, varies], p[:, varies]
    scale = np.sqrt((y * y).sum(axis=0) * (p * p).sum(axis=0))
    found: NDArray[np.float64] = (y * p).sum(axis=0) / np.where(scale > 0.0, scale, 1.0)
    return found


def _ratio(number: float, of: float) -> float:
    return float(number / of) if of > 0.0 else float("nan")
