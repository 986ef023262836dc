"""The study's network, layer for layer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from featx.heads._keras_network import build_network
from featx.heads._settings import KerasSettings

STUDY = KerasSettings()
BODY: list[dict[str, Any]] = [
    {"class_name": "Dropout", "config": {"rate": 0.5}},
    {"class_name": "Flatten"},
    {"class_name": "Dense", "config": {"units": 4}},
]
SIGMOID = {"class_name": "Dense", "config": {"units": 1, "activation": "sigmoid"}}
NETWORKS = pytest.mark.parametrize(
    "settings",
    [STUDY, KerasSettings(layers=tuple(BODY)), KerasSettings(layers=(*BODY, SIGMOID))],
    ids=["study", "own", "own with an end"],
)


@pytest.fixture(scope="module")
def network() -> Any:
    return build_network((9, 9, 512), STUDY, 0)


def layers_of(network: Any) -> Iterator[tuple[Any, ...]]:
    """Name each layer by what matters in it."""
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            activation = layer.activation.__name__
            yield kind, layer.filters, layer.kernel_size, layer.padding, activation
        elif kind == "MaxPooling2D":
            yield kind, layer.pool_size
        elif kind == "Dense":
            yield kind, layer.units, layer.activation.__name__
        elif kind == "Dropout":
            yield kind, layer.rate
        else:
            yield (kind,)


def test_on_the_study_s_embedding_it_has_3_070_217_parameters(network: Any) -> None:
    assert network.count_params() == 3_070_217


def test_3_069_721_of_them_are_trainable(network: Any) -> None:
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 3_069_721


def test_layers_are_the_study_s_in_order(network: Any) -> None:
    def conv(filters: int) -> tuple[Any, ...]:
        return ("Conv2D", filters, (3, 3), "same", "relu")

    block = [conv(124), ("BatchNormalization",), ("MaxPooling2D", (2, 2))]
    assert list(layers_of(network)) == [
        *block,
        *block,
        conv(64),
        conv(64),
        conv(32),
        ("Flatten",),
        *[("Dense", 1024, "relu")] * 3,
        ("Dropout", 0.5),
        ("Dense", 1, "sigmoid"),
    ]


def test_embeddings_without_a_grid_skip_the_convolutions() -> None:
    assert list(layers_of(build_network((512,), STUDY, 0))) == [
        *[("Dense", 1024, "relu")] * 3,
        ("Dropout", 0.5),
        ("Dense", 1, "sigmoid"),
    ]


@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 2, 8), (3, 3, 8)])
def test_a_grid_too_small_to_pool_twice_still_has_a_network(shape: tuple[int, ...]) -> None:
    scores = build_network(shape, STUDY, 0)(np.ones((2, *shape), np.float32))
    assert tuple(scores.shape) == (2, 1)


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    one, same, other = (build_network((8,), STUDY, seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_no_two_layers_of_the_same_shape_begin_with_the_same_weights() -> None:
    kernels = [w for w in build_network((1024,), STUDY, 0).get_weights() if w.shape == (1024, 1024)]
    assert len(kernels) == 3
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@NETWORKS
def test_building_neither_uses_nor_changes_global_random_states(settings: KerasSettings) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(keras.random.uniform((1,))[0])

    keras.utils.set_random_seed(11)
    undisturbed = draw()
    keras.utils.set_random_seed(11)
    one = build_network((3, 3, 8), settings, 0)
    assert draw() == undisturbed
    same = build_network((3, 3, 8), settings, 0)
    assert np.array_equal(one.get_weights()[0], same.get_weights()[0])


@NETWORKS
def test_the_score_is_float32_under_every_precision_policy(settings: KerasSettings) -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_network((3, 3, 8), settings, 0)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert network.layers[1].compute_dtype == "bfloat16"
    assert network(np.ones((1, 3, 3, 8), np.float32)).dtype == "float32"


@pytest.mark.parametrize(("steps", "momentum"), [(5, 0.0), (20, 0.5), (100, 0.9), (5000, 0.99)])
def test_running_means_keep_up_with_a_short_training(steps: int, momentum: float) -> None:
    network = build_network((4, 4, 8), STUDY, 0, steps=steps)
    kept = [layer.momentum for layer in network.layers if hasattr(layer, "momentum")]
    assert kept == pytest.approx([momentum, momentum])
