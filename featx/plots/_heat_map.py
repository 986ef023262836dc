"""Drawing a heat map over the X-ray that it explains."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from featx.plots._style import new_axes

COLOR_MAP = "PuOr_r"
"""Orange speaks for the positive class, violet against it: color-blind people see both."""

OPACITY = 0.6
CONTOUR_SHARE = 0.5
"""Share of a map's largest value at which the contour is drawn."""


def heat_map_overlay(
    image: NDArray[np.number],
    heat: NDArray[np.floating],
    ax: Axes | None = None,
    *,
    limit: float | None = None,
) -> Axes:
    """Draw an X-ray and, over it, a heat map and the contour of its strongest part.

    The map is interpolated between the centers of its cells. What is near zero is transparent, so
    that the X-ray shows. The contour is at half of the map's largest value, if that is above 0.

    Parameters
    ----------
    image : ndarray of shape (height, width), (height, width, 1) or (height, width, 3)
        Values 0..255.
    heat : ndarray of shape (rows, columns)
        Map of `featx.explain.heat_maps`. It covers the whole image.
    ax
        Axes to draw on. None makes a figure, which a notebook shows.
    limit
        Value of the strongest color. None takes the largest of this map.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> axes = heat_map_overlay(np.full((40, 90), 128.0), np.eye(3), Figure().subplots())
    >>> [image.get_array().shape for image in axes.images]
    [(40, 90), (40, 90, 4)]
    """
    axes = ax if ax is not None else new_axes(shown=True)
    height, width = image.shape[:2]
    draw_image(axes, image)
    scale = heat_scale(heat, limit)
    large = upsample(heat, height, width)
    colors = scale.to_rgba(large)
    colors[..., 3] = OPACITY * np.clip(np.abs(large) / scale.norm.vmax, 0, 1)
    axes.imshow(colors)
    top = float(large.max())
    lines = min(height, width) > 1 and top > 0 and float(large.min()) < CONTOUR_SHARE * top
    if lines:
        # White on black: one of them shows wherever it runs.
        for color, width_of_line in (("black", 2.6), ("white", 1.2)):
            axes.contour(
                large, levels=[CONTOUR_SHARE * top], colors=color, linewidths=width_of_line
            )
    return axes


def heat_scale(heat: NDArray[np.floating], limit: float | None = None) -> ScalarMappable:
    """Return the symmetric scale of a map's colors, as a color bar needs it."""
    most = float(np.abs(heat).max()) if limit is None else limit
    most = max(most, float(np.finfo(np.float32).tiny))
    return ScalarMappable(Normalize(-most, most), COLOR_MAP)


def draw_image(axes: Axes, pixels: NDArray[np.number]) -> None:
    """Draw an X-ray without axes. Values are 0..255."""
    shown = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    axes.imshow(np.rint(shown).astype(np.uint8), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def upsample(heat: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """Interpolate a map bilinearly between its cells' centers.

    The rim continues the outer cells. Height and width are in pixels.
    """
    from scipy.ndimage import map_coordinates

    rows, columns = heat.shape
    down = (np.arange(height) + 0.5) * rows / height - 0.5
    right = (np.arange(width) + 0.5) * columns / width - 0.5
    coordinates = np.meshgrid(down, right, indexing="ij")
    large = map_coordinates(heat.astype(np.float32), coordinates, order=1, mode="nearest")
    return np.asarray(large, np.float32)
