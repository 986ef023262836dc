"""Several layers in one pass: their order, what is kept of each, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import Backbone, EmbeddingPart, load_backbone, split_parts
from featx.backbones._backbone import load_recipe
from featx.backbones._embedding_layer import cut_at
from featx.errors import InputError
from featx.heads import SpatialPooling

BLOCKS = "block3_pool,block4_pool,block5_pool"


def vgg(**options: Any) -> Backbone:
    return load_backbone("vgg16", weights="random", input_size=64, precision="float32", **options)


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def whole() -> Backbone:
    return vgg(layer=BLOCKS)


@pytest.fixture(scope="module")
def pooled() -> Backbone:
    return vgg(layer=["block5_pool", "block3_pool", "block4_pool"], pool_extra="pyramid")


class TestParts:
    def test_each_is_what_its_layer_gives_alone(
        self, whole: Backbone, images: NDArray[np.float32]
    ) -> None:
        parts = split_parts(whole.embed(images), whole.spec.parts)
        assert list(parts) == ["block5_pool", "block3_pool", "block4_pool"]
        for name in ("block5_pool", "block3_pool"):
            alone = vgg(layer=name).embed(images)
            np.testing.assert_allclose(parts[name], alone, rtol=1e-5, atol=1e-5)

    def test_extra_ones_that_are_pooled_are_what_heads_would_pool(
        self, whole: Backbone, pooled: Backbone, images: NDArray[np.float32]
    ) -> None:
        grids = split_parts(whole.embed(images), whole.spec.parts)
        found = split_parts(pooled.embed(images), pooled.spec.parts)
        assert np.array_equal(found["block5_pool"], grids["block5_pool"])
        for name, channels in (("block3_pool", 256), ("block4_pool", 512)):
            assert found[name].shape == (2, 10, channels)
            wanted = SpatialPooling("pyramid").transform(grids[name])
            np.testing.assert_allclose(found[name].reshape(2, -1), wanted, rtol=1e-5, atol=1e-5)

    def test_arrays_of_another_runtime_become_the_same_embeddings(
        self, pooled: Backbone, images: NDArray[np.float32]
    ) -> None:
        import tensorflow as tf

        steps = pooled._steps
        outputs = steps.keras_network(pooled.prepare(images), training=False)
        assert [tuple(each.shape[1:3]) for each in outputs] == [(8, 8), (4, 4), (2, 2)]
        found = steps.finish([each.numpy() for each in outputs])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, pooled.embed(images), rtol=1e-5, atol=1e-5)
        graph = tf.function(pooled.as_tensors)(tf.constant(images)).numpy()
        np.testing.assert_allclose(graph, pooled.embed(images), rtol=1e-5, atol=1e-5)
        one = outputs[-1].numpy()
        assert np.array_equal(vgg()._steps.finish([one]), one)

    def test_embeddings_of_another_backbone_are_not_split(self, pooled: Backbone) -> None:
        with pytest.raises(InputError, match=r"shape \(2047,\) don't consist of parts of 2048 \+"):
            split_parts(np.zeros((3, 2047)), pooled.spec.parts)
        none = split_parts(np.zeros((0, 9728)), pooled.spec.parts)
        assert none["block5_pool"].shape == (0, 2, 2, 512)

    def test_a_description_from_a_cache_will_do(self, pooled: Backbone) -> None:
        described = pooled.spec.model_dump(mode="json")["parts"]
        X = np.zeros((3, *pooled.embedding_shape), np.float16)
        assert split_parts(X, described)["block3_pool"].shape == (3, 10, 256)


class TestSpec:
    def test_it_names_layers_in_the_order_of_the_network(self, pooled: Backbone) -> None:
        assert pooled.spec.layer == BLOCKS
        assert pooled.spec.part_shapes == ((2, 2, 512), (10, 256), (10, 512))
        assert pooled.embedding_shape == (2048 + 2560 + 5120,)
        assert pooled.main_shape == (2, 2, 512)
        described = "9,728 from block5_pool 2x2x512 + block3_pool 10x256 + block4_pool 10x512"
        assert f"embedding {described}, float32" in repr(pooled)

    def test_another_process_loads_the_same(
        self, pooled: Backbone, images: NDArray[np.float32]
    ) -> None:
        again = load_recipe(pooled.recipe)
        assert again.spec == pooled.spec
        assert np.array_equal(again.embed(images), pooled.embed(images))

    def test_what_is_kept_of_extra_layers_is_in_the_fingerprint(
        self, whole: Backbone, pooled: Backbone
    ) -> None:
        assert whole.spec.fingerprint != pooled.spec.fingerprint

    def test_that_of_one_layer_is_what_it_was(self) -> None:
        written = vgg(layer="block5_pool").spec.model_dump(mode="json")
        assert written.keys().isdisjoint({"parts", "pool_extra"})
        assert written["layer"] == "block5_pool"

    def test_a_part_without_values_is_no_part(self) -> None:
        for shape in ((), (0, 3), (-2, -2)):
            with pytest.raises(ValueError, match="shape"):
                EmbeddingPart(name="a", shape=shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "block4_pool,block5_pol"}, "has no layer 'block5_pol'. Did you mean block5_po"),
        ({"layer": "block4_pool,,block5_pool"}, "a name in `layer` is empty"),
        ({"layer": "block5_pool,"}, "a name in `layer` is empty"),
        ({"layer": ["block5_pool", "block5_pool"]}, "`layer` names block5_pool twice"),
        ({"pool_extra": "pyramid"}, "`pool_extra` pyramid is for layers beyond the deepest"),
        ({"layer": BLOCKS, "pool_extra": "max"}, "no pooling of extra layers 'max'"),
    ],
)
def test_misuse_is_told_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vgg(**options)


class TestSavedModels:
    def test_a_sequential_model_gives_several_layers(self, tmp_path: Path) -> None:
        import keras

        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((32, 32, 1)),
                layers.Conv2D(4, 3, strides=4, name="first", activation="relu"),
                layers.Conv2D(6, 3, strides=2, name="second"),
                layers.Flatten(name="flat"),
                layers.Dense(3, name="top"),
            ]
        )
        model.save(tmp_path / "own.keras")
        file = str(tmp_path / "own.keras")
        loaded = load_backbone(file, layer="top,first", pool_extra="pyramid")
        assert loaded.spec.part_shapes == ((3,), (10, 4))
        images = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 1)).astype(np.float32)
        parts = split_parts(loaded.embed(images), loaded.spec.parts)
        top = load_backbone(file, layer="top").embed(images)
        np.testing.assert_allclose(parts["top"], top, rtol=1e-5, atol=1e-5)

    def test_a_network_inside_a_model_may_be_one_of_them(self) -> None:
        import keras

        start = keras.Input((8, 8, 3))
        inner = keras.Model(start, keras.layers.Conv2D(5, 3, name="deep")(start), name="inner")
        inputs = keras.Input((8, 8, 3))
        scaled = keras.layers.Rescaling(2.0, name="scaled")(inputs)
        model = keras.Model(inputs, keras.layers.Flatten()(inner(scaled)))
        network, outputs = cut_at(model, "inner,scaled", 8)
        assert [str(output) for output in outputs] == ["scaled 8x8x3", "inner 6x6x5"]
        images = np.ones((1, 8, 8, 3), np.float32)
        scaled, deep = network(images)
        assert np.array_equal(scaled, 2 * images)
        np.testing.assert_allclose(deep, inner(2 * images), rtol=1e-6)
        with pytest.raises(InputError, match="can't be an end of the network"):
            cut_at(model, [model.layers[0].name, "inner"], 8)

    def test_layers_that_are_no_parts_are_refused(self, tmp_path: Path) -> None:
        import keras

        layers = keras.layers
        rows, flat = layers.Reshape((16, 4), name="rows"), layers.Flatten(name="flat")
        model = keras.Sequential([keras.Input((8, 8, 1)), rows, flat, layers.Flatten(name="a,b")])
        model.save(tmp_path / "own.keras")
        with pytest.raises(InputError, match="can't be one of several: its name has a comma"):
            cut_at(model, ["rows", "a,b"], 8)
        assert str(cut_at(model, "a,b", 8).outputs[0]) == "a,b 64"
        with pytest.raises(InputError, match=r"'rows' gives \(16, 4\), which is neither a grid"):
            load_backbone(str(tmp_path / "own.keras"), layer="rows,flat")
