"""featx-mini: the weights in the package, the grid, and runs that load it by its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from featx import load_run
from featx.backbones import Backbone, _mini, describe_backbones, load_backbone
from featx.backbones._load import load_recipe
from featx.backbones._weights import has_imagenet_weights
from featx.errors import InputError, SpecMismatchError, WeightsError
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.reports import report

MAX_BYTES = 2_500_000
PLAIN: Any = {"input_size": 64, "precision": "float32", "runtime": "tensorflow"}


def drawn(channels: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (2, 64, 64, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def mini() -> Backbone:
    return load_backbone("featx-mini", **PLAIN)


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights file elsewhere, with one bit of one weight turned."""
    content = bytearray(_mini.MINI_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / _mini.MINI_FILE.name
    path.write_bytes(content)
    monkeypatch.setattr(_mini, "MINI_FILE", path)
    return path


class TestWeights:
    def test_are_a_small_file_of_half_precision(self) -> None:
        types = []
        with h5py.File(_mini.MINI_FILE) as file:
            file.visititems(lambda _, x: types.append(x.dtype) if hasattr(x, "dtype") else None)
        assert set(types) == {np.dtype(np.float16)}
        assert _mini.MINI_FILE.stat().st_size <= MAX_BYTES
        assert has_imagenet_weights("featx-mini")

    def test_are_loaded_without_keras_s_download_and_are_in_the_spec(
        self, mini: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))  # featx-mini needs no such folder
        again = load_backbone("featx_mini", **PLAIN)
        assert again.spec == mini.spec
        assert (mini.spec.name, mini.spec.weights) == ("featx-mini", "trained")
        assert mini.weights_location == "imagenet"
        drawn_weights = load_backbone("featx-mini", weights="random", **PLAIN)
        assert drawn_weights.spec.weights_sha256 != mini.spec.weights_sha256

    def test_damaged_are_refused_in_one_line(self, damaged: Path) -> None:
        with pytest.raises(WeightsError) as caught:
            load_backbone("featx-mini", **PLAIN)
        assert str(caught.value) == (
            f"the weights of featx-mini in {damaged} are damaged. Install featx again: "
            "`pip uninstall featx`, then `pip install featx`."
        )

    def test_of_another_file_are_never_opened(self, damaged: Path) -> None:
        # HDF5 would say that this is no file of its own.
        damaged.write_text("no weights")
        with pytest.raises(WeightsError, match="are damaged"):
            load_backbone("featx-mini", **PLAIN)

    def test_missing_are_refused_and_never_replaced(self, damaged: Path) -> None:
        damaged.unlink()
        with pytest.raises(WeightsError, match=r"weights of featx-mini are missing: .*Install"):
            load_backbone("featx-mini", **PLAIN)


class TestInput:
    def test_has_a_grid_as_large_as_vgg16_s(self) -> None:
        for side in (32, 63, 96, 300):
            mini, vgg = describe_backbones(["featx-mini", "vgg16"], side)
            assert mini.embedding_shape == vgg.embedding_shape

    def test_that_is_too_small_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"`input_size` 31 doesn't suit featx-mini: .*32x32"):
            load_backbone("featx-mini", input_size=31)

    def test_is_one_channel_and_of_colour_the_luminance(self, mini: Backbone) -> None:
        grey = drawn()
        assert mini.channels == 1
        one, three = mini.embed(grey), mini.embed(np.repeat(grey, 3, axis=-1))
        # The weights of red, green and blue are 0.9999 together.
        np.testing.assert_allclose(three, one, atol=0.01 * one.max())

    def test_of_values_from_0_to_1_is_refused(self, mini: Backbone) -> None:
        with pytest.raises(InputError, match=r"rescale makes .* and featx-mini takes"):
            load_backbone("Featx-Mini", preprocess="rescale", **PLAIN)
        plain = load_backbone("featx-mini", preprocess="none", **PLAIN)
        np.testing.assert_array_equal(plain.embed(drawn()), mini.embed(drawn()))

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_in_half_precision_it_makes_nearly_the_same(
        self, mini: Backbone, precision: str
    ) -> None:
        half = load_backbone("featx-mini", **(PLAIN | {"precision": precision}))
        assert half.spec.weights_sha256 == mini.spec.weights_sha256
        one, other = half.embed(drawn()).ravel(), mini.embed(drawn()).ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.999


class TestRun:
    @pytest.mark.usefixtures("two_folds", "words_only")
    def test_finds_its_backbone_by_name_until_the_weights_change(
        self,
        mini: Backbone,
        phantom_data: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cache = extract(phantom_data, tmp_path / "cache", mini, copies=0, progress=False)
        fit(cache, HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.5)
        run = load_run(tmp_path / "run")
        assert run.record.weights == "imagenet"
        assert run.backbone().spec == mini.spec == load_recipe(mini.recipe).spec
        image = next(phantom_data.rglob("*.png"))
        (scored,) = run.predict([image], progress=False)
        (explained,) = run.explain([image], progress=False)
        assert explained.verdict is not None
        assert scored.score == pytest.approx(explained.verdict.score)
        page = report(run, progress=False).html
        assert "The backbone is featx-mini, a small network for trying things." in page
        other = tmp_path / "other.weights.h5"
        _mini.build_mini().save_weights(other)
        monkeypatch.setattr(_mini, "MINI_FILE", other)
        monkeypatch.setattr(_mini, "MINI_SHA256", hashlib.sha256(other.read_bytes()).hexdigest())
        with pytest.raises(
            SpecMismatchError, match=r"weights_sha256: .*Install the version of featx that made"
        ):
            run.backbone()
