"""Estimators of scikit-learn that also work on few images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.heads import LimitedPCA, SpatialPooling


@parametrize_with_checks([LimitedPCA(), SpatialPooling()])  # type: ignore[untyped-decorator]
def test_scikit_learn_s_estimator_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("components", "images", "features", "expected"),
    [(300, 8, 20, 8), (300, 30, 6, 6), (4, 30, 20, 4)],
)
def test_there_are_no_more_components_than_images_or_features(
    components: int, images: int, features: int, expected: int
) -> None:
    X = np.random.default_rng(0).normal(size=(images, features)).astype(np.float32)
    reduced = LimitedPCA(components).fit(X)
    assert reduced.transform(X).shape == (images, expected)
    assert len(reduced.get_feature_names_out()) == expected
    assert reduced.transform(X).dtype == np.float32


def test_the_first_components_hold_the_most() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(200, 3)) @ draw.normal(size=(3, 40)) + 0.01 * draw.normal(size=(200, 40))
    spread = LimitedPCA(5).fit_transform(X).std(axis=0)
    assert spread[:3].min() > 20 * spread[3]


def test_no_component_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        LimitedPCA(0).fit(np.eye(3))


def test_the_seed_decides() -> None:
    X = np.random.default_rng(0).normal(size=(60, 80))

    def reduced(seed: int) -> Any:
        return LimitedPCA(5, random_state=seed).fit_transform(X)

    assert np.array_equal(reduced(1), reduced(1))
    assert not np.array_equal(reduced(1), reduced(2))
