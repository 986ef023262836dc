"""Heat maps over X-rays: where the colors and the contour are."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from featx.plots import heat_map_overlay
from featx.plots._heat_map import heat_scale, upsample


def test_the_center_of_a_large_cell_has_the_cell_s_value() -> None:
    heat = np.array([[1.0, 2.0], [3.0, 4.0]])
    large = upsample(heat, 30, 60)
    assert large.shape == (30, 60)
    assert large[7:8, 14:16].mean() == pytest.approx(1, abs=0.05)
    assert large[22:23, 44:46].mean() == pytest.approx(4, abs=0.05)
    assert large[14:16, 29:31].mean() == pytest.approx(2.5, abs=0.01)  # halfway between all four


def test_it_covers_an_image_of_any_aspect_ratio() -> None:
    heat = np.zeros((3, 3))
    heat[0, 2] = 2.0
    axes = heat_map_overlay(np.full((40, 90), 128.0), heat, Figure().subplots())
    under, over = (np.asarray(image.get_array()) for image in axes.images)
    assert under.shape[:2] == over.shape[:2] == (40, 90)
    opacity = over[..., 3]
    row, column = np.unravel_index(opacity.argmax(), opacity.shape)
    assert row < 13
    assert column >= 60
    assert opacity[-1, 0] == 0  # what says nothing hides nothing


@pytest.mark.parametrize("heat", [np.zeros((2, 2)), np.full((2, 2), -1.0), np.ones((1, 1))])
def test_a_map_without_a_peak_has_no_contour(heat: NDArray[np.float64]) -> None:
    axes = heat_map_overlay(np.zeros((20, 20, 1)), heat, Figure().subplots())
    assert len(axes.collections) == 0


def test_the_contour_is_at_half_of_the_peak() -> None:
    axes = heat_map_overlay(np.zeros((60, 60, 3)), np.diag([4.0, 0.0, 0.0]), Figure().subplots())
    assert len(axes.collections) == 2
    for contour in axes.collections:
        assert getattr(contour, "levels") == [pytest.approx(2.0, abs=0.1)]  # noqa: B009


def test_the_scale_is_symmetric() -> None:
    assert heat_scale(np.array([[0.0, -3.0]])).get_clim() == (-3.0, 3.0)
    assert heat_scale(np.eye(3), 7.0).get_clim() == (-7.0, 7.0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (500, 1, 1), (1, 500, 1)])
def test_image_without_an_area_has_no_contour(shape: tuple[int, int, int]) -> None:
    heat = np.diag([4.0, 0.0, 0.0])
    assert len(heat_map_overlay(np.zeros(shape), heat, Figure().subplots()).images) == 2
