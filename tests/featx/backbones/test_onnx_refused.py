"""ONNX files made to do harm, and those that are no network of one image: refused in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from featx.backbones import _onnx_checks, load_backbone
from tests.archives import untouched
from tests.onnx_models import cnn, onnx, vit, written
from tests.refusing import refused

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("unharmed")]

Change = Callable[[Any], object]
DATA = "weights.bin"


def load(path: Path, **options: Any) -> Any:
    return load_backbone(str(path), **{"preprocess": "none", **options})


def refusal(model: Any, folder: Path, **options: Any) -> str:
    return refused(lambda path: load(path, **options), written(model, folder / "model.onnx"))


def first(model: Any, kind: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == kind)


def dimensions(model: Any) -> Any:
    return model.graph.input[0].type.tensor_type.shape.dim


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have TensorFlow and ONNX in memory before `unharmed` measures what a file takes."""
    load(written(cnn(), tmp_path_factory.mktemp("harmless") / "model.onnx"))


# Operators.


def node(kind: str, *inputs: str, domain: str = "", **attributes: Any) -> Change:
    """Add an operator that nothing needs."""

    def change(model: Any) -> None:
        added = helper.make_node(kind, [*inputs], ["added"], domain=domain, **attributes)
        model.graph.node.append(added)

    return change


def endless_loop(model: Any) -> None:
    true = numpy_helper.from_array(np.array(True), "true")
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(true)
    model.graph.node.append(helper.make_node("Loop", ["", "true"], [], body=body))


def branch(model: Any) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["grid"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    added = helper.make_node("If", ["true"], ["added"], then_branch=graph, else_branch=graph)
    model.graph.node.append(added)


def recursive_function(model: Any) -> None:
    call = helper.make_node("Again", ["x"], ["y"], domain="own")
    own = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "Again", ["x"], ["y"], [call], own))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Again", ["grid"], ["added"], domain="own"))


def many_nodes(model: Any) -> None:
    added = helper.make_node("Identity", ["pixels"], ["added"])
    model.graph.node.extend([added] * (_onnx_checks.MAX_NODES + 1))


def sparse_constant(model: Any) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    places = numpy_helper.from_array(np.array([3]), "places")
    sparse = helper.make_sparse_tensor(values, places, [10**9])
    model.graph.node.append(helper.make_node("Constant", [], ["added"], sparse_value=sparse))


def sparse_weights(model: Any) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    places = numpy_helper.from_array(np.array([3]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [10**9]))


OPERATORS: dict[str, tuple[Change, str]] = {
    "a loop without end": (endless_loop, "Loop has a graph inside"),
    "a branch": (branch, "If has a graph inside"),
    "a function that calls itself": (recursive_function, "functions of its own"),
    "a custom operator": (node("Evil", "grid", domain="evil"), "operator evil.Evil isn't a"),
    "an operator of onnxruntime's own": (
        node("Gelu", "grid", domain="com.microsoft"),
        "com.microsoft.Gelu isn't a standard one",
    ),
    "an operator that there is none of": (node("Evil", "grid"), "checker finds a fault"),
    "an operator of control characters": (
        node("Ev\x1b[2J\u202eil", "grid", domain="x"),
        r"x.Ev?[2J?il isn't",
    ),
    "random numbers": (
        node("RandomNormal", shape=[10**6, 10**6]),
        "RandomNormal draws random numbers",
    ),
    "50,001 operators": (many_nodes, "50,020 operators, more than 50,000"),
    "a sparse constant": (sparse_constant, "Constant has sparse weights"),
    "sparse weights": (sparse_weights, "it has sparse weights"),
    "a value that nothing makes": (node("Relu", "nothing"), "checker finds a fault"),
    "an unknown attribute": (node("Relu", "grid", evil=1), "checker finds a fault"),
}


class TestOperators:
    @pytest.mark.parametrize("harm", OPERATORS)
    def test_are_refused(self, tmp_path: Path, harm: str) -> None:
        change, said = OPERATORS[harm]
        model = cnn()
        change(model)
        found = refusal(model, tmp_path)
        assert said.replace("50,020", f"{len(model.graph.node):,}") in found


# Versions.


def opset(version: int) -> Change:
    return lambda model: setattr(model.opset_import[0], "version", version)


def no_opset(model: Any) -> None:
    del model.opset_import[:]


def two_opsets(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 9))


VERSIONS: dict[str, tuple[Change, str]] = {
    "operators of the future": (opset(999), "operators are those of 999"),
    "operators of long ago": (opset(6), "operators are those of 6, and one of 7"),
    "no operators named": (no_opset, "operators are those of no version"),
    "operators of two versions": (two_opsets, "those of 17 and 9"),
    "a format of the future": (lambda m: setattr(m, "ir_version", 99), "format has version 99"),
    "no format": (lambda m: m.ClearField("ir_version"), "format has version 0"),
}


class TestVersions:
    @pytest.mark.parametrize("harm", VERSIONS)
    def test_are_refused(self, tmp_path: Path, harm: str) -> None:
        change, said = VERSIONS[harm]
        model = cnn()
        change(model)
        assert said in refusal(model, tmp_path)

    def test_names_of_operators_that_aren_t_used_do_no_harm(self, tmp_path: Path) -> None:
        model = cnn()
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        assert load(written(model, tmp_path / "model.onnx")).embedding_shape == (8, 8, 16)


# Sizes.


def constant(shape: list[int]) -> Change:
    """Add a constant that a few bytes make large, and an output that needs it."""

    def change(model: Any) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "shape"))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["zeros"]))
        model.graph.node.append(helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0))
        model.graph.node.append(helper.make_node("Add", ["grid", "sum"], ["added"]))
        model.graph.output[0].name = "added"

    return change


def hidden_constant(model: Any) -> None:
    """Make the shape by an operator whose results ONNX's inference doesn't follow."""
    constant([0])(model)
    model.graph.initializer[-1].name = "root"
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([6.0e5]), "root"))
    square = helper.make_node("Pow", ["root", "two"], ["square"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([2.0]), "two"))
    cast = helper.make_node("Cast", ["square"], ["shape"], to=TensorProto.INT64)
    nodes = [square, cast, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def many_constants(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**27]), "shape"))
    for number in range(64):
        made = helper.make_node("ConstantOfShape", ["shape"], [f"zeros{number}"])
        model.graph.node.append(made)


def padded(model: Any) -> None:
    pads = numpy_helper.from_array(np.array([0, 0, 10**6, 10**6] * 2), "pads")
    model.graph.initializer.append(pads)
    model.graph.node.append(helper.make_node("Pad", ["grid", "pads"], ["added"]))


def grown(model: Any) -> None:
    factors = numpy_helper.from_array(np.array([1, 1, 1e5, 1e5], np.float32), "factors")
    model.graph.initializer.append(factors)
    model.graph.node.append(helper.make_node("Resize", ["grid", "", "factors"], ["added"]))


def larger_than_stored(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [10**6, 10**6]


def negative(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [-1, 3, 3, 3]


def larger_constant_than_stored(model: Any) -> None:
    tensor = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[10**12], raw_data=b"1234")
    model.graph.node.append(helper.make_node("Constant", [], ["added"], value=tensor))


def listed_weights(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 7)


def texts(model: Any) -> None:
    model.graph.initializer.append(
        TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    )


def unknown_type(model: Any) -> None:
    model.graph.initializer[0].data_type = 99


def not_finite(model: Any) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, 0, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weight0"))


SIZES: dict[str, tuple[Change, str]] = {
    "a constant of 10^12": (constant([10**6, 10**6]), "makes 1000000x1000000 numbers"),
    "a constant of hidden size": (hidden_constant, "onnxruntime can't run"),
    "64 constants of half a gigabyte": (many_constants, "8,589,934,592 numbers out of"),
    "a border of 10^6 pixels": (padded, "numbers of one image"),
    "a picture of 10^12 pixels": (grown, "numbers of one image"),
    "more weights than stored": (larger_than_stored, "should be 1000000x1000000, and others"),
    "a negative size": (negative, "negative size"),
    "a constant larger than stored": (larger_constant_than_stored, "should be 1000000000000"),
    "fewer weights than said": (listed_weights, "and others are stored"),
    "texts": (texts, "are of type string"),
    "an unknown type": (unknown_type, "are of type 99"),
    "weights that are no numbers": (not_finite, "aren't finite"),
}


class TestSizes:
    @pytest.mark.parametrize("harm", SIZES)
    def test_are_refused(self, tmp_path: Path, harm: str) -> None:
        change, said = SIZES[harm]
        model = cnn()
        change(model)
        assert said in refusal(model, tmp_path)

    def test_a_file_larger_than_such_files_are_is_not_read(self, tmp_path: Path) -> None:
        path = written(cnn(), tmp_path / "model.onnx")
        os.truncate(path, 2**31)
        assert "can't have more than 2,147,483,647" in refused(load, path)

    def test_weights_that_don_t_fit_in_memory_are_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = written(cnn(), tmp_path / "model.onnx")
        monkeypatch.setattr(_onnx_checks, "MEMORY_COPIES", 10**9)
        assert "of memory are free" in refused(load, path)


# Weights in other files.


def external(**place: str) -> Any:
    """A network whose first weights are in the file `DATA`, or where `place` says."""
    model = cnn()
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": DATA, "offset": "0", "length": str(size), **place}.items():
        tensor.external_data.add(key=key, value=value)
    return model


def weights() -> bytes:
    return bytes(cnn().graph.initializer[0].raw_data)


PLACES: dict[str, tuple[dict[str, str], str]] = {
    "above the folder": ({"location": "../secret"}, "'../secret', which is no file of its folder"),
    "above, from a folder": ({"location": "x/../../secret"}, "no file of its folder"),
    "anywhere": ({"location": "/etc/passwd"}, "no file of its folder"),
    "on a drive": ({"location": "C:\\secret"}, "no file of its folder"),
    "with backslashes": ({"location": "..\\secret"}, "no file of its folder"),
    "in no file": ({"location": ""}, "no file of its folder"),
    "in a file with a null": ({"location": "a\0b"}, "no file of its folder"),
    "in a missing file": ({"location": "missing.bin"}, "which can't be read"),
    "in a folder": ({"location": "folder"}, "which can't be read"),
    "in a pipe": ({"location": "pipe"}, "which can't be read"),
    "through a link": ({"location": "link"}, "a link that leads out of its folder"),
    "through a linked folder": ({"location": "linked/secret"}, "a link that leads out"),
    "in a loop of links": ({"location": "loop"}, "which can't be read"),
    "behind the end": ({"offset": "8"}, "aren't in weights.bin"),
    "before the start": ({"offset": "-8"}, "aren't in weights.bin"),
    "at 10^30": ({"offset": "1" + "0" * 30}, "aren't in weights.bin"),
    "of another length": ({"length": "4"}, "aren't in weights.bin"),
    "nowhere": ({"offset": "here"}, "is no number"),
    "with unknown words": ({"command": "touch escaped"}, "has an unknown command"),
}


class TestWeightsInOtherFiles:
    def test_are_read_and_hashed(self, tmp_path: Path) -> None:
        path = written(external(), tmp_path / "model.onnx")
        (tmp_path / DATA).write_bytes(weights())
        images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
        loaded = load(path)
        inside = load(written(cnn(), tmp_path / "inside.onnx"))
        np.testing.assert_array_equal(loaded.embed(images), inside.embed(images))
        (tmp_path / DATA).write_bytes(bytes(len(weights())))
        again = load(path).spec
        assert again.architecture_sha256 == loaded.spec.architecture_sha256
        assert again.weights_sha256 != loaded.spec.weights_sha256

    def test_a_network_is_where_its_link_is(self, tmp_path: Path) -> None:
        """A download of Hugging Face has links to files with other names."""
        written(cnn(), tmp_path / "blobs" / "1f2e")
        (tmp_path / "snapshot").mkdir()
        (tmp_path / "snapshot" / "model.onnx").symlink_to("../blobs/1f2e")
        loaded = load(tmp_path / "snapshot" / "model.onnx")
        assert loaded.recipe.name == str(tmp_path / "snapshot" / "model.onnx")

    @pytest.mark.parametrize("harm", PLACES)
    def test_are_refused(self, tmp_path: Path, harm: str) -> None:
        place, said = PLACES[harm]
        (tmp_path / "secret").write_bytes(weights())
        folder = tmp_path / "network"
        (folder / "folder").mkdir(parents=True)
        (folder / DATA).write_bytes(weights())
        os.mkfifo(folder / "pipe")
        (folder / "link").symlink_to("../secret")
        (folder / "linked").symlink_to("..")
        (folder / "loop").symlink_to("loop")
        before = {path.name for path in tmp_path.rglob("*")}
        assert said in refusal(external(**place), folder)
        assert untouched(tmp_path, *before, "model.onnx")

    def test_of_a_constant_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / DATA).write_bytes(weights())
        model = cnn()
        tensor = external().graph.initializer[0]
        made = helper.make_node("Constant", [], ["added"])
        attribute = AttributeProto(name="value", type=AttributeProto.TENSOR)
        attribute.t.CopyFrom(tensor)
        made.attribute.append(attribute)
        model.graph.node.append(made)
        assert "aren't in it" in refusal(model, tmp_path)


# What it takes and gives.


def sides(*values: int | str) -> Change:
    def change(model: Any) -> None:
        dimensions(model).pop()
        del dimensions(model)[:]
        for value in values:
            named = {"dim_value": value} if isinstance(value, int) else {"dim_param": value}
            dimensions(model).add(**named)

    return change


def second_input(model: Any) -> None:
    added = helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 3, 32, 32])
    model.graph.input.append(added)


def no_input(model: Any) -> None:
    del model.graph.input[:]


def bytes_input(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def integer_outputs(model: Any) -> None:
    cast = helper.make_node("Cast", ["grid"], ["whole"], to=TensorProto.INT64)
    model.graph.node.append(cast)
    del model.graph.output[:]
    whole = helper.make_tensor_value_info("whole", TensorProto.INT64, ["b", 16, 8, 8])
    model.graph.output.append(whole)


def flat_output(model: Any) -> None:
    model.graph.node.append(helper.make_node("Unsqueeze", ["grid", "axis"], ["deep"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    del model.graph.output[:]
    deep = helper.make_tensor_value_info("deep", TensorProto.FLOAT, ["b", 1, 16, 8, 8])
    model.graph.output.append(deep)


def flat_convolution(model: Any) -> None:
    sides("b", "c", "h", "w")(model)
    model.graph.initializer[0].dims[:] = [216]


INPUTS: dict[str, tuple[Change, str]] = {
    "two images": (second_input, "takes pixels, other, not one image"),
    "nothing": (no_input, "refused as a backbone"),
    "bytes": (bytes_input, "takes UINT8 of shape ?x3x32x32, not one image of floats"),
    "a vector": (sides("b", 7), "of shape ?x7, not one"),
    "eight images": (sides(8, 3, 32, 32), "takes 8 images at once"),
    "no image": (sides(0, 3, 32, 32), "takes 0 images at once"),
    "five channels": (sides("b", 5, 32, 32), "no side is 1 or 3 channels"),
    "open channels of a flat convolution": (flat_convolution, "no side is 1 or 3 channels"),
    "no square": (sides("b", 3, 32, 16), "takes 32x16 pixels"),
    "one open side": (sides("b", 3, 32, "w"), "takes 32xNone pixels"),
    "10^6 pixels": (sides("b", 3, 10**6, 10**6), "a square of 4096 at most"),
    "a size of 0": (sides("b", 3, 0, 0), "a square of 4096 at most"),
    "a size of -1": (sides(-1, 3, -1, -1), "takes images of any size"),
    "whole numbers out": (integer_outputs, "no output of"),
    "five axes out": (flat_output, "which is no grid, no tokens and no vector"),
}


class TestInputsAndOutputs:
    @pytest.mark.parametrize("harm", INPUTS)
    def test_are_refused(self, tmp_path: Path, harm: str) -> None:
        change, said = INPUTS[harm]
        model = cnn()
        change(model)
        assert said in refusal(model, tmp_path)


# Files.


class TestFiles:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"PK\x03\x04",
            b"\x08\x08",
            b"text",
            bytes(1000),
            b"\xff" * 1000,
            b"\x3a" + b"\xff" * 9,
        ],
    )
    def test_by_name_only_are_refused(self, tmp_path: Path, content: bytes) -> None:
        (path := tmp_path / "model.onnx").write_bytes(content)
        assert "it is no ONNX file" in refused(load, path)

    @pytest.mark.parametrize("name", [b"Conv", b"grid", b"pixels", b"network", b"weight0"])
    def test_with_names_that_are_no_text_are_refused(self, tmp_path: Path, name: bytes) -> None:
        content = cnn().SerializeToString()
        (path := tmp_path / "model.onnx").write_bytes(content.replace(name, b"\xff" * len(name)))
        assert "it is no ONNX file, or damaged" in refused(load, path)

    def test_cut_off_are_refused(self, tmp_path: Path) -> None:
        path = written(vit(), tmp_path / "model.onnx")
        whole = path.read_bytes()
        for end in range(1, len(whole), len(whole) // 20):
            path.write_bytes(whole[:end])
            refused(load, path)

    def test_deep_messages_are_refused(self, tmp_path: Path) -> None:
        deep = b""
        for _ in range(5000):
            deep = b"\x32" + onnx_varint(len(deep)) + deep  # an attribute's graph, again and again
            if len(deep) > 10**6:
                break
        (path := tmp_path / "model.onnx").write_bytes(b"\x3a" + onnx_varint(len(deep)) + deep)
        refused(load, path)

    def test_that_aren_t_regular_are_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.onnx")
        assert "not a regular file" in refused(load, tmp_path / "pipe.onnx")
        assert "there is no network" in refused(load, tmp_path / "missing.onnx")
        (tmp_path / "folder.onnx").mkdir()
        assert "has no model.onnx" in refused(load, tmp_path / "folder.onnx")


def onnx_varint(number: int) -> bytes:
    """Write a number as Protocol Buffers do."""
    written_bytes = bytearray()
    while number > 127:
        written_bytes.append(number % 128 + 128)
        number //= 128
    written_bytes.append(number)
    return bytes(written_bytes)


def test_the_network_is_good_as_long_as_nothing_is_done_to_it(tmp_path: Path) -> None:
    assert onnx.IR_VERSION >= 8
    assert load(written(cnn(), tmp_path / "model.onnx")).embedding_shape == (8, 8, 16)
