"""A saved Keras model as the backbone, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx._run import load_run
from featx.backbones import load_backbone
from featx.backbones._load import load_recipe
from featx.errors import InputError
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec


def small_model(channels: int = 3, size: int | None = 32, name: str = "mine") -> Any:
    import keras

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.MaxPooling2D(3, name="grid"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ],
        name=name,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small_model().save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def images(channels: int = 3) -> Any:
    return np.random.default_rng(0).uniform(0, 255, (3, 32, 32, channels)).astype(np.float32)


class TestLoading:
    def test_gives_what_the_model_gives_before_its_top(self, saved: Path) -> None:
        import keras

        loaded = load_backbone(str(saved), precision="float32")
        assert (loaded.spec.name, loaded.spec.layer) == ("mine", "grid")
        assert (loaded.spec.input_size, loaded.spec.preprocess) == (32, "none")
        assert loaded.spec.weights == "trained"
        assert loaded.weights_location == str(saved)
        model = small_model()
        grid = keras.Sequential(model.layers[:4])
        np.testing.assert_allclose(
            loaded.embed(images()), grid.predict(images(), verbose=0), rtol=1e-5, atol=1e-6
        )
        assert loaded.embed(images(1)).shape == (3, *loaded.embedding_shape)

    def test_saved_twice_it_is_the_same_backbone(self, saved: Path, tmp_path: Path) -> None:
        model = small_model()  # Keras numbers the layers that have no name
        model.save(saved)
        model.save(tmp_path / "again.keras")
        one, other = (
            load_backbone(str(path), precision="float32")
            for path in (saved, tmp_path / "again.keras")
        )
        assert one.spec == other.spec
        small_model(name="another").save(tmp_path / "again.keras")
        renamed = load_backbone(str(tmp_path / "again.keras"), precision="float32")
        assert renamed.spec.fingerprint != one.spec.fingerprint

    def test_bfloat16_is_used_and_near(self, saved: Path) -> None:
        exact = load_backbone(str(saved), precision="float32").embed(images())
        rough = load_backbone(str(saved), precision="bfloat16").embed(images())
        assert not np.array_equal(exact, rough)
        assert np.abs(exact - rough).max() < 0.03 * np.abs(exact).max()

    def test_a_model_of_one_channel_gets_grey(self, tmp_path: Path) -> None:
        small_model(1).save(tmp_path / "grey.keras")
        loaded = load_backbone(str(tmp_path / "grey.keras"), precision="float32")
        grey = images(1)
        tripled = np.repeat(grey, 3, axis=-1)
        np.testing.assert_allclose(loaded.embed(grey), loaded.embed(tripled), rtol=1e-3)

    def test_a_flexible_model_takes_the_size_asked_for(self, tmp_path: Path) -> None:
        small_model(size=None).save(tmp_path / "any.keras")
        path = str(tmp_path / "any.keras")
        assert load_backbone(path, precision="float32").spec.input_size == 300
        assert load_backbone(path, input_size=64, precision="float32").embedding_shape[0] > 3

    def test_a_recipe_loads_it_again(self, saved: Path) -> None:
        loaded = load_backbone(str(saved), layer="norm", precision="float32")
        again = load_recipe(loaded.recipe)
        assert again.spec == loaded.spec
        np.testing.assert_array_equal(again.embed(images()), loaded.embed(images()))


def test_from_extraction_to_prediction(saved: Path, phantom_data: Path, tmp_path: Path) -> None:
    backbone = load_backbone(str(saved))
    cache = extract(phantom_data, tmp_path / "cache", backbone, copies=0)
    fit(cache, HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.5)
    run = load_run(tmp_path / "run")
    image = next(phantom_data.rglob("*.png"))
    (prediction,) = run.predict([image])
    assert prediction.score is not None
    moved = tmp_path / "moved.keras"
    saved.rename(moved)
    with pytest.raises(InputError, match=r"mine\.keras\. Give its place: `weights=FILE`"):
        run.backbone()
    assert run.backbone(str(moved)).spec == backbone.spec
    with pytest.raises(
        InputError, match=r"is a saved model, which .*x\.h5 is not\. Give its \.keras"
    ):
        run.backbone("x.h5")


class TestRefused:
    def test_a_lambda_layer_is_not_run(self, tmp_path: Path) -> None:
        import keras

        layer = keras.layers.Lambda(
            lambda x: (__import__("os").environ.__setitem__("FEATX_PROOF", "ran"), x)[1]
        )
        model = keras.Sequential([keras.Input((32, 32, 3)), layer])
        assert os.environ.pop("FEATX_PROOF") == "ran"
        model.save(tmp_path / "evil.keras")
        with pytest.raises(InputError, match="safe Keras model"):
            load_backbone(str(tmp_path / "evil.keras"))
        assert "FEATX_PROOF" not in os.environ

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
    def test_a_damaged_file_is_one_line(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.keras").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.keras can't be loaded") as caught:
            load_backbone(str(tmp_path / "bad.keras"))
        assert "\n" not in str(caught.value)

    def test_models_that_take_no_image_are_refused(self, tmp_path: Path) -> None:
        import keras

        flat = keras.Sequential([keras.Input((7,)), keras.layers.Dense(1)])
        wide = keras.Sequential([keras.Input((32, 16, 3)), keras.layers.Conv2D(1, 3)])
        many = keras.Sequential([keras.Input((32, 32, 5)), keras.layers.Conv2D(1, 3)])
        for model, message in ((flat, "not one image"), (wide, "not a square"), (many, "not one")):
            model.save(tmp_path / "m.keras")
            with pytest.raises(InputError, match=message):
                load_backbone(str(tmp_path / "m.keras"))

    def test_options_of_other_networks_are_refused(self, saved: Path) -> None:
        for options, message in (
            ({"weights": "random"}, "has its own weights"),
            ({"preprocess": "imagenet"}, "`preprocess` imagenet is for"),
            ({"input_size": 64}, "which takes 32"),
            ({"layer": "grind"}, "Did you mean grid"),
        ):
            with pytest.raises(InputError, match=message):
                load_backbone(str(saved), **options)
