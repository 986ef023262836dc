"""The spatial pyramid of a grid: its average, then the averages of 3x3 regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PYRAMID_SIDE = 3
PYRAMID_VECTORS = 1 + PYRAMID_SIDE**2


def regions(cells: int) -> list[slice]:
    """Divide an axis into three regions. They overlap if the number of cells isn't divisible."""
    side = PYRAMID_SIDE
    return [slice(i * cells // side, -(-(i + 1) * cells // side)) for i in range(side)]


def pyramid(grid: Any, average: Callable[[Any], Any]) -> list[Any]:
    """Return the ten vectors of grids (images, rows, columns, channels), each (images, channels).

    Grids are arrays or tensors, and `average` averages theirs over rows and columns.
    """
    return [
        average(grid),
        *(
            average(grid[:, rows, columns])
            for rows in regions(grid.shape[1])
            for columns in regions(grid.shape[2])
        ),
    ]
