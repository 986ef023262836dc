"""The frozen network: what it gives, and what tells it from others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import Backbone, load_backbone
from featx.backbones._registry import architecture
from featx.backbones._weights import build_network
from featx.errors import InputError


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    return random.uniform(0, 255, (11, 32, 32, 3)).astype(np.float32)


def close(one: NDArray[np.float32], other: NDArray[np.float32], relative: float) -> None:
    """Compare on the scale of the embeddings, since many of their values are zero."""
    np.testing.assert_allclose(one, other, rtol=relative, atol=relative * float(other.max()))


class TestEmbed:
    def test_gives_one_embedding_an_image(
        self, tiny_backbone: Backbone, images: NDArray[np.float32]
    ) -> None:
        embeddings = tiny_backbone.embed(images)
        assert embeddings.shape == (11, *tiny_backbone.embedding_shape) == (11, 1, 1, 512)
        assert embeddings.dtype == np.float32
        assert np.isfinite(embeddings).all()
        assert embeddings.std(axis=0).max() > 0

    @pytest.mark.parametrize("batch", [1, 3, 8])
    def test_does_not_depend_on_the_batch(
        self, tiny_backbone: Backbone, images: NDArray[np.float32], batch: int
    ) -> None:
        parts = [tiny_backbone.embed(images[i : i + batch]) for i in range(0, 11, batch)]
        close(np.concatenate(parts), tiny_backbone.embed(images), 1e-5)

    def test_grey_and_tripled_grey_give_the_same(
        self, tiny_backbone: Backbone, images: NDArray[np.float32]
    ) -> None:
        grey = images[..., :1]
        np.testing.assert_array_equal(
            tiny_backbone.embed(grey), tiny_backbone.embed(np.repeat(grey, 3, axis=-1))
        )

    def test_is_the_same_again(self, tiny_backbone: Backbone, images: NDArray[np.float32]) -> None:
        np.testing.assert_array_equal(tiny_backbone.embed(images), tiny_backbone.embed(images))


class TestPreprocess:
    def test_rescale_divides_by_255(self, images: NDArray[np.float32]) -> None:
        import keras

        backbone = load_backbone(
            "vgg16", weights="random", input_size=32, preprocess="rescale", precision="float32"
        )
        plain = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
        plain.set_weights(build_network(architecture("vgg16"), "random", 32, 0).get_weights())
        close(backbone.embed(images), plain.predict(images / 255.0, verbose=0), 1e-4)

    def test_imagenet_is_the_network_s_own(
        self, tiny_backbone: Backbone, images: NDArray[np.float32]
    ) -> None:
        import keras

        plain = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
        plain.set_weights(build_network(architecture("vgg16"), "random", 32, 0).get_weights())
        ready = keras.applications.vgg16.preprocess_input(images.copy())
        close(tiny_backbone.embed(images), plain.predict(ready, verbose=0), 1e-4)


class TestSpec:
    def test_says_what_was_loaded(self, tiny_backbone: Backbone) -> None:
        spec = tiny_backbone.spec
        assert len(spec.weights_sha256) == 64
        assert spec.model_dump() == {
            "name": "vgg16",
            "architecture_sha256": None,
            "layer": "block5_pool",
            "weights": "random",
            "weights_seed": 0,
            "weights_sha256": spec.weights_sha256,
            "input_size": 32,
            "preprocess": "imagenet",
            "precision": "float32",
        }
        assert tiny_backbone.weights_location == "random"
        assert tiny_backbone.reason == "as asked for"

    def test_fingerprint_differs_by_seed(self, tiny_backbone: Backbone) -> None:
        again, other = (
            load_backbone(
                "vgg16",
                weights="random",
                input_size=32,
                precision="float32",
                seed=seed,
                runtime="tensorflow",
            )
            for seed in (0, 1)
        )
        assert again.spec.fingerprint == tiny_backbone.spec.fingerprint
        assert other.spec.weights_sha256 != again.spec.weights_sha256
        assert other.spec.fingerprint != again.spec.fingerprint

    def test_another_network_has_its_own_shape(self) -> None:
        mobile = load_backbone("mobilenet", weights="random", input_size=64, precision="float32")
        assert mobile.embedding_shape == (2, 2, 1024)
        assert mobile.spec.name == "mobilenet"
        assert mobile.embed(np.zeros((2, 64, 64, 1), np.float32)).shape == (2, 2, 2, 1024)

    def test_vgg19_at_300_pixels_gives_9x9x512(self) -> None:
        backbone = load_backbone(weights="random", precision="float32")
        assert backbone.spec.name == "vgg19"
        assert backbone.embedding_shape == (9, 9, 512)


class TestPrecision:
    def test_bfloat16_is_close_to_float32_and_leaves_keras_as_it_was(
        self, tiny_backbone: Backbone, images: NDArray[np.float32]
    ) -> None:
        import keras

        policy = keras.mixed_precision.dtype_policy().name
        narrow = load_backbone("vgg16", weights="random", input_size=32, precision="bfloat16")
        assert keras.mixed_precision.dtype_policy().name == policy
        assert narrow.spec.precision == "bfloat16"
        # The weights are those of float32; only the arithmetic is narrow.
        assert narrow.spec.weights_sha256 == tiny_backbone.spec.weights_sha256
        embeddings, expected = narrow.embed(images), tiny_backbone.embed(images)
        assert embeddings.dtype == np.float32
        assert not np.array_equal(embeddings, expected)
        close(embeddings, expected, 0.1)


@pytest.mark.parametrize("size", [10, 0, -5])
def test_an_input_too_small_for_the_network_is_bad_input(size: int) -> None:
    with pytest.raises(InputError, match=f"`input_size` {size} ") as caught:
        load_backbone("vgg16", weights="random", input_size=size)
    assert "\n" not in str(caught.value)


def test_an_input_too_large_to_be_meant_is_bad_input() -> None:
    with pytest.raises(InputError, match="`input_size` 5000 is not between 1 and 4096 pixels"):
        load_backbone("vgg16", weights="random", input_size=5000)
