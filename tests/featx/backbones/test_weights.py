"""Weights: seeded, from a file, from a folder, or an error that says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from featx.backbones import load_backbone
from featx.backbones._registry import architecture
from featx.backbones._weights import build_network, has_imagenet_weights, network_of, weights_sha256
from featx.errors import InputError, WeightsError


@pytest.fixture(scope="module")
def network() -> Any:
    """VGG16 with the weights of seed 0."""
    return build_network(architecture("vgg16"), "random", 32, 0)


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that network's weights under the name that Keras gives them."""
    folder = tmp_path_factory.mktemp("weights")
    network.save_weights(folder / "vgg16_notop.weights.h5")
    return folder


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A machine without Keras's own copy of any weights, and without a network."""
    from keras.src.utils import file_utils

    asked: list[str] = []

    def fail(*arguments: Any, **options: Any) -> str:
        asked.append(str(options.get("origin") or arguments[1]))
        print("Downloading data from storage.googleapis.com")
        raise Exception(f"URL fetch failure on {asked[-1]}: None -- [Errno -3] Temporary\nfailure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(file_utils, "get_file", fail)
    return asked


class TestRandom:
    def test_same_seed_gives_the_same_weights(self, network: Any) -> None:
        again = build_network(architecture("vgg16"), "random", 32, 0)
        assert weights_sha256(again) == weights_sha256(network)
        for one, other in zip(network.weights, again.weights, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())

    def test_another_seed_gives_others(self, network: Any) -> None:
        other = build_network(architecture("vgg16"), "random", 32, 1)
        assert weights_sha256(other) != weights_sha256(network)

    def test_do_not_depend_on_the_input_size(self, network: Any) -> None:
        larger = build_network(architecture("vgg16"), "random", 64, 0)
        assert weights_sha256(larger) == weights_sha256(network)


class TestSha256:
    def test_changes_with_any_value(self, network: Any) -> None:
        before = weights_sha256(network)
        bias = network.weights[-1]
        kept = bias.numpy().copy()
        bias.assign(kept + np.eye(1, len(kept))[0])
        assert weights_sha256(network) != before
        bias.assign(kept)
        assert weights_sha256(network) == before


class TestFile:
    def test_gives_the_weights_that_were_saved(self, network: Any, folder: Path) -> None:
        path = folder / "vgg16_notop.weights.h5"
        loaded = load_backbone("vgg16", weights=str(path), input_size=32, precision="float32")
        assert loaded.spec.weights == "trained"
        assert loaded.spec.weights_seed is None
        assert loaded.spec.weights_sha256 == weights_sha256(network)
        assert loaded.weights_location == str(path.resolve())

    def test_of_another_network_is_refused(self, folder: Path) -> None:
        with pytest.raises(
            WeightsError,
            match=r"vgg16_notop\.weights\.h5 don't fit vgg19 without its top: they are those of "
            r"vgg16\. Give `backbone` vgg16, or the weights of vgg19\.",
        ):
            build_network(architecture("vgg19"), str(folder / "vgg16_notop.weights.h5"), 32, 0)

    def test_of_another_network_is_known_by_its_numbers_not_by_its_name(
        self, folder: Path, tmp_path: Path
    ) -> None:
        assert network_of(folder / "vgg16_notop.weights.h5", like="vgg19") == "vgg16"
        network = architecture("mobilenetv2").build(
            weights=None, include_top=False, input_shape=(32, 32, 3)
        )
        network.save_weights(tmp_path / "vgg16.weights.h5")
        with h5py.File(tmp_path / "vgg16.h5", "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
        for name in ("vgg16.weights.h5", "vgg16.h5"):
            assert network_of(tmp_path / name, like="mobilenet") == "mobilenetv2"
        (tmp_path / "text.h5").write_text("no weights")
        assert network_of(tmp_path / "text.h5") is None

    def test_of_a_network_with_other_layers_is_refused(self, folder: Path) -> None:
        with pytest.raises(WeightsError, match="don't fit mobilenet without its top"):
            build_network(architecture("mobilenet"), str(folder / "vgg16_notop.weights.h5"), 32, 0)

    def test_that_is_no_weights_file_is_refused(self, tmp_path: Path) -> None:
        for name in ("x.weights.h5", "x.h5", "x.txt"):
            (tmp_path / name).write_text("no weights")
            with pytest.raises(WeightsError, match="don't fit vgg16") as caught:
                build_network(architecture("vgg16"), str(tmp_path / name), 32, 0)
            assert "\n" not in str(caught.value)

    def test_truncated_is_refused(self, folder: Path, tmp_path: Path) -> None:
        content = (folder / "vgg16_notop.weights.h5").read_bytes()
        (tmp_path / "x.weights.h5").write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsError, match="don't fit vgg16"):
            build_network(architecture("vgg16"), str(tmp_path / "x.weights.h5"), 32, 0)

    def test_missing_is_bad_input(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no weights file .*gone\.h5.*imagenet or random"):
            load_backbone("vgg16", weights=str(tmp_path / "gone.h5"), input_size=32)
        with pytest.raises(InputError, match="no weights file imagnet"):
            load_backbone("vgg16", weights="imagnet", input_size=32)


class TestImagenet:
    def test_unreachable_is_one_line_with_four_remedies(self, unreachable: list[str]) -> None:
        with pytest.raises(WeightsError) as caught:
            load_backbone("vgg16", input_size=32)
        message = str(caught.value)
        assert "\n" not in message
        assert "ImageNet weights of vgg16 can't be downloaded" in message
        assert re.search(
            r"`weights` a file or random .*FEATX_WEIGHTS_DIR .*`backbone` featx-mini", message
        )
        assert len(unreachable) == 1
        assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop" in unreachable[0]

    def test_an_input_too_small_is_found_before_the_download(self, unreachable: list[str]) -> None:
        with pytest.raises(InputError, match="`input_size` 10 doesn't suit vgg16"):
            load_backbone("vgg16", input_size=10)
        assert unreachable == []

    @pytest.mark.usefixtures("unreachable")
    def test_download_is_reported_outside_the_results(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(WeightsError):
            load_backbone("vgg16", input_size=32)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Downloading" in captured.err

    def test_the_folder_of_the_user_comes_before_the_download(
        self,
        unreachable: list[str],
        folder: Path,
        network: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(folder))
        loaded = load_backbone("vgg16", input_size=32, precision="float32")
        assert loaded.spec.weights_sha256 == weights_sha256(network)
        assert loaded.spec.weights == "trained"
        assert loaded.weights_location == "imagenet"
        assert unreachable == []

    def test_a_folder_without_this_network_s_weights_does_not_help(
        self, unreachable: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(folder))
        with pytest.raises(WeightsError, match="vgg19 can't be downloaded"):
            load_backbone("vgg19", input_size=32)
        assert len(unreachable) == 1

    @pytest.mark.parametrize(
        ("name", "counts"),
        [
            ("vgg16_imagenet_notop.weights.h5", True),
            ("VGG16.notop.h5", True),
            ("vgg16_imagenet.weights.h5", False),
            ("vgg16bn_notop.h5", False),
            ("notop_vgg16.h5", False),
        ],
    )
    def test_a_file_is_known_by_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool
    ) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
        assert not has_imagenet_weights("vgg16")
        (tmp_path / name).touch()
        assert has_imagenet_weights("vgg16") == counts

    def test_what_keras_downloaded_before_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "vgg19_weights_tf_dim_ordering_tf_kernels.h5").touch()
        assert not has_imagenet_weights("vgg19")
        (tmp_path / "models" / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
        assert has_imagenet_weights("vgg19")
        assert not has_imagenet_weights("vgg16")

    def test_a_user_without_a_home_folder_has_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pwd = pytest.importorskip("pwd")

        def unknown(user: int) -> None:
            raise KeyError(user)

        for name in ("HOME", "KERAS_HOME", "FEATX_WEIGHTS_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RuntimeError):
            Path.home()
        assert not has_imagenet_weights("vgg19")
