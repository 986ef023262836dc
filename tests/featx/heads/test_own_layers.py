"""Heads of the user's own layers: how they are written, what is refused, and how they are built."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from featx.errors import InputError
from featx.heads import KerasHead
from featx.heads._own_layers import (
    FORBIDDEN_LAYERS,
    build_layers,
    check_layers,
    layers_of,
    read_head_config,
)

Write = Callable[[str], Path]

GRID = (3, 3, 8)
SIGMOID = {"class_name": "Dense", "config": {"units": 1, "activation": "sigmoid"}}

X = np.random.default_rng(0).normal(size=(16, *GRID)).astype(np.float32)
y = np.arange(16) % 2

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a head config."""

    def config(text: str) -> Path:
        (path := tmp_path / "head.yaml").write_text(text, encoding="utf-8")
        return path

    return config


@pytest.fixture
def _eagerly() -> Iterator[None]:
    """Tracing a network takes longer than training it a little."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def build(*described: dict[str, Any], shape: tuple[int, ...] = GRID, seed: int = 0) -> Any:
    return build_layers(described, shape, iter(range(seed, seed + 100)))


def kinds(network: Any) -> list[str]:
    return [type(each).__name__ for each in network.layers]


class TestReading:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("Flatten", layer("Flatten")),
            ("Flatten:", layer("Flatten")),
            ("Dense: {units: 4}", layer("Dense", units=4)),
            ("{class_name: Dense, config: {units: 4}}", layer("Dense", units=4)),
            ("class_name: Flatten", layer("Flatten")),
        ],
    )
    def test_each_way_to_write_a_layer_becomes_the_long_one(
        self, written: str, meant: dict[str, Any], write: Write
    ) -> None:
        path = write(f"layers:\n  - GlobalAveragePooling2D\n  - {written}\n")
        assert read_head_config(path)["layers"] == (layer("GlobalAveragePooling2D"), meant)

    def test_other_settings_are_read_as_they_are(self, write: Write) -> None:
        read = read_head_config(write("epochs: 20\nstopping: dual\n"))
        assert read == {"epochs": 20, "stopping": "dual"}

    def test_what_was_read_can_be_built(self, write: Write) -> None:
        path = write("layers:\n  - Flatten\n  - Dense: {units: 4, activation: relu}\n")
        network = build(*read_head_config(path)["layers"])
        assert kinds(network) == ["Flatten", "Dense", "Dense"]
        assert network.layers[1].units == 4
        assert network.layers[1].activation is keras.activations.relu

    def test_broken_yaml_names_the_file_and_the_line(self, write: Write) -> None:
        path = write("epochs: 3\nlayers:\n  - ]\n")
        with pytest.raises(InputError, match=f"{path}, line 3 is not YAML"):
            read_head_config(path)

    def test_a_file_that_is_not_text_is_refused(self, tmp_path: Path) -> None:
        (path := tmp_path / "head.yaml").write_bytes(b"epochs: \xff")
        with pytest.raises(InputError, match="is not YAML"):
            read_head_config(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no head config .*nowhere\.yaml"):
            read_head_config(tmp_path / "nowhere.yaml")

    @pytest.mark.parametrize("content", ["", "- Flatten\n", "Flatten\n", "3: 4\n"])
    def test_what_is_not_a_mapping_of_settings_is_refused(self, content: str, write: Write) -> None:
        with pytest.raises(InputError, match="is not a mapping of settings"):
            read_head_config(write(content))

    @pytest.mark.parametrize("layers", ["[]", "Flatten", "{Dense: {units: 4}}"])
    def test_layers_must_be_a_list(self, layers: str, write: Write) -> None:
        with pytest.raises(InputError, match="layers is not a list"):
            read_head_config(write(f"layers: {layers}\n"))

    @pytest.mark.parametrize("second", ["{Dense: {units: 4}, Flatten: {}}", "3", "[Flatten]"])
    def test_an_entry_that_is_not_one_layer_is_named_by_its_number(
        self, second: str, write: Write
    ) -> None:
        with pytest.raises(InputError, match="layer 2 is not of the form"):
            read_head_config(write(f"layers:\n  - Flatten\n  - {second}\n"))

    def test_settings_of_a_layer_must_be_a_mapping(self, write: Write) -> None:
        with pytest.raises(InputError, match=r"layer 1 \(Dense\) are not a mapping"):
            read_head_config(write("layers:\n  - Dense: 64\n"))


class TestRefusals:
    def test_an_unknown_layer_is_named_with_one_that_looks_like_it(self) -> None:
        with pytest.raises(InputError, match=r"layer 2 .*'Dens'.*Did you mean Dense\?"):
            check_layers([layer("Flatten"), layer("Dens")])

    def test_a_layer_that_looks_like_none_is_refused_as_well(self) -> None:
        with pytest.raises(InputError, match=r"'Qwxyz'.*Names are those of keras\.layers"):
            check_layers([layer("Qwxyz")])

    @pytest.mark.parametrize("name", FORBIDDEN_LAYERS)
    def test_layers_that_may_hold_code_are_refused_by_name(self, name: str) -> None:
        with pytest.raises(InputError, match=f"layer 1 of the head is a {name}, which may hold"):
            check_layers([layer(name)])

    def test_a_lambda_inside_another_layer_is_refused_too(self) -> None:
        inner = keras.layers.TimeDistributed(keras.layers.Lambda(lambda x: x))
        with pytest.raises(InputError, match="Lambda"):
            build({"class_name": "TimeDistributed", "config": inner.get_config()})

    def test_no_layers_at_all(self) -> None:
        with pytest.raises(InputError, match="has no layers"):
            check_layers([])

    @pytest.mark.parametrize(
        "wrong", [{"unit": 4}, {}, {"units": "four"}, {"units": 4, "activation": "rleu"}], ids=str
    )
    def test_wrong_arguments_name_the_layer(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=r"layer 2 of the head \(Dense\) can't be built: .+"):
            build(layer("Flatten"), layer("Dense", **wrong))

    @pytest.mark.parametrize("name", ["Bidirectional", "Rescaling", "Layer"])
    def test_layers_that_need_more_than_was_given_are_named(self, name: str) -> None:
        with pytest.raises(InputError, match=f"layer 1 of the head \\({name}\\) can't be built"):
            build(layer(name))

    def test_a_layer_that_does_not_fit_what_comes_before_it(self) -> None:
        with pytest.raises(InputError, match=r"layer 2 of the head \(Conv2D\) can't be built"):
            build(layer("Flatten"), layer("Conv2D", filters=4, kernel_size=3))

    def test_an_end_with_a_grid_left_over(self) -> None:
        with pytest.raises(InputError, match=r"outputs of shape \(3, 3, 1\).*Pool or flatten"):
            build(SIGMOID)


class TestBuilding:
    def test_one_sigmoid_is_added_at_the_end(self) -> None:
        network = build(layer("Flatten"), layer("Dense", units=4, activation="relu"))
        assert kinds(network) == ["Flatten", "Dense", "Dense"]
        assert network.output_shape == (None, 1)
        assert network.layers[-1].activation is keras.activations.sigmoid

    def test_one_that_is_there_is_not_doubled(self) -> None:
        assert kinds(build(layer("Flatten"), SIGMOID)) == ["Flatten", "Dense"]

    @pytest.mark.parametrize("last", [{"units": 1}, {"units": 2, "activation": "sigmoid"}], ids=str)
    def test_another_dense_at_the_end_is_followed_by_it(self, last: dict[str, Any]) -> None:
        network = build(layer("Flatten"), layer("Dense", **last))
        assert kinds(network) == ["Flatten", "Dense", "Dense"]

    def test_embeddings_without_a_grid_are_taken_as_they_are(self) -> None:
        assert build(layer("Dense", units=4), shape=(8,)).input_shape == (None, 8)

    def test_same_seed_same_weights_and_dropout_another_seed_others(self) -> None:
        described = layer("Flatten"), layer("Dense", units=4), layer("Dropout", rate=0.5)
        one, same, other = (build(*described, seed=seed) for seed in (3, 3, 4))
        ones = [np.asarray(variable) for variable in one.variables]
        assert len(ones) == 5  # two kernels, two biases, dropout's seed
        assert all(np.array_equal(a, b) for a, b in zip(ones, same.variables, strict=True))
        assert not np.array_equal(ones[0], other.get_weights()[0])
        scores = [np.asarray(network(X, training=True)) for network in (one, same, other)]
        assert np.array_equal(scores[0], scores[1])
        assert not np.array_equal(scores[0], scores[2])

    def test_layers_of_the_same_shape_begin_differently(self) -> None:
        network = build(*[layer("Dense", units=8, use_bias=False)] * 2, shape=(8,))
        first, second, _ = network.layers
        assert not np.array_equal(first.kernel, second.kernel)

    def test_a_seed_that_was_given_stays(self) -> None:
        network = build(layer("Dropout", rate=0.5, seed=77), layer("Flatten"))
        assert network.layers[0].seed == 77

    @pytest.mark.long
    def test_there_may_be_more_than_a_hundred_layers(self) -> None:
        from featx.heads._keras_network import build_network
        from featx.heads._settings import KerasSettings

        deep = KerasSettings(layers=(layer("Dropout", rate=0.5),) * 101)
        assert len(build_network((8,), deep, 0).layers) == 102


def sequential() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(GRID),
            layers.GlobalAveragePooling2D(name="mine"),
            layers.Dense(4, "relu", dtype="float64"),
            layers.Dropout(0.25),
        ]
    )


def head(layers: Any) -> KerasHead:
    return KerasHead(layers=layers, epochs=2, batch_size=8, random_state=5)


class Mine(keras.layers.Layer):  # type: ignore[misc]
    """A layer that only this process knows."""


class TestSequentials:
    def test_layers_are_described_without_the_input_names_and_precision(self) -> None:
        pooling, dense, dropout = layers_of(sequential())
        assert [each["class_name"] for each in (pooling, dense, dropout)] == [
            "GlobalAveragePooling2D",
            "Dense",
            "Dropout",
        ]
        assert (dense["config"]["units"], dense["config"]["activation"]) == (4, "relu")
        assert dropout["config"]["rate"] == 0.25
        assert not {"name", "dtype"} & (set(pooling["config"]) | set(dense["config"]))

    @pytest.mark.parametrize("foreign", [Mine(), keras.layers.Lambda(lambda x: x)], ids=str)
    def test_code_of_the_user_s_is_refused(self, foreign: Any) -> None:
        with pytest.raises(InputError, match="layer 1 of the head is"):
            head(keras.Sequential([foreign])).fit(X, y)

    @pytest.mark.usefixtures("_eagerly")
    def test_it_is_trained_from_weights_of_its_own_and_left_as_it_was(self) -> None:
        given = sequential()
        before = given.get_weights()
        one, again = head(given).fit(X, y), head(given).fit(X, y)
        assert kinds(one.model_) == ["GlobalAveragePooling2D", "Dense", "Dropout", "Dense"]
        assert all(np.array_equal(a, b) for a, b in zip(given.get_weights(), before, strict=True))
        weights = zip(one.model_.get_weights(), again.model_.get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in weights)
        assert not np.array_equal(one.model_.get_weights()[0], before[0])

    @pytest.mark.usefixtures("_eagerly")
    def test_a_description_of_the_layers_learns_the_same(self) -> None:
        described = [
            layer("GlobalAveragePooling2D"),
            layer("Dense", units=4, activation="relu"),
            layer("Dropout", rate=0.25),
        ]
        scores = head(sequential()).fit(X, y).predict_proba(X)
        assert np.array_equal(head(described).fit(X, y).predict_proba(X), scores)

    @pytest.mark.usefixtures("_eagerly")
    @pytest.mark.parametrize("built", [True, False], ids=["built", "not built"])
    def test_a_clone_learns_the_same_and_has_a_network_of_its_own(self, built: bool) -> None:
        given = sequential() if built else keras.Sequential(sequential().layers)
        original = head(given)
        copy = clone(original)
        assert copy.layers is not original.layers
        assert not hasattr(copy, "model_")
        scores = original.fit(X, y).predict_proba(X)
        assert np.array_equal(copy.fit(X, y).predict_proba(X), scores)

    @pytest.mark.usefixtures("_eagerly")
    def test_pickling_keeps_scores_and_layers(self) -> None:
        fitted = head(sequential()).fit(X, y)
        back: KerasHead = pickle.loads(pickle.dumps(fitted))
        assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
        assert layers_of(back.layers) == layers_of(fitted.layers)
