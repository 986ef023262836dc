"""Any layer of a network can be the embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.backbones import load_backbone
from featx.backbones._embedding_layer import cut_at
from featx.errors import InputError


def backbone(**options: Any) -> Any:
    return load_backbone("vgg16", weights="random", input_size=32, precision="float32", **options)


class TestNamedNetwork:
    def test_the_default_is_the_last_before_the_top(self) -> None:
        loaded = backbone()
        assert loaded.spec.layer == "block5_pool"
        assert loaded.embedding_shape == (1, 1, 512)
        assert backbone(layer="block5_pool").spec == loaded.spec

    def test_an_inner_layer_gives_its_own_output(self) -> None:
        import keras

        loaded = backbone(layer="block3_conv2")
        assert loaded.embedding_shape == (8, 8, 256)
        plain = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
        images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
        whole = backbone()
        # The same weights, as far as the layer goes.
        assert loaded.spec.weights_sha256 != whole.spec.weights_sha256
        assert loaded.embed(images).shape == (2, *plain.get_layer("block3_conv2").output.shape[1:])
        pooled = backbone(layer="block3_pool").embed(images)
        deeper = backbone(layer="block3_conv3").embed(images)
        expected = deeper.reshape(2, 4, 2, 4, 2, 256).max(axis=(2, 4))
        np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5)

    def test_an_unknown_layer_is_answered_with_those_that_look_like_it(self) -> None:
        with pytest.raises(InputError, match=r"no layer 'block5_pol'\. Did you mean block5_pool"):
            backbone(layer="block5_pol")
        with pytest.raises(InputError, match=r"no layer 'zzz'\. Its last ones: .*block5_pool"):
            backbone(layer="zzz")


class TestOtherModels:
    def test_a_dense_layer_gives_flat_embeddings(self) -> None:
        import keras

        model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=3)
        network, (output,) = cut_at(model, None, 32)
        assert str(output) == "block5_pool 1x1x512"
        assert network.count_params() == 14_714_688
        assert cut_at(model, "fc1", 32).outputs[0].shape == (4096,)

    def test_a_sequential_model_is_cut_behind_a_nested_one(self) -> None:
        import keras

        inner = keras.applications.MobileNet(
            weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25
        )
        model = keras.Sequential(
            [keras.Input((32, 32, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(2)]
        )
        network, (output,) = cut_at(model, None, 32)
        assert (output.name, output.shape) == (inner.name, (1, 1, 256))
        assert network(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 1, 1, 256)

    def test_a_layer_of_several_outputs_is_refused(self) -> None:
        import keras

        inputs = keras.Input((32, 32, 3))
        states = keras.layers.LSTM(4, return_state=True, name="states")
        sequence = keras.layers.Reshape((32, 96))(inputs)
        top = keras.layers.Dense(1)(states(sequence)[0])
        model = keras.Model(inputs, top)
        with pytest.raises(InputError, match=r"'states'.* not one tensor|can't be an end"):
            cut_at(model, "states", 32)
