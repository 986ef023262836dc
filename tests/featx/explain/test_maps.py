"""Heat maps of every head: where the peak is, what they are measured in, what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import InputError
from featx.explain import heat_maps
from featx.explain._maps import method_of, peak
from featx.heads import HEADS, HeadSpec, KerasHead, build

if TYPE_CHECKING:
    from tests.featx.explain.conftest import Lesions

CLASSIC = [name for name in HEADS if name != "keras"]


def fitted(lesions: Lesions, name: str, labels: Any = None, **settings: Any) -> Any:
    spec = HeadSpec.choose(name, settings=settings)
    return build(spec).fit(lesions.X, lesions.y if labels is None else labels)


def hits(lesions: Lesions, maps: NDArray[np.floating]) -> float:
    """Share of the sick whose peak is in the cell of the lesion or beside it."""
    near = []
    for image in np.flatnonzero(lesions.y):
        row, column = peak(maps[image])
        apart = max(abs(row - lesions.row[image]), abs(column - lesions.column[image]))
        near.append(apart <= 1)
    return float(np.mean(near))


def mean(lesions: Lesions) -> NDArray[np.float32]:
    return np.asarray(lesions.X.mean(axis=0, dtype=np.float32))


@pytest.mark.parametrize("name", CLASSIC)
@pytest.mark.parametrize("representation", ["average", "max", "average+max", "pyramid", "flatten"])
def test_every_head_on_every_representation_has_finite_maps(
    lesions: Lesions, name: str, representation: str
) -> None:
    settings = {"max_iter": 5} if name == "hgb" else {}
    head = fitted(lesions, name, representation=representation, components=10, **settings)
    for reference in (None, mean(lesions)):
        maps = heat_maps(head, lesions.X[:3], mean=reference)
        assert maps.shape == (3, 5, 4)
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()


@pytest.mark.parametrize("name", ["logreg", "lda", "svm"])
@pytest.mark.parametrize("known", [False, True], ids=["without mean", "with mean"])
def test_peaks_lie_in_lesions(lesions: Lesions, name: str, known: bool) -> None:
    maps = heat_maps(
        fitted(lesions, name, components=20), lesions.X, mean=mean(lesions) if known else None
    )
    assert hits(lesions, maps) > 0.9


def test_peaks_of_networks_lie_in_lesions(lesions: Lesions) -> None:
    head = KerasHead(architecture="gap", epochs=12, dense_units=(16,), learning_rate=3e-3)
    maps = heat_maps(head.fit(lesions.X, lesions.y), lesions.X, mean=mean(lesions))
    assert maps.shape == (120, 5, 4)
    assert hits(lesions, maps) > 0.8


def test_a_map_of_a_member_s_average_is_the_average_of_maps(lesions: Lesions) -> None:
    from featx.explain._gradients import gradient_maps

    both = KerasHead(architecture="gap", epochs=2, dense_units=(8,), ensemble=2)
    both.fit(lesions.X, lesions.y)
    members = [part for part in both.model_.layers if part.name.startswith("member_")]
    assert len(members) == 2
    each = [gradient_maps(member, lesions.X[:20]) for member in members]
    np.testing.assert_allclose(heat_maps(both, lesions.X[:20]), (each[0] + each[1]) / 2, atol=1e-6)


def test_a_network_of_one_s_own_is_explained_cell_by_cell(lesions: Lesions) -> None:
    layers = ({"class_name": "Flatten", "config": {}},)
    head = KerasHead(layers=layers, epochs=1).fit(lesions.X, lesions.y)
    kernel = head.model_.layers[-1].kernel.numpy().reshape(5, 4, 16)
    expected = (lesions.X[:4].astype(np.float32) * kernel).sum(axis=-1)
    np.testing.assert_allclose(heat_maps(head, lesions.X[:4]), expected, atol=1e-5)


def test_the_study_s_network_in_half_precision_has_maps_in_single(lesions: Lesions) -> None:
    half = KerasHead(precision="bfloat16", epochs=1, dense_units=(8,)).fit(lesions.X, lesions.y)
    for maps in (
        heat_maps(half, lesions.X[:3]),
        heat_maps(half, lesions.X[:3], mean=mean(lesions)),
    ):
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
        assert (maps != 0).any()


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, 2),
        ({"batch_normalization": False}, 1),
        ({"pooling": "average"}, 2),
        ({"architecture": "gap"}, 0),
        ({"layers": ({"class_name": "Flatten"},)}, 0),
        ({"layers": ({"class_name": "Conv2D", "config": {"filters": 2, "kernel_size": 3}},
                     {"class_name": "MaxPooling2D"}, {"class_name": "Flatten"})}, 0),
    ],
)  # fmt: skip
def test_grad_cam_is_for_networks_that_begin_as_the_study_s(
    settings: dict[str, Any], layers: int
) -> None:
    from featx.explain._gradients import _stem
    from featx.heads import KerasSettings
    from featx.heads._keras_network import build_network

    network = build_network((9, 9, 16), KerasSettings(**settings), 0)
    assert _stem(network.layers[:-1]) == layers


def test_an_average_image_has_an_empty_map_apart_from_the_mean(lesions: Lesions) -> None:
    networks = [KerasHead(architecture="gap", epochs=1).fit(lesions.X, lesions.y)]
    average = mean(lesions)
    for head in (*networks, *(fitted(lesions, name, components=10) for name in CLASSIC[:3])):
        np.testing.assert_allclose(heat_maps(head, average[None], mean=average), 0, atol=1e-4)


class TestRandomization:
    """Adebayo et al. (NeurIPS 2018): a map that doesn't change with the head explains nothing."""

    @pytest.mark.parametrize("name", ["logreg", "svm", "lda"])
    def test_shuffled_labels_destroy_the_maps(self, lesions: Lesions, name: str) -> None:
        sick, random = lesions.y == 1, np.random.default_rng(0)
        real = heat_maps(fitted(lesions, name, components=10), lesions.X)
        alike, found = [], []
        for _ in range(12):
            labels = random.permutation(lesions.y)
            shuffled = heat_maps(fitted(lesions, name, labels, components=10), lesions.X)
            found.append(hits(lesions, shuffled))
            alike += [
                np.corrcoef(one.ravel(), other.ravel())[0, 1]
                for one, other in zip(real[sick], shuffled[sick], strict=True)
            ]
        # One shuffled head may point the right way by chance; they don't all.
        assert abs(np.mean(alike)) < 0.3
        assert np.mean(found) < hits(lesions, real) - 0.25

    def test_a_network_that_was_not_trained_shows_no_lesions(self, lesions: Lesions) -> None:
        settings: dict[str, Any] = {"dense_units": (16,), "learning_rate": 1e-9}
        random = [
            KerasHead(architecture="gap", epochs=1, random_state=seed, **settings).fit(
                lesions.X, lesions.y
            )
            for seed in range(3)
        ]
        trained = KerasHead(architecture="gap", epochs=12, learning_rate=3e-3)
        real = heat_maps(trained.fit(lesions.X, lesions.y), lesions.X)
        found = [hits(lesions, heat_maps(head, lesions.X)) for head in random]
        assert np.mean(found) < hits(lesions, real) - 0.25


class TestMethods:
    @pytest.mark.parametrize(
        ("name", "settings", "method"),
        [
            ("logreg", {}, "class activation"),
            ("lda", {}, "class activation"),
            ("svm", {"kernel": "linear"}, "class activation"),
            ("svm", {}, "occlusion"),
            ("knn", {}, "occlusion"),
            ("hgb", {}, "occlusion"),
        ],
    )
    def test_each_head_has_the_most_exact_there_is(
        self, lesions: Lesions, name: str, settings: dict[str, Any], method: str
    ) -> None:
        found = method_of(fitted(lesions, name, **({"components": 10} | settings)))
        assert (found.name, found.unit) == (method, "logit")

    def test_a_margin_that_nothing_makes_a_logit_of_is_called_so(self, lesions: Lesions) -> None:
        spec = HeadSpec.choose("svm", settings={"components": 10}, calibration="isotonic")
        assert method_of(build(spec).fit(lesions.X, lesions.y)).unit == "margin"


class TestBadInput:
    def test_vectors_have_no_map(self, lesions: Lesions) -> None:
        vectors = lesions.X.mean(axis=(1, 2))
        head = build(HeadSpec.choose("logreg")).fit(vectors, lesions.y)
        with pytest.raises(InputError, match="have no grid"):
            heat_maps(head, vectors)

    def test_a_mean_of_another_grid_is_refused(self, lesions: Lesions) -> None:
        with pytest.raises(InputError, match="the average embedding has the shape"):
            heat_maps(fitted(lesions, "logreg"), lesions.X, mean=np.zeros((2, 2, 16)))

    def test_no_images_are_no_maps(self, lesions: Lesions) -> None:
        assert heat_maps(fitted(lesions, "logreg"), lesions.X[:0]).shape == (0, 5, 4)


def test_what_hides_a_cell_is_pooled_as_the_head_pools(lesions: Lesions) -> None:
    """The short cut of means against pooling the grid anew."""
    from featx.explain import _occlusion as occlusion

    head = fitted(lesions, "svm", components=10)
    pooling, image = head.named_steps["pooling"], lesions.X[1].astype(np.float32)
    hidden = occlusion._patches(5, 4, 3)
    assert hidden.sum(axis=1).tolist()[:2] == [4, 6]
    fill = mean(lesions)
    fast = occlusion._pooled(pooling, image, fill, hidden, occlusion._taken(pooling, 5, 4))
    slow = pooling.transform(np.where(hidden.reshape(-1, 5, 4, 1), fill, image))
    np.testing.assert_allclose(fast, slow, atol=1e-3)
