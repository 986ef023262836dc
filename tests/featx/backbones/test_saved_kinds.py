"""Saved models of many kinds: they compute what they did, in the precision that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import load_backbone
from featx.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.keras"


def images(size: int, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 1, (2, size, size, channels)).astype(np.float32)


def transfer_model() -> tuple[Any, Any]:
    """A network inside another, as transfer learning is usually written. Both are compiled."""
    import keras

    inner = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, activation="relu")], name="inner"
    )
    inner.compile("adam", "mse")
    inputs = keras.Input((16, 16, 3))
    grid = inner(keras.layers.Rescaling(0.5)(inputs))
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(grid))
    model = keras.Model(inputs, outputs, name="transfer")
    model.compile("adam", "mse")
    return model, inner


def attention_model() -> Any:
    import keras

    inputs = keras.Input((8, 8, 3))
    row = keras.layers.Reshape((64, 3))(inputs)
    row = keras.layers.MultiHeadAttention(2, 4)(row, row)
    row = keras.layers.TimeDistributed(keras.layers.Dense(4))(row)
    return keras.Model(inputs, keras.layers.Reshape((8, 8, 4))(row), name="attention")


def convolution(name: str = "convolution") -> Any:
    import keras

    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name=name)


def products(backbone: Any) -> set[str]:
    """Number formats of the multiplications in the graph that really runs."""
    (function,) = (
        cell.cell_contents[3]
        for cell in backbone._forward.__closure__
        if isinstance(cell.cell_contents, dict)
    )
    kinds = {"Conv2D", "MatMul", "BatchMatMulV2", "Einsum"}
    definition = function.graph.as_graph_def(add_shapes=False)
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    import tensorflow as tf

    return {tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in kinds}


class TestPrecision:
    @pytest.mark.parametrize("make", [convolution, attention_model])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_every_multiplication_is_in_it(self, path: Path, make: Any, precision: Any) -> None:
        model = make()
        model.save(path)
        loaded = load_backbone(str(path), precision=precision, runtime="tensorflow")
        assert products(loaded) == {precision}
        expected = model.predict(images(8), verbose=0)
        tolerance = (1e-5 if precision == "float32" else 0.05) * np.abs(expected).max()
        np.testing.assert_allclose(loaded.embed(images(8)), expected, rtol=0, atol=tolerance)

    def test_float32_is_float32_whatever_the_model_was_saved_in(self, path: Path) -> None:
        import keras

        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            convolution().save(path)
        finally:
            keras.config.set_dtype_policy("float32")
        loaded = load_backbone(str(path), precision="float32", runtime="tensorflow")
        assert products(loaded) == {"float32"}

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    @pytest.mark.filterwarnings("ignore:Layer InputLayer does not have:UserWarning")
    def test_a_quantized_layer_keeps_its_own_arithmetic(self, path: Path, precision: Any) -> None:
        import keras

        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(8)])
        model.quantize("int8")
        model.save(path)
        loaded = load_backbone(str(path), precision=precision)
        expected = model.predict(images(8), verbose=0)
        np.testing.assert_allclose(loaded.embed(images(8)), expected, rtol=0.02, atol=0.02)


class TestArchitecture:
    def test_is_the_same_in_every_precision_and_however_it_was_trained(self, path: Path) -> None:
        model, inner = transfer_model()
        model.save(path)
        one = load_backbone(str(path), precision="float32").spec
        rough = load_backbone(str(path), precision="bfloat16").spec
        inner.compile("sgd", "mae")
        model.compile("sgd", "mae")
        model.save(path)
        again = load_backbone(str(path), precision="float32").spec
        assert rough.architecture_sha256 == one.architecture_sha256
        assert again == one

    def test_differs_with_any_setting_of_a_layer(self, path: Path) -> None:
        import keras

        found = set()
        for activation in ("relu", "tanh"):
            layer = keras.layers.Conv2D(4, 3, activation=activation, name="c")
            keras.Sequential([keras.Input((8, 8, 3)), layer], name="m").save(path)
            found.add(load_backbone(str(path)).spec.architecture_sha256)
        assert len(found) == 2


class TestCutting:
    def test_a_network_inside_the_model_is_a_layer_of_it(self, path: Path) -> None:
        model, inner = transfer_model()
        model.save(path)
        loaded = load_backbone(str(path), precision="float32")
        assert (loaded.spec.layer, loaded.embedding_shape) == ("inner", (14, 14, 4))
        expected = inner.predict(images(16) * 0.5, verbose=0)
        np.testing.assert_allclose(loaded.embed(images(16)), expected, rtol=1e-4, atol=1e-5)

    def test_a_graph_that_goes_on_behind_its_last_layer_is_cut_at_it(self, path: Path) -> None:
        import keras

        inputs = keras.Input((8, 8, 3))
        grid = keras.layers.Conv2D(2, 3, name="grid")(inputs)
        keras.Model(inputs, keras.ops.relu(grid - 1.0)).save(path)
        loaded = load_backbone(str(path), precision="float32")
        assert loaded.spec.layer == "grid"
        expected = keras.Model(inputs, grid).predict(images(8), verbose=0)
        np.testing.assert_allclose(loaded.embed(images(8)), expected, rtol=1e-4, atol=1e-5)

    def test_one_of_several_outputs_can_be_had(self, path: Path) -> None:
        import keras

        inputs = keras.Input((8, 8, 3))
        heads = [keras.layers.Conv2D(n, 3, name=f"head{n}")(inputs) for n in (2, 5)]
        keras.Model(inputs, heads).save(path)
        assert load_backbone(str(path)).embedding_shape == (6, 6, 5)
        assert load_backbone(str(path), layer="head2").embedding_shape == (6, 6, 2)

    def test_a_flexible_model_can_give_flat_embeddings(self, path: Path) -> None:
        import keras

        layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
        model = keras.Sequential([keras.Input((None, None, 3)), *layers])
        model.save(path)
        assert load_backbone(str(path), layer=layers[1].name).embedding_shape == (4,)

    def test_rgb_reaches_a_model_of_one_channel_as_its_luminance(self, path: Path) -> None:
        import keras

        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.MaxPooling2D(1)]).save(path)
        rgb = images(8)
        expected = rgb @ np.array([0.2989, 0.5870, 0.1140], np.float32)
        found = load_backbone(str(path), precision="float32").embed(rgb)[..., 0]
        np.testing.assert_allclose(found, expected, rtol=1e-3)


class TestRefused:
    @pytest.mark.parametrize("size", [2, 3])
    def test_an_input_too_small_for_a_flexible_model_is_one_line(
        self, path: Path, size: int
    ) -> None:
        import keras

        layers = [keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D(4)]
        keras.Sequential([keras.Input((None, None, 3)), *layers], name="flexible").save(path)
        with pytest.raises(InputError, match=f"`input_size` {size} doesn't suit flex") as caught:
            load_backbone(str(path), input_size=size)
        assert "\n" not in str(caught.value)

    def test_two_images_at_once_are_not_one(self, path: Path) -> None:
        import keras

        pair = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
        keras.Model(pair, keras.layers.Add()(pair)).save(path)
        with pytest.raises(InputError, match="not one image"):
            load_backbone(str(path))

    def test_a_layer_of_the_user_s_own_code_is_unknown(self, path: Path) -> None:
        import keras

        class UnknownLayer(keras.layers.Layer):  # type: ignore[misc]
            def call(self, inputs: Any) -> Any:
                return inputs

        keras.Sequential([keras.Input((8, 8, 3)), UnknownLayer()]).save(path)
        with pytest.raises(InputError, match="safe Keras model") as caught:
            load_backbone(str(path))
        assert "\n" not in str(caught.value)
