"""ONNX networks as backbones: they give what any program gets of them from onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import (
    EmbeddingPart,
    NormalizationSpec,
    StandardizationSpec,
    load_backbone,
    split_parts,
)
from featx.backbones._load import load_recipe
from featx.backbones._onnx_network import OnnxOptions, load_onnx
from featx.backbones._standardization import Standardization
from featx.errors import InputError
from featx.extraction._pipeline import embed_filled
from tests.onnx_models import cnn, onnx, outputs, vit, written

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def images(size: int = 32, channels: int = 3, rows: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0, 255, (rows, size, size, channels)).astype(np.float32)


def load(model: Any, path: Path, **options: Any) -> Any:
    return load_backbone(str(written(model, path)), **{"preprocess": "none", **options})


def first(images: NDArray[Any]) -> NDArray[np.float32]:
    """Put channels first."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def near(found: NDArray[Any], expected: NDArray[Any], tolerance: float = 1e-5) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


class TestGrids:
    def test_channels_first_become_rows_columns_channels(self, path: Path) -> None:
        model = cnn()
        loaded = load(model, path)
        assert (loaded.spec.layer, loaded.embedding_shape) == ("grid", (8, 8, 16))
        assert (loaded.spec.runtime, loaded.spec.precision) == ("onnxruntime", "float32")
        assert (loaded.spec.input_size, loaded.spec.tokens, loaded.spec.parts) == (32, None, ())
        (grid,) = outputs(model, "grid", pixels=first(images()))
        near(loaded.embed(images()), grid.transpose(0, 2, 3, 1))

    def test_channels_last_stay(self, path: Path) -> None:
        model = cnn("NHWC")
        loaded = load(model, path)
        (grid,) = outputs(model, "grid", pixels=images())
        near(loaded.embed(images()), grid)
        near(loaded.embed(images()), load(cnn(), path).embed(images()))

    def test_an_inner_tensor_of_a_network_of_channels_last_is_turned_if_it_is_a_square(
        self, path: Path
    ) -> None:
        loaded = load(cnn("NHWC"), path, layer="inner")
        assert loaded.embedding_shape == (32, 32, 8)
        near(loaded.embed(images()), load(cnn(), path, layer="inner").embed(images()))

    def test_grey_reaches_a_network_of_three_channels_three_times(self, path: Path) -> None:
        loaded = load(cnn(), path)
        grey = images(channels=1)
        near(loaded.embed(grey), loaded.embed(np.repeat(grey, 3, axis=-1)), 0.0)

    def test_a_network_of_one_channel_gets_grey(self, path: Path) -> None:
        model = cnn(channels=1)
        loaded = load(model, path)
        assert loaded.channels == 1
        (grid,) = outputs(model, "grid", pixels=first(images(channels=1)))
        near(loaded.embed(images(channels=1)), grid.transpose(0, 2, 3, 1))

    def test_any_size_takes_the_one_asked_for(self, path: Path) -> None:
        assert load(cnn(size=None), path, input_size=48).embedding_shape == (12, 12, 16)
        assert load(cnn("NHWC", size="side"), path, input_size=16).embedding_shape == (4, 4, 16)

    def test_open_channels_are_those_of_the_first_convolution(self, path: Path) -> None:
        """Hugging Face's exporter leaves all four sides open."""
        model = vit(size="side", channels="channels")
        assert load(model, path, input_size=24).embedding_shape == (3, 3, 16)

    @pytest.mark.parametrize("batch", [1, None, "batch", -1])
    def test_a_batch_of_one_or_of_any_size_is_run_image_by_image(
        self, path: Path, batch: Any
    ) -> None:
        near(load(cnn(batch=batch), path).embed(images()), load(cnn(), path).embed(images()), 0.0)

    def test_float16_is_said_and_cast(self, path: Path) -> None:
        model = cnn(dtype=np.float16)
        loaded = load(model, path)
        assert loaded.spec.precision == "float16"
        inside = images() / 255
        (grid,) = outputs(model, "grid", pixels=first(inside).astype(np.float16))
        near(loaded.embed(inside), grid.transpose(0, 2, 3, 1).astype(np.float32), 1e-3)
        with pytest.raises(InputError, match="computes in float16, not in `precision` bfloat16"):
            load(model, path, precision="bfloat16")


class TestOutputs:
    def test_the_first_is_taken_and_the_others_are_named(self, path: Path) -> None:
        loaded = load(cnn(), path)
        assert loaded.reason == "as exported; the network has other outputs: vector"
        assert "from grid" in repr(loaded)

    def test_the_last_hidden_state_goes_before_the_first(self, path: Path) -> None:
        loaded = load(vit(), path, preprocess="rescale")
        assert loaded.spec.layer == "last_hidden_state"
        assert loaded.reason.endswith("other outputs: pooler_output")

    def test_one_by_name_is_a_vector(self, path: Path) -> None:
        model = cnn()
        loaded = load(model, path, layer="vector")
        assert (loaded.embedding_shape, loaded.reason) == ((16,), "as exported")
        near(loaded.embed(images()), outputs(model, "vector", pixels=first(images()))[0])

    def test_a_tensor_inside_is_an_output_by_its_name(self, path: Path) -> None:
        loaded = load(cnn(), path, layer="inner")
        assert loaded.embedding_shape == (32, 32, 8)

    def test_several_are_one_vector_whose_first_part_is_a_grid(self, path: Path) -> None:
        model = cnn()
        loaded = load(model, path, layer="vector,grid")
        assert loaded.spec.parts == (
            EmbeddingPart(name="grid", shape=(8, 8, 16)),
            EmbeddingPart(name="vector", shape=(16,)),
        )
        assert loaded.spec.layer == "vector,grid"
        assert loaded.embedding_shape == (8 * 8 * 16 + 16,)
        grid, vector = outputs(model, "grid", "vector", pixels=first(images()))
        expected = np.concatenate([grid.transpose(0, 2, 3, 1).reshape(3, -1), vector], axis=1)
        near(loaded.embed(images()), expected)

    def test_all_but_the_main_one_can_be_pooled(self, path: Path) -> None:
        loaded = load(cnn(), path, layer=["vector", "grid", "inner"], pool_extra="pyramid")
        parts = loaded.spec.parts
        assert [part.shape for part in parts] == [(8, 8, 16), (16,), (10, 8)]
        found = split_parts(loaded.embed(images()), parts)
        whole = load(cnn(), path, layer="vector,grid,inner")
        expected = split_parts(whole.embed(images()), whole.spec.parts)
        np.testing.assert_array_equal(found["grid"], expected["grid"])
        np.testing.assert_array_equal(found["vector"], expected["vector"])
        near(found["inner"][:, 0], expected["inner"].mean(axis=(1, 2)))
        near(found["inner"][:, 9], expected["inner"][:, 21:, 21:].mean(axis=(1, 2)))
        assert load_recipe(loaded.recipe).spec == loaded.spec
        with pytest.raises(InputError, match="grid is the only one"):
            load(cnn(), path, pool_extra="pyramid")

    def test_one_whose_name_has_a_comma_stands_alone(self, path: Path) -> None:
        model = cnn()
        node = next(node for node in model.graph.node if node.output[0] == "vector")
        node.output[0] = model.graph.output[1].name = "a,b"
        loaded = load(model, path, layer="a,b")
        assert (loaded.spec.layer, loaded.embedding_shape) == ("a,b", (16,))
        assert load_recipe(loaded.recipe).spec == loaded.spec
        with pytest.raises(InputError, match=r"'a,b' of .* can't be one of several"):
            load(model, path, layer=["a,b", "grid"])

    @pytest.mark.parametrize(
        ("layer", "said"),
        [
            ("gird", "has no output or tensor 'gird'. Did you mean grid"),
            ("nothing", "It has the outputs grid, vector"),
            ("grid,grid", "names an output of .* twice"),
            ("grid,", "has no output or tensor ''"),
        ],
    )
    def test_others_are_refused(self, path: Path, layer: str, said: str) -> None:
        with pytest.raises(InputError, match=said):
            load(cnn(), path, layer=layer)


class TestTokens:
    @pytest.mark.parametrize(("cls", "registers"), [(True, 0), (True, 4), (False, 0)])
    def test_patches_are_the_last_ones_row_by_row(
        self, path: Path, cls: bool, registers: int
    ) -> None:
        model = vit(cls=cls, registers=registers)
        loaded = load(model, path, preprocess="rescale")
        assert (loaded.embedding_shape, loaded.spec.tokens) == ((4, 4, 16), "patches")
        (tokens,) = outputs(model, "last_hidden_state", pixels=first(images() / 255))
        assert tokens.shape[1] == 16 + cls + registers
        near(loaded.embed(images()), tokens[:, -16:].reshape(3, 4, 4, 16))

    @pytest.mark.parametrize("registers", [0, 4])
    def test_the_class_is_the_first(self, path: Path, registers: int) -> None:
        model = vit(registers=registers)
        loaded = load(model, path, preprocess="rescale", tokens="cls")
        assert (loaded.embedding_shape, loaded.spec.tokens) == ((16,), "cls")
        (tokens,) = outputs(model, "last_hidden_state", pixels=first(images() / 255))
        near(loaded.embed(images()), tokens[:, 0])

    def test_both_are_the_grid_and_then_the_vector(self, path: Path) -> None:
        loaded = load(vit(), path, preprocess="rescale", tokens="both")
        assert [(part.name, part.shape) for part in loaded.spec.parts] == [
            ("last_hidden_state.patches", (4, 4, 16)),
            ("last_hidden_state.cls", (16,)),
        ]
        both = loaded.embed(images())
        for kind, part in (("patches", both[:, :256]), ("cls", both[:, 256:])):
            alone = load(vit(), path, preprocess="rescale", tokens=kind).embed(images())
            np.testing.assert_array_equal(part, alone.reshape(3, -1))

    def test_the_kinds_have_fingerprints_of_their_own(self, path: Path) -> None:
        kinds = ("patches", "cls", "both")
        specs = [load(vit(), path, preprocess="rescale", tokens=kind).spec for kind in kinds]
        assert len({spec.fingerprint for spec in specs}) == 3

    def test_that_are_no_square_are_refused_with_their_number(self, path: Path) -> None:
        model = vit(cls=False)
        node = next(node for node in model.graph.node if node.output[0] == "last_hidden_state")
        cut = [onnx.numpy_helper.from_array(np.array([n]), f"cut{n}") for n in (0, 14, 1)]
        model.graph.initializer.extend(cut)
        node.op_type = "Slice"
        node.input.extend(["cut0", "cut14", "cut1"])
        with pytest.raises(InputError, match=r"has 14 tokens, which are no square .*4²"):
            load(model, path)

    def test_options_that_have_nothing_to_take_are_refused(self, path: Path) -> None:
        with pytest.raises(InputError, match="`tokens` cls needs an output of tokens, and grid"):
            load(cnn(), path, tokens="cls")
        with pytest.raises(InputError, match="16 tokens, a grid of 4x4 and none of the class"):
            load(vit(cls=False), path, tokens="both")
        with pytest.raises(InputError, match="`tokens` cls is for ONNX networks"):
            load_backbone("vgg16", weights="random", tokens="cls")


class TestPreprocessing:
    def test_imagenet_is_torchvision_s(self, path: Path) -> None:
        model = cnn()
        loaded = load(model, path, preprocess="imagenet")
        assert loaded.spec.preprocess == "imagenet"
        assert loaded.spec.normalization is not None
        prepared = (images() / 255 - IMAGENET_MEAN) / IMAGENET_STD
        (grid,) = outputs(model, "grid", pixels=first(prepared))
        near(loaded.embed(images()), grid.transpose(0, 2, 3, 1))

    def test_rescale_divides_by_255(self, path: Path) -> None:
        loaded = load(cnn(), path, preprocess="rescale")
        assert (loaded.spec.preprocess, loaded.spec.normalization) == ("rescale", None)
        near(loaded.embed(images()), load(cnn(), path).embed(images() / 255))

    def test_an_earlier_spec_has_the_fingerprint_that_it_had(self) -> None:
        from featx.backbones import BackboneSpec

        spec = BackboneSpec(
            name="vgg19", layer="x", weights="trained", weights_sha256="0", input_size=9
        )
        assert not {"tokens", "normalization", "runtime", "parts"} & spec.model_dump().keys()
        changed = spec.model_copy(update={"normalization": NormalizationSpec()})
        assert changed.fingerprint != spec.fingerprint

    def test_a_standardization_comes_after_it(self, path: Path, tmp_path: Path) -> None:
        spec = StandardizationSpec(samplewise_center=True)
        plain = load(cnn(), path, preprocess="rescale")
        loaded = plain.with_standardization(Standardization(spec, {}), tmp_path / "s.npz")
        prepared = plain.prepare(images())
        centered = prepared - prepared.mean(axis=(1, 2, 3), keepdims=True)
        near(loaded.embed(images()), load(cnn(), path).embed(centered), 1e-4)


class TestSameBits:
    @pytest.mark.parametrize("model", [cnn(width=32), vit(width=32)])
    def test_whatever_the_batch(self, path: Path, model: Any) -> None:
        loaded = load(model, path, preprocess="rescale")
        assert not loaded.depends_on_batch
        many = loaded.embed(images(rows=7))
        alone = np.concatenate([loaded.embed(images(rows=7)[i : i + 1]) for i in range(7)])
        np.testing.assert_array_equal(many, alone)
        filled = embed_filled(loaded, [*images(rows=7)], 8)
        np.testing.assert_array_equal(many, filled)

    @pytest.mark.parametrize("model", [cnn(width=32), vit(width=32)])
    def test_whatever_the_threads(
        self, path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for threads in ("1", "2", "3"):
            monkeypatch.setenv("OMP_NUM_THREADS", threads)
            found.append(load(model, path, preprocess="rescale").embed(images()))
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])

    def test_a_recipe_loads_it_again(self, path: Path) -> None:
        loaded = load(vit(), path, preprocess="imagenet", tokens="both", layer="last_hidden_state")
        again = load_recipe(loaded.recipe)
        assert again.spec == loaded.spec
        np.testing.assert_array_equal(again.embed(images()), loaded.embed(images()))


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"weights": "random"}, "an ONNX network has its own weights"),
            ({"device": "gpu:0"}, "runs on the processor, and not on `device` gpu:0"),
            ({"precision": "bfloat16"}, "computes in float32, not in `precision` bfloat16"),
            ({"input_size": 64}, "`input_size` 64 doesn't suit .*, which takes 32"),
            ({"preprocess": None}, "nothing says how .* Give its folder, .* imagenet"),
        ],
    )
    def test_of_other_networks_are_refused(
        self, path: Path, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InputError, match=said):
            load(cnn(), path, **options)

    @pytest.mark.parametrize("runtime", ["tensorflow", "ncnn"])
    def test_other_runtimes_are_refused(self, path: Path, runtime: str) -> None:
        said = f"`runtime` {runtime} can't run an ONNX network. Leave `runtime` out"
        with pytest.raises(InputError, match=said):
            load_onnx(str(written(cnn(), path)), OnnxOptions(preprocess="none", runtime=runtime))

    def test_a_network_of_any_size_needs_one(self, path: Path) -> None:
        with pytest.raises(InputError, match="of any size, and nothing says"):
            load(cnn(size=None), path)
        with pytest.raises(InputError, match="`preprocess` imagenet is for networks of three"):
            load(cnn(channels=1), path, preprocess="imagenet")

    def test_a_size_that_it_can_t_take_is_one_line(self, path: Path) -> None:
        model = vit()
        for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
            side.dim_param = "side"
        with pytest.raises(InputError, match=r"can't run .* on 48x48 pixels") as caught:
            load(model, path, input_size=48)
        assert "\n" not in str(caught.value)

    def test_tensorflow_can_t_be_a_part_of_it(self, path: Path) -> None:
        with pytest.raises(InputError, match="is no network of Keras"):
            load(cnn(), path).as_tensors(images())


class TestWithoutThePackages:
    @pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
    def test_one_line_says_how_to_install_them(
        self, path: Path, package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(cnn(), path)
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(InputError, match=rf"the package {package}, .* 'featx\[onnx\]'"):
            load_backbone(str(path), preprocess="none")


class TestNames:
    def test_the_graph_s_own_or_one_of_its_hash(self, path: Path) -> None:
        assert load(cnn(), path).spec.name == "network"
        spec = load(vit(), path).spec
        assert spec.architecture_sha256 is not None
        assert spec.name == f"onnx-{spec.architecture_sha256[:8]}"

    @pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b"])
    def test_that_are_no_path_are_no_backbone(self, name: str) -> None:
        with pytest.raises(InputError, match="there is no backbone"):
            load_backbone(name)

    @pytest.mark.parametrize("name", ["x" * 5000 + ".onnx", "a\0b.onnx"])
    def test_that_are_no_path_are_no_network(self, name: str) -> None:
        with pytest.raises(InputError, match="there is no network"):
            load_backbone(name, preprocess="none")

    def test_a_folder_called_like_a_network_doesn_t_hide_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "vgg16").mkdir()
        monkeypatch.chdir(tmp_path)
        loaded = load_backbone("vgg16", weights="random", input_size=32, precision="float32")
        assert loaded.spec.name == "vgg16"
