"""Names don't depend on what was built before, and Keras is left as it was."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from featx.backbones import describe_backbones, load_backbone
from featx.backbones._layer_numbers import fresh_layer_numbers
from featx.backbones._load import load_recipe

SMALL: Any = {"weights": "random", "input_size": 32, "precision": "float32"}
# The describe_backbones of a network of 350 million parameters, and what memory it took on top.
LARGE = """
import resource, keras, tensorflow
from featx.backbones import describe_backbones
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
list(describe_backbones(["vgg16"]))
before = peak()
(entry,) = describe_backbones(["convnextxlarge"])
print(entry.parameters, (peak() - before) * 1024)
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("convnexttiny", marks=pytest.mark.long),
        pytest.param("nasnetmobile", marks=pytest.mark.torture),
    ],
)
def test_a_layer_that_keras_numbers_is_the_same_one_the_second_time(name: str) -> None:
    one = load_backbone(name, **SMALL)
    again = load_recipe(one.recipe)
    assert again.spec == one.spec
    assert load_backbone(name, **SMALL).spec.layer == one.spec.layer


def test_the_caller_s_numbering_and_policy_stay() -> None:
    import keras

    first = keras.layers.Dense(1).name
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        load_backbone("vgg16", **SMALL)
        assert next(describe_backbones(["vgg16"], 32)).problem == ""
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.layers.Dense(1).name not in (first, "dense")


def test_they_stay_when_building_fails() -> None:
    import keras

    first = keras.layers.Dense(1).name
    inside = []

    def fail() -> None:
        with fresh_layer_numbers():
            inside.append(keras.layers.Dense(1).name)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == ["dense"]
    assert keras.layers.Dense(1).name not in (first, "dense")


def test_random_weights_reseed_nobody_s_generator() -> None:
    np.random.seed(5)
    expected = np.random.get_state()[1].tolist()  # type: ignore[index]
    drawn = []
    for seed in (1, 2):
        random.seed(seed)
        load_backbone("vgg16", **SMALL)
        drawn.append(random.random())
    assert drawn[0] != drawn[1]
    assert np.random.get_state()[1].tolist() == expected  # type: ignore[index]


@pytest.mark.long
def test_the_catalogue_makes_no_weights() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE], check=True, capture_output=True, text=True, timeout=120
    )
    parameters, peak = map(int, done.stdout.split())
    assert parameters > 300e6
    assert peak < 0.25 * 4 * parameters
