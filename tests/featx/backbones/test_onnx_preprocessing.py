"""Configurations beside ONNX networks: what they say is done, and in the fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.backbones import NormalizationSpec, load_backbone
from featx.backbones._load import load_recipe
from featx.backbones._onnx_preprocessing import MAX_CONFIG_BYTES
from featx.errors import InputError
from tests.onnx_models import cnn, outputs, written
from tests.refusing import refused

VIT: dict[str, Any] = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "do_convert_rgb": None,
    "image_mean": [0.5, 0.25, 0.75],
    "image_std": [0.5, 1, 2.0],
    "image_processor_type": "ViTImageProcessor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 32},
}
"""As Hugging Face's Transformers write it."""
PROCESSOR = "preprocessor_config.json"


def folder(
    path: Path, values: Any, model: Any = None, name: str = PROCESSOR, place: str = "model.onnx"
) -> Path:
    """Write a folder with a network and a configuration: values, or the text itself."""
    written(model or cnn(size=None), path / place)
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    (path / name).write_bytes(text)
    return path


def load(path: Path, **options: Any) -> Any:
    return load_backbone(str(path), **options)


def images() -> Any:
    return np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


class TestProcessors:
    def test_scale_and_normalize_as_transformers_do(self, tmp_path: Path) -> None:
        loaded = load(folder(tmp_path, VIT))
        spec = loaded.spec
        assert (spec.preprocess, spec.input_size) == ("config", 32)
        assert spec.normalization == NormalizationSpec(
            rescale=VIT["rescale_factor"], mean=(0.5, 0.25, 0.75), std=(0.5, 1.0, 2.0)
        )
        prepared = (images() * VIT["rescale_factor"] - VIT["image_mean"]) / VIT["image_std"]
        inputs = np.ascontiguousarray(prepared.transpose(0, 3, 1, 2), np.float32)
        (grid,) = outputs(cnn(), "grid", pixels=inputs)
        expected = grid.transpose(0, 2, 3, 1)
        assert np.abs(loaded.embed(images()) - expected).max() < 1e-5 * np.abs(expected).max()

    @pytest.mark.parametrize(
        ("changed", "rescale", "mean", "std"),
        [
            ({"do_rescale": False}, 1.0, (0.5, 0.25, 0.75), (0.5, 1.0, 2.0)),
            ({"do_normalize": False}, VIT["rescale_factor"], (0.0,), (1.0,)),
            ({"do_rescale": None, "rescale_factor": None}, 1 / 255, (0.5, 0.25, 0.75), None),
            ({"image_mean": 0.5, "image_std": 0.25}, VIT["rescale_factor"], (0.5,), (0.25,)),
        ],
    )
    def test_switches(
        self, tmp_path: Path, changed: dict[str, Any], rescale: float, mean: Any, std: Any
    ) -> None:
        found = load(folder(tmp_path, VIT | changed)).spec.normalization
        assert found == NormalizationSpec(rescale=rescale, mean=mean, std=std or (0.5, 1.0, 2.0))

    @pytest.mark.parametrize(
        "changed",
        [
            {"size": 32},
            {"size": {"shortest_edge": 32}},
            {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": 32},
            {"size": 48, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
            {"size": 32, "do_center_crop": False, "crop_size": 24},
            {"size": 32, "do_center_crop": None, "crop_size": None},
        ],
    )
    def test_sizes(self, tmp_path: Path, changed: dict[str, Any]) -> None:
        assert load(folder(tmp_path, VIT | changed)).spec.input_size == 32

    def test_a_size_of_the_user_s_goes_first_and_the_network_s_own_before_both(
        self, tmp_path: Path
    ) -> None:
        assert load(folder(tmp_path, VIT), input_size=48).spec.input_size == 48
        assert load(folder(tmp_path, VIT | {"size": 48}, cnn(size=32))).spec.input_size == 32

    @pytest.mark.parametrize("size", [None, {"longest_edge": 32}, {"height": 32, "width": 16}])
    def test_without_a_square_a_size_is_needed(self, tmp_path: Path, size: Any) -> None:
        with pytest.raises(InputError, match="of any size, and nothing says"):
            load(folder(tmp_path, VIT | {"size": size}))

    def test_a_repository_of_hugging_face_has_the_network_in_a_folder(self, tmp_path: Path) -> None:
        loaded = load(folder(tmp_path, VIT, place="onnx/model.onnx"))
        assert loaded.recipe.name == str(tmp_path)
        again = load_recipe(loaded.recipe)
        assert again.spec == loaded.spec
        np.testing.assert_array_equal(again.embed(images()), loaded.embed(images()))

    def test_another_mean_is_another_fingerprint(self, tmp_path: Path) -> None:
        one = load(folder(tmp_path, VIT)).spec
        other = load(folder(tmp_path, VIT | {"image_mean": 0.5, "image_std": 0.5})).spec
        assert one.fingerprint != other.fingerprint
        same = load(folder(tmp_path, VIT | {"resample": 3, "_comment": "x"})).spec
        assert same.fingerprint == one.fingerprint


class TestTimm:
    CONFIG: dict[str, Any] = {  # noqa: RUF012
        "architecture": "vit_tiny",
        "pretrained_cfg": {
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "input_size": [3, 32, 32],
            "crop_pct": 0.9,
        },
    }

    def test_says_mean_deviation_and_size(self, tmp_path: Path) -> None:
        spec = load(folder(tmp_path, self.CONFIG, name="config.json")).spec
        assert spec.input_size == 32
        assert spec.normalization is not None
        assert spec.normalization.mean == (0.485, 0.456, 0.406)
        assert spec.normalization.rescale == 1 / 255

    def test_a_configuration_of_another_kind_says_nothing(self, tmp_path: Path) -> None:
        path = folder(tmp_path, {"model_type": "vit"}, name="config.json")
        assert "nothing says how the network" in refused(load, path)
        assert load(path, preprocess="rescale", input_size=32).spec.preprocess == "rescale"

    def test_without_a_size_is_one_line(self, tmp_path: Path) -> None:
        config = {"pretrained_cfg": {"mean": [0.5], "std": [0.5]}}
        assert "`input_size`: field required" in refused(
            load, folder(tmp_path, config, name="config.json")
        )


FAULTS: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "no readable configuration"),
    "no JSON": (b"{'size': 32}", "no readable configuration"),
    "no text": (b"\xff\xfe\x00", "no readable configuration"),
    "a list": (b"[1, 2]", "no readable configuration"),
    "deep JSON": (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "no readable configuration"),
    "a megabyte": (b" " * MAX_CONFIG_BYTES + b"{}", "no readable configuration"),
    "a mean of text": (VIT | {"image_mean": ["0.5"] * 3}, "doesn't say how images are prepared"),
    "a mean of two": (VIT | {"image_mean": [0.5, 0.5]}, "mean has 2 numbers and std 3"),
    "a mean of a million": (VIT | {"image_mean": [0.5] * 10**5}, "mean has 100000 numbers"),
    "a mean that is no number": (VIT | {"image_mean": [float("nan")] * 3}, "finite number"),
    "a deviation of zero": (VIT | {"image_std": [0.5, 0.0, 0.5]}, "`std`: input should be greater"),
    "a negative deviation": (VIT | {"image_std": -1.0}, "greater than 0"),
    "a tiny deviation": (VIT | {"image_std": [1e-40] * 3}, "make 8e+39 of a pixel"),
    "a huge factor": (VIT | {"rescale_factor": 1e30}, "of a pixel"),
    "an infinite deviation": (VIT | {"image_std": float("inf")}, "finite number"),
    "a factor of zero": (VIT | {"rescale_factor": 0.0}, "`rescale`: input should be greater"),
    "a factor of text": (VIT | {"rescale_factor": "1/255"}, "`rescale_factor`: input should"),
    "a size of text": (VIT | {"size": "32"}, "`size`: input should"),
    "a size of zero": (VIT | {"size": 0}, "`size`: input should"),
    "a size of 10^9": (VIT | {"size": {"height": 10**9, "width": 10**9}}, "`size`: input should"),
    "a switch of text": (VIT | {"do_normalize": "yes"}, "`do_normalize`: input should be a valid"),
    "no mean": ({k: v for k, v in VIT.items() if k != "image_mean"}, "has no `image_mean`"),
    "no deviation": (VIT | {"image_std": None}, "has no `image_std`"),
    "another order of channels": (VIT | {"do_flip_channel_order": True}, "which featx doesn't do"),
}


class TestRefused:
    @pytest.mark.timeout(60)
    @pytest.mark.usefixtures("unharmed")
    @pytest.mark.parametrize("fault", FAULTS)
    def test_faults_are_one_line(self, tmp_path: Path, fault: str) -> None:
        values, said = FAULTS[fault]
        assert said in refused(load, folder(tmp_path, values))

    def test_numbers_for_other_channels(self, tmp_path: Path) -> None:
        path = folder(tmp_path, VIT, cnn(channels=1))
        assert "is for 3 channels, and the network takes 1" in refused(load, path)

    def test_a_preprocessing_beside_the_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"`preprocess` rescale does, too\. Leave"):
            load(folder(tmp_path, VIT), preprocess="rescale")
        bare = load(tmp_path / "model.onnx", preprocess="rescale", input_size=32)
        assert bare.spec.preprocess == "rescale"

    def test_a_file_without_its_folder_doesn_t_read_the_configuration(self, tmp_path: Path) -> None:
        path = folder(tmp_path, VIT) / "model.onnx"
        assert "Give its folder, if it has a preprocessor_config.json" in refused(load, path)
