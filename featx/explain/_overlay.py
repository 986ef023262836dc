"""Drawing a heat map over the X-ray that it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = "PuOr_r"
"""Orange speaks for the positive class, violet against it: colour-blind people tell them apart."""

OPACITY = 0.6
CONTOUR = 0.5
"""Of a map's largest value: where the contour is drawn."""


def draw_overlay(
    place: Any, image: NDArray[np.floating], heat: NDArray[np.floating], limit: float | None = None
) -> Any:
    """Draw an X-ray and, over it, a heat map and the contour of its strongest part.

    The map is interpolated between the centres of its cells. What is near zero is transparent, so
    that the X-ray shows; the contour is at half of the map's largest value, where that is above 0.

    Parameters
    ----------
    place : matplotlib Axes or Figure
        An empty figure gets one pair of axes.
    image : ndarray of shape (height, width), (height, width, 1) or (height, width, 3)
        Values 0..255.
    heat : ndarray of shape (rows, columns)
        See `heat_maps`; it covers the whole image.
    limit
        The value of the strongest colour; None takes the largest of this map.

    Returns
    -------
    matplotlib ScalarMappable
        For a colour bar.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes: Any = place.subplots() if hasattr(place, "subplots") else place
    height, width = image.shape[:2]
    shown = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    axes.imshow(np.rint(shown).astype(np.uint8), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    most = float(np.abs(heat).max()) if limit is None else limit
    most = max(most, float(np.finfo(np.float32).tiny))
    scale = ScalarMappable(Normalize(-most, most), COLOURS)
    large = upsample(heat, height, width)
    colours = scale.to_rgba(large)
    colours[..., 3] = OPACITY * np.clip(np.abs(large) / most, 0, 1)
    axes.imshow(colours)
    top = float(large.max())
    if top > 0 and float(large.min()) < CONTOUR * top:  # else there is no line to draw
        # White on black: one of them shows wherever it runs.
        for colour, line in (("black", 2.6), ("white", 1.2)):
            axes.contour(large, levels=[CONTOUR * top], colors=colour, linewidths=line)
    return scale


def upsample(heat: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """Interpolate a map bilinearly between its cells' centres; the rim continues the outer cells.

    Parameters
    ----------
    heat : ndarray of shape (rows, columns)
    height, width
        Of the result, in pixels.

    Returns
    -------
    ndarray of shape (height, width), dtype float32
    """
    from scipy.ndimage import map_coordinates

    rows, columns = heat.shape
    down = (np.arange(height) + 0.5) * rows / height - 0.5
    right = (np.arange(width) + 0.5) * columns / width - 0.5
    places = np.meshgrid(down, right, indexing="ij")
    large = map_coordinates(heat.astype(np.float32), places, order=1, mode="nearest")
    return np.asarray(large, np.float32)
