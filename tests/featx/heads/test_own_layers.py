"""Heads of the user's own: from a file, or a Keras Sequential; none with code in it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from featx.errors import InputError
from featx.heads import KerasHead, layers_of, read_head_config
from featx.heads.own_layers import build_layers, check_layers

SHAPE = (3, 3, 4)


def config(folder: Path, text: str) -> Path:
    path = folder / "head.yaml"
    path.write_text(text)
    return path


def seeds() -> Any:
    return iter(range(100))


class TestFiles:
    def test_a_layer_may_be_a_word_a_mapping_or_keras_s_own_form(self, tmp_path: Path) -> None:
        text = """
epochs: 3
layers:
  - Flatten
  - Dense: {units: 4, activation: relu}
  - class_name: Dropout
    config: {rate: 0.2}
"""
        content = read_head_config(config(tmp_path, text))
        assert content["epochs"] == 3
        assert [layer["class_name"] for layer in content["layers"]] == [
            "Flatten",
            "Dense",
            "Dropout",
        ]
        network = build_layers(content["layers"], SHAPE, seeds())
        assert [type(layer).__name__ for layer in network.layers] == [
            "Flatten",
            "Dense",
            "Dropout",
            "Dense",
        ]
        assert network.output_shape == (None, 1)
        assert network.layers[2].rate == 0.2

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("layers: [\n", "line 2 is not YAML"),
            ("- a\n- b\n", "not a mapping"),
            ("just words\n", "not a mapping"),
            ("layers: {}\n", "layers is not a list"),
            ("layers: []\n", "layers is not a list"),
            ("layers: [{Dense: {}, Flatten: {}}]\n", "layer 1 is not of the form"),
            ("layers: [Flatten, 3]\n", "layer 2 is not of the form"),
            ("layers: [{Dense: 4}]\n", "settings of layer 1"),
        ],
    )
    def test_a_file_that_can_t_be_used_is_refused_by_what_is_wrong(
        self, tmp_path: Path, text: str, complaint: str
    ) -> None:
        with pytest.raises(InputError, match=complaint) as caught:
            read_head_config(config(tmp_path, text))
        assert str(tmp_path) in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no head config"):
            read_head_config(tmp_path / "gone.yaml")

    def test_python_objects_in_yaml_are_refused(self, tmp_path: Path) -> None:
        text = "epochs: !!python/object/apply:os.mkdir ['exploded']\n"
        with pytest.raises(InputError, match="not YAML"):
            read_head_config(config(tmp_path, text))


class TestLayers:
    def test_an_unknown_layer_is_answered_with_did_you_mean(self) -> None:
        with pytest.raises(InputError, match=r"layer 2 .* 'Dens'. Did you mean Dense\?"):
            check_layers([{"class_name": "Flatten"}, {"class_name": "Dens"}])
        with pytest.raises(InputError, match=r"those of keras\.layers"):
            check_layers([{"class_name": "xyzzy"}])

    @pytest.mark.parametrize("name", ["Lambda", "TFSMLayer"])
    def test_a_layer_that_may_hold_code_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(InputError, match=f"layer 1 of the head is a {name}"):
            check_layers([{"class_name": name}])

    def test_no_layers_are_refused(self) -> None:
        with pytest.raises(InputError, match="no layers"):
            check_layers([])

    @pytest.mark.parametrize(
        "layer",
        [
            {"class_name": "Dense", "config": {"unitz": 3}},
            {"class_name": "Dense", "config": {"units": -3}},
            {"class_name": "MaxPooling2D", "config": {"pool_size": 9}},
        ],
    )
    def test_a_layer_that_can_t_be_built_is_named_with_the_reason(self, layer: Any) -> None:
        with pytest.raises(InputError, match=r"layer 1 of the head .* can't be built: \S"):
            build_layers([layer], SHAPE, seeds())

    def test_a_grid_at_the_end_is_refused(self) -> None:
        with pytest.raises(InputError, match="Pool or flatten"):
            build_layers([{"class_name": "ReLU"}], SHAPE, seeds())

    def test_an_end_of_one_sigmoid_is_not_doubled(self) -> None:
        ends = [
            {"class_name": "Flatten"},
            {"class_name": "Dense", "config": {"units": 1, "activation": "sigmoid"}},
        ]
        assert len(build_layers(ends, SHAPE, seeds()).layers) == 2

    def test_weights_follow_from_the_seeds_and_no_global_random_state_is_touched(self) -> None:
        import keras

        layers = [
            {"class_name": "Conv2D", "config": {"filters": 2, "kernel_size": 2}},
            {"class_name": "Flatten"},
            {"class_name": "Dropout", "config": {"rate": 0.5}},
            {"class_name": "Dense", "config": {"units": 3}},
        ]

        def draw() -> tuple[float, float, float]:
            return random.random(), float(np.random.random()), float(keras.random.uniform((1,))[0])

        keras.utils.set_random_seed(5)
        undisturbed = draw()
        keras.utils.set_random_seed(5)
        one, same, other = (
            build_layers(layers, SHAPE, iter(range(start, start + 50))).get_weights()
            for start in (0, 0, 50)
        )
        assert draw() == undisturbed
        assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
        assert not np.array_equal(one[0], other[0])


class TestSequentials:
    def test_a_sequential_is_described_and_built_again(self) -> None:
        import keras

        network = keras.Sequential(
            [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(5, "relu")]
        )
        rebuilt = build_layers(layers_of(network), SHAPE, seeds())
        assert [type(layer).__name__ for layer in rebuilt.layers] == ["Flatten", "Dense", "Dense"]
        assert rebuilt.layers[1].units == 5

    def test_a_sequential_with_a_lambda_is_refused(self) -> None:
        import keras

        network = keras.Sequential([keras.layers.Lambda(lambda x: x)])
        with pytest.raises(InputError, match="is a Lambda"):
            layers_of(network)

    def test_a_head_takes_one_clones_with_it_and_draws_its_own_weights(self) -> None:
        import keras

        network = keras.Sequential([keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(6)])
        X = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)
        y = np.arange(16) % 2
        head = KerasHead(layers=network, epochs=2, batch_size=8)
        first = head.fit(X, y).predict_proba(X)
        again = clone(head).fit(X, y).predict_proba(X)
        assert again == pytest.approx(first, abs=1e-6)
        assert head.set_params(random_state=9).fit(X, y).predict_proba(X) != pytest.approx(first)
