"""Maps and layers' shares of heads whose embeddings are of several layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.explain import heat_maps
from featx.explain._contributions import contributions
from featx.explain._heads import logits_of
from featx.explain._linear import Linear, linear_maps
from featx.heads import HeadSpec, build

if TYPE_CHECKING:
    from tests.featx.explain.conftest import Lesions

EXTRA = (10, 6)
WAYS = [
    ("pyramid", True),
    ("average", False),
    ("max", True),
    ("average+max", False),
    ("flatten", True),
]


@pytest.fixture(scope="module")
def shapes(lesions: Lesions) -> tuple[tuple[int, ...], ...]:
    return (lesions.X.shape[1:], EXTRA)


@pytest.fixture(scope="module")
def flat(lesions: Lesions) -> NDArray[np.float16]:
    """The lesions, and an extra part that knows nothing of them."""
    extra = np.random.default_rng(1).normal(size=(len(lesions.X), *EXTRA)).astype(np.float16)
    parts = [lesions.X.reshape(len(extra), -1), extra.reshape(len(extra), -1)]
    return np.concatenate(parts, axis=1)


def fitted(shapes: Any, flat: NDArray[Any], y: NDArray[Any], name: str, **settings: Any) -> Any:
    return build(HeadSpec.choose(name, settings=settings), parts=shapes).fit(flat, y)


@pytest.mark.parametrize(("how", "standardize"), WAYS)
def test_the_map_and_the_extra_layer_are_the_logit(
    lesions: Lesions, shapes: Any, flat: NDArray[Any], how: str, standardize: bool
) -> None:
    head = fitted(shapes, flat, lesions.y, "logreg", representation=how, standardize=standardize)
    linear = Linear.of(head)
    assert linear is not None
    maps, rest = linear_maps(head, linear, lesions.X)
    features = head[0].transform(flat)
    logits = head[-1].decision_function(head[1:-1].transform(features))
    shares = contributions(head, flat)
    assert shares is not None
    assert maps.sum(axis=(1, 2)) + shares[:, 1] + rest == pytest.approx(logits, abs=1e-3)
    assert shares.sum(axis=1) + linear.rest == pytest.approx(logits, abs=1e-3)
    assert np.array_equal(maps, heat_maps(head, flat))


@pytest.mark.parametrize("how", [how for how, _ in WAYS])
@pytest.mark.parametrize("known", [False, True], ids=["without mean", "with mean"])
def test_hiding_cells_changes_the_main_part_alone(
    lesions: Lesions, shapes: Any, flat: NDArray[Any], how: str, known: bool
) -> None:
    head = fitted(shapes, flat, lesions.y, "svm", representation=how, components=20)
    mean = lesions.X.mean(axis=0, dtype=np.float32) if known else None
    found = heat_maps(head, flat[:2], mean=mean)
    assert found.shape == (2, 5, 4)
    if mean is None:
        return
    hidden = lesions.X[:2].astype(np.float32)
    hidden[:, 0:2, 0:2] = mean[0:2, 0:2]  # the patch around the first cell
    without = np.concatenate([hidden.reshape(2, -1), flat[:2, mean.size :]], axis=1)
    shown, changed = (logits_of(head, head[0].transform(X)) for X in (flat[:2], without))
    assert found[:, 0, 0] == pytest.approx(shown - changed, abs=1e-4)


NETWORKS: list[dict[str, Any]] = [
    {"architecture": "gap"},
    {"architecture": "study", "dense_units": (8,)},
    {"architecture": "gap", "ensemble": 2},
]


@pytest.mark.parametrize("settings", NETWORKS)
def test_the_map_of_a_network_is_of_the_main_part(
    lesions: Lesions, shapes: Any, flat: NDArray[Any], settings: dict[str, Any]
) -> None:
    settings = {"epochs": 2, "precision": "float32", "dropout": 0.0} | settings
    head = fitted(shapes, flat, lesions.y, "keras", **settings)
    mean = lesions.X.mean(axis=0, dtype=np.float32)
    maps = heat_maps(head, flat[:4], mean=mean)
    assert maps.shape == (4, 5, 4)
    assert np.abs(maps).max() > 0
    usual = flat[:4].copy()
    usual[:, : mean.size] = mean.ravel()
    assert np.abs(heat_maps(head, usual, mean=mean)).max() < 2e-3 * np.abs(maps).max()
    assert contributions(head, flat[:4]) is None


def test_the_layer_that_spoke_has_the_larger_share(
    lesions: Lesions, shapes: Any, flat: NDArray[Any]
) -> None:
    for name, settings in (("logreg", {}), ("hgb", {"max_iter": 20})):
        head = fitted(shapes, flat, lesions.y, name, components=20, **settings)
        shares = contributions(head, flat)
        assert shares is not None
        main, extra = np.abs(shares).mean(axis=0)
        assert main > 2 * extra
