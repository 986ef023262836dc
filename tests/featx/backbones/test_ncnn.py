"""ncnn computes what TensorFlow computes, or the network isn't given to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import _precision, _runtime, load_backbone
from featx.backbones._ncnn import NcnnNetwork
from featx.backbones._ncnn_layers import NotConvertibleError
from featx.backbones._runtime import MAX_DIFFERENCE, resolve_runtime
from featx.errors import InputError

SIDE = 40
LARGER = ("resnet50v2", "densenet121", "efficientnetb0", "nasnetmobile", "convnexttiny")


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest difference as a share of the largest value."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.abs(other).max())


def images(count: int = 3, side: int = SIDE, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 1, (count, side, side, channels)).astype(np.float32)


def with_drawn_statistics(model: Any) -> Any:
    """Draw all weights, so that no normalization is the identity."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        drawn = random.normal(0, 0.2, weight.shape)
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn)
    return model


def networks() -> dict[str, Any]:
    """Networks in which each kind of layer is used in each of its ways."""
    import keras
    from keras import layers

    def small(*between: Any) -> Any:
        return keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Conv2D(6, 3), *between])

    def branches() -> Any:
        start = keras.Input((SIDE, SIDE, 3))
        one = layers.Conv2D(6, 3, padding="same", activation="relu")(start)
        two = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(start)
        both = layers.Concatenate()([layers.Add()([one, two, one]), start, one])
        share = layers.GlobalAveragePooling2D(keepdims=True)(both)
        share = layers.Conv2D(15, 1, activation="sigmoid")(share)
        return keras.Model(start, layers.Multiply()([both, share]))

    def vector() -> Any:
        start = keras.Input((SIDE, SIDE, 3))
        pooled = layers.GlobalMaxPooling2D()(layers.Conv2D(6, 3)(start))
        pooled = layers.LayerNormalization()(pooled)
        squeezed = layers.Reshape((1, 1, 6))(pooled)
        return keras.Model(start, layers.Dense(5, activation="tanh")(layers.Flatten()(squeezed)))

    def nested() -> Any:
        start = keras.Input((SIDE, SIDE, 3))
        inner = small(layers.BatchNormalization(), layers.ReLU(6.0))
        return keras.Model(start, layers.AveragePooling2D(2, padding="same")(inner(start)))

    return {
        "odd sides": small(layers.Conv2D(4, 3, strides=2, padding="same")),
        "long strides": small(layers.Conv2D(4, (1, 7), strides=5, padding="same")),
        "leaky": small(layers.LeakyReLU(0.3)),
        "wide kernel": small(layers.Conv2D(4, (1, 5), dilation_rate=2, padding="same")),
        "grouped": small(layers.Conv2D(4, 3, groups=2, use_bias=False)),
        "depthwise": small(
            layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)
        ),
        "normalized": small(layers.BatchNormalization(), layers.BatchNormalization(scale=False)),
        "layer norm": small(layers.LayerNormalization(center=False), layers.Dense(3)),
        "activations": small(
            *(layers.Activation(name) for name in ("silu", "gelu", "hard_silu", "hard_sigmoid")),
            layers.LeakyReLU(0.1),
            layers.Activation("tanh"),
        ),
        "padded": small(
            layers.ZeroPadding2D(((0, 1), (2, 0))), layers.Cropping2D(((1, 0), (0, 3)))
        ),
        "pooled": small(layers.MaxPooling2D(3, 2, "same"), layers.AveragePooling2D(3, 1, "same")),
        "scaled": small(layers.Rescaling(2.0, -1.0), layers.Normalization(mean=3, variance=4)),
        "flat": small(layers.MaxPooling2D(8), layers.Flatten(), layers.Dropout(0.5)),
        "branches": branches(),
        "vector": vector(),
        "nested": nested(),
    }


def relu(tensor: Any) -> Any:
    """Keras's function up to a value that a network may rarely reach."""
    import keras

    return keras.ops.clip(tensor, 0, 20)


class TestLayers:
    def test_compute_the_same(self, subtests: pytest.Subtests) -> None:
        for kind, model in networks().items():
            with subtests.test(kind):
                expected = np.asarray(with_drawn_statistics(model)(images(), training=False))
                assert difference(NcnnNetwork(model, SIDE)(images()), expected) < 1e-5

    @pytest.mark.parametrize("pool", ["none", "pyramid"])
    def test_several_layers_come_in_one_pass(self, pool: Any) -> None:
        one, other = (
            load_backbone(
                "vgg16",
                weights="random",
                input_size=64,
                layer="block4_pool,block5_pool",
                pool_extra=pool,
                precision="float32",
                runtime=runtime,
            ).embed(images(2, 64) * 255)
            for runtime in ("ncnn", "tensorflow")
        )
        assert difference(one, other) < 1e-5

    def test_the_images_that_are_given_stay_as_they_are(self) -> None:
        model = networks()["scaled"]
        given = images()
        NcnnNetwork(model, SIDE)(given)
        np.testing.assert_array_equal(given, images())

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("PReLU", "ncnn has no PReLU"),
            ("softsign", "ncnn has no softsign"),
            ("channels first", "channels first"),
            ("shuffled", "reshapes"),
            ("constant", "takes a constant"),
            ("own function", "relu isn't a function of Keras"),
            ("rows scaled", "aren't one a channel"),
        ],
    )
    def test_what_ncnn_lacks_is_said(self, name: str, reason: str) -> None:
        import keras
        from keras import layers

        kinds: dict[str, Callable[[], Any]] = {
            "PReLU": lambda: layers.PReLU(),
            "softsign": lambda: layers.Activation("softsign"),
            "channels first": lambda: layers.ZeroPadding2D(data_format="channels_first"),
            "shuffled": lambda: layers.Reshape((SIDE, SIDE * 3)),
            "constant": lambda: lambda tensor: tensor[:, ::2] * 2.0,
            "own function": lambda: layers.Activation(relu),
            "rows scaled": lambda: layers.Rescaling(np.ones((SIDE, 1))),
        }
        layer = kinds[name]()
        start = keras.Input((SIDE, SIDE, 3))
        model = keras.Model(start, layer(start))
        with pytest.raises(NotConvertibleError, match=reason):
            NcnnNetwork(model, SIDE)


class TestNetworks:
    @pytest.mark.parametrize(
        "name",
        [
            *("vgg19", "mobilenetv2", "featx-mini"),
            *(pytest.param(name, marks=pytest.mark.long) for name in LARGER),
        ],
    )
    def test_of_each_family_agree(self, name: str) -> None:
        one, other = (
            load_backbone(
                name, weights="random", input_size=64, runtime=runtime, precision="float32"
            ).embed(images(2, 64) * 255)
            for runtime in ("ncnn", "tensorflow")
        )
        assert difference(one, other) < MAX_DIFFERENCE / 10
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] >= 0.999999

    def test_bits_depend_on_neither_batch_nor_order_nor_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = images(5, 64) * 255
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        alone = load_backbone("vgg16", weights="random", input_size=64, runtime="ncnn")
        expected = np.concatenate([alone.embed(given[i : i + 1]) for i in range(5)])
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        threads = load_backbone("vgg16", weights="random", input_size=64, runtime="ncnn")
        np.testing.assert_array_equal(threads.embed(given), expected)
        np.testing.assert_array_equal(threads.embed(given[::-1]), expected[::-1])


class TestChoice:
    @pytest.fixture
    def plain_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_precision, "_cpu_flags", lambda: {"avx2"})

    @pytest.mark.usefixtures("plain_cpu")
    def test_a_plain_cpu_takes_ncnn(self) -> None:
        found = resolve_runtime("auto", "auto", "cpu")
        assert (found.runtime, found.precision) == ("ncnn", "float32")
        assert found.reason == "the CPU has no bfloat16 arithmetic"

    @pytest.mark.usefixtures("plain_cpu")
    def test_a_network_that_is_slower_in_ncnn_is_tensorflow_s(self) -> None:
        found = resolve_runtime("auto", "auto", "cpu", "nasnetmobile")
        assert found.runtime == "tensorflow"
        assert found.reason.endswith("ncnn is slower for this network")
        assert resolve_runtime("ncnn", "auto", "cpu", "nasnetmobile").runtime == "ncnn"

    def test_a_cpu_with_bfloat16_takes_tensorflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_precision, "_cpu_flags", lambda: {"avx512_bf16"})
        found = resolve_runtime("auto", "auto", "cpu")
        assert (found.runtime, found.precision) == ("tensorflow", "bfloat16")
        assert resolve_runtime("auto", "float32", "cpu").runtime == "ncnn"

    @pytest.mark.usefixtures("plain_cpu")
    def test_tensorflow_takes_its_place_where_it_is_not_installed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "ncnn", None)
        found = resolve_runtime("auto", "auto", "cpu")
        assert found.runtime == "tensorflow"
        assert found.reason.endswith("and ncnn isn't installed")
        with pytest.raises(InputError, match="isn't installed") as caught:
            resolve_runtime("ncnn", "auto", "cpu")
        assert "`runtime` tensorflow" in str(caught.value.hint)

    @pytest.mark.parametrize(
        ("precision", "device"), [("bfloat16", "cpu"), ("auto", "gpu:0"), ("float16", "cpu")]
    )
    def test_ncnn_is_for_float32_on_a_cpu(self, precision: Any, device: str) -> None:
        with pytest.raises(InputError, match="ncnn computes"):
            resolve_runtime("ncnn", precision, device)

    def test_a_network_that_ncnn_lacks_is_tensorflow_s(self, tmp_path: Path) -> None:
        import keras

        path = tmp_path / "model.keras"
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.PReLU()])
        model.save(path)
        loaded = load_backbone(str(path), precision="float32")
        assert (loaded.spec.runtime, loaded.depends_on_batch) == ("tensorflow", True)
        assert loaded.reason.endswith("; ncnn has no PReLU")
        with pytest.raises(InputError, match=r"ncnn can't compute .*: ncnn has no PReLU"):
            load_backbone(str(path), runtime="ncnn")

    def test_a_network_that_ncnn_computes_wrongly_is_tensorflow_s(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Wrong(NcnnNetwork):
            def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
                return super().__call__(images) * np.float32(1.001)

        monkeypatch.setattr(_runtime, "NcnnNetwork", Wrong)
        loaded = load_backbone("vgg16", weights="random", input_size=32, precision="float32")
        assert loaded.spec.runtime == "tensorflow"
        assert "ncnn's embeddings differ by 0.001 of the largest" in loaded.reason

    def test_each_layer_has_to_agree_on_images_as_they_come(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import keras

        class Clipped(NcnnNetwork):
            """Wrong beyond 0.5 in the smaller layer, which an image of values 0..1 doesn't show."""

            def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
                found = super().__call__(images)
                return np.where(found < 1e3, found.clip(max=0.5), found)

        path = tmp_path / "model.keras"
        layers = [
            keras.layers.Rescaling(1 / 255, name="small"),
            keras.layers.Rescaling(1e6, 1e3, name="large"),
        ]
        keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(path)
        options: Any = {"layer": "small,large", "precision": "float32"}
        assert load_backbone(str(path), **options).spec.runtime == "ncnn"
        monkeypatch.setattr(_runtime, "NcnnNetwork", Clipped)
        assert load_backbone(str(path), **options).spec.runtime == "tensorflow"


def test_the_runtime_is_in_the_fingerprint_and_old_ones_stay() -> None:
    ncnn, tensorflow = (
        load_backbone(
            "vgg16", weights="random", input_size=32, precision="float32", runtime=runtime
        ).spec
        for runtime in ("ncnn", "tensorflow")
    )
    assert ncnn.fingerprint != tensorflow.fingerprint
    assert ncnn.model_dump() == tensorflow.model_dump() | {"runtime": "ncnn"}
    assert "runtime" not in tensorflow.model_dump()
