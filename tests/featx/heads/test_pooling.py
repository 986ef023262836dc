"""Pooling of embeddings over their grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from featx.heads import SpatialPooling


@pytest.fixture(scope="module")
def grid() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(3.0, 2.0, (5, 9, 9, 16)).astype(np.float32)


def test_average_is_the_mean_over_the_grid(grid: NDArray[np.float32]) -> None:
    pooled = SpatialPooling("average").fit_transform(grid)
    assert pooled.shape == (5, 16)
    assert pooled.dtype == np.float32
    assert np.allclose(pooled, grid.reshape(5, 81, 16).mean(1), rtol=1e-5)


def test_max_is_the_largest_over_the_grid(grid: NDArray[np.float32]) -> None:
    pooled = SpatialPooling("max").fit_transform(grid)
    assert np.array_equal(pooled, grid.reshape(5, 81, 16).max(1))


def test_average_and_max_lie_side_by_side(grid: NDArray[np.float32]) -> None:
    pooled = SpatialPooling("average+max").fit_transform(grid)
    assert pooled.shape == (5, 32)
    assert np.allclose(pooled[:, :16], grid.mean(axis=(1, 2)), rtol=1e-5)
    assert np.array_equal(pooled[:, 16:], grid.max(axis=(1, 2)))


def test_pyramid_is_the_average_and_those_of_nine_regions(grid: NDArray[np.float32]) -> None:
    pooled = SpatialPooling("pyramid").fit_transform(grid)
    assert pooled.shape == (5, 160)
    expected = [grid.mean(axis=(1, 2))]
    for row in range(0, 9, 3):
        for column in range(0, 9, 3):
            expected.append(grid[:, row : row + 3, column : column + 3].mean(axis=(1, 2)))
    assert np.allclose(pooled, np.concatenate(expected, axis=1), rtol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 4, 7, 10])
def test_pyramid_regions_cover_a_grid_of_any_size(side: int) -> None:
    grid = np.zeros((side * side, side, side, 1), np.float32)
    for number in range(side * side):
        grid[number, number // side, number % side] = 1.0
    pooled = SpatialPooling("pyramid").fit_transform(grid)
    assert (pooled[:, 1:] > 0).any(axis=1).all()


def test_standardized_vectors_do_not_depend_on_contrast_and_brightness(
    grid: NDArray[np.float32],
) -> None:
    pooling = SpatialPooling("average", standardize=True)
    pooled = pooling.fit_transform(grid)
    assert np.allclose(pooled.mean(1), 0, atol=1e-5)
    assert np.allclose(pooled.std(1), 1, atol=1e-4)
    assert np.allclose(pooling.fit_transform(grid * 4 + 2), pooled, atol=1e-4)


def test_a_constant_embedding_is_standardized_to_zeros() -> None:
    pooled = SpatialPooling(standardize=True).fit_transform(np.full((2, 3, 3, 4), 7, np.float16))
    assert np.allclose(pooled, 0)


def test_float16_is_summed_in_float32() -> None:
    # 81 times 1,000 lies beyond float16's 65,504.
    grid = np.full((1, 9, 9, 2), 1000, np.float16)
    assert SpatialPooling("average").fit_transform(grid).tolist() == [[1000.0, 1000.0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_pass_through_as_they_are(dtype: Any) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 7)).astype(dtype)
    pooled = SpatialPooling("max").fit(vectors).transform(vectors)
    assert np.array_equal(pooled, vectors)
    assert pooled.dtype == dtype


def test_an_unknown_way_to_pool_is_refused_and_the_known_ones_named(
    grid: NDArray[np.float32],
) -> None:
    with pytest.raises(ValueError, match=r"'average', 'max'.* not 'median'"):
        SpatialPooling("median").fit(grid)  # type: ignore[arg-type]


def test_parameters_are_stored_untouched_and_cloned() -> None:
    parameters: Any = {"how": "max", "standardize": True, "parts": ((2, 2, 8), (4,))}
    assert clone(SpatialPooling(**parameters)).get_params() == parameters


def test_values_that_are_not_finite_are_refused(grid: NDArray[np.float32]) -> None:
    broken = grid.copy()
    broken[2, 3, 4, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        SpatialPooling().fit(broken).transform(broken)
