"""What an ONNX graph takes and gives: the one image of its input, and its outputs by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featx.backbones._onnx_checks import OnnxFile, constants_of
from featx.backbones._saved import MAX_OUTPUT_SIZE
from featx.backbones._spec import DEFAULT_INPUT, LARGEST_INPUT
from featx.errors import InputError
from featx_cache._text import first_line, printable

USUAL_OUTPUT = "last_hidden_state"
"""Hugging Face's name of the tokens, or of the grid, before any pooling."""
MAX_CONSTANTS = 2**24
"""Most numbers that a graph may make out of nothing, beyond twice its weights."""
SMALL = 1024
"""Most values of a constant that may be a shape."""
_HINT = "Export a network of one image input, float32 of shape (batch, 3, height, width)."


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """Input of a network.

    Attributes
    ----------
    name
        Name of the tensor.
    channels, size
        Channels, and the side of the square. None is any side.
    channels_first
        Whether its shape is (batch, channels, height, width), else (batch, height, width, channels)
    half
        Whether it is float16.
    """

    name: str
    channels: int
    size: int | None
    channels_first: bool
    half: bool


@dataclass(frozen=True, slots=True)
class Inferred:
    """What is known of a graph's tensors before it runs.

    Attributes
    ----------
    types
        Name of the type of each tensor, such as ``FLOAT``.
    shapes
        Shape of each tensor whose sides are known.
    complete
        Whether all shapes are known.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    complete: bool = True


def find_input(file: OnnxFile) -> OnnxInput:
    """Find the one image that a network takes.

    Raises
    ------
    InputError
        If it takes anything else.
    """
    import onnx

    graph = file.model.graph
    weights = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(printable(each.name) for each in inputs[:6]) or "nothing"
        raise InputError(f"the network in {file.path} takes {names}, not one image", _HINT)
    (taken,) = inputs
    kind = taken.type.tensor_type
    # Some exporters write -1 for an open side.
    sides = [
        side.dim_value if side.HasField("dim_value") and side.dim_value >= 0 else None
        for side in kind.shape.dim
    ]
    shown = "x".join("?" if side is None else str(side) for side in sides) or "nothing known"
    elements = onnx.TensorProto.DataType
    if kind.elem_type not in (elements.FLOAT, elements.FLOAT16) or len(sides) != 4:
        raise InputError(
            f"the network in {file.path} takes {_type_name(kind.elem_type)} of shape {shown}, not "
            "one image of floats",
            _HINT,
        )
    batch, *image = sides
    if batch not in (None, 1):
        raise InputError(
            f"the network in {file.path} takes {batch} images at once",
            "Export it with a batch of any size, or of one.",
        )
    channels_first, channels = _layout(graph, taken.name, image)
    if channels is None:
        raise InputError(
            f"the network in {file.path} takes {shown}, in which no side is 1 or 3 channels",
            _HINT,
        )
    height, width = image[1:] if channels_first else image[:2]
    if height != width or not 1 <= (1 if height is None else height) <= LARGEST_INPUT:
        raise InputError(
            f"the network in {file.path} takes {height}x{width} pixels, and featx gives it a "
            f"square of {LARGEST_INPUT} at most",
            "Export it for squares.",
        )
    half = kind.elem_type == elements.FLOAT16
    return OnnxInput(taken.name, channels, height, channels_first, half)


def _layout(graph: Any, name: str, image: list[int | None]) -> tuple[bool, int | None]:
    """Say whether channels come first, and how many there are. None is unknown."""
    for side, first in ((image[0], True), (image[2], False)):
        if side in (1, 3):
            return first, side
    if image[0] is not None:
        return True, None
    # Hugging Face's exporter leaves all sides open. Convolutions take channels first.
    weights = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] == name and node.input[1] in weights:
            dims = list(weights[node.input[1]].dims)
            return True, dims[1] if len(dims) == 4 and dims[1] in (1, 3) else None
    return True, None


def choose_input_size(file: OnnxFile, taken: OnnxInput, asked: int | None, said: int | None) -> int:
    """Return the side of the input: the network's own, the user's, or the configuration's."""
    if taken.size is not None:
        if asked not in (None, taken.size):
            raise InputError(
                f"`input_size` {asked} doesn't suit the network in {file.path}, which takes "
                f"{taken.size}",
                "Leave `input_size` out.",
                parameter="input_size",
            )
        return taken.size
    if size := asked or said:
        return size
    raise InputError(
        f"the network in {file.path} takes images of any size, and nothing says which it was "
        "trained with",
        f"Give `input_size`, such as 224. featx's usual {DEFAULT_INPUT} suits few of them.",
        parameter="input_size",
    )


def fix_input(model: Any, taken: OnnxInput, size: int) -> None:
    """Let a model take one image of one size, so that its shapes are known."""
    image = [taken.channels, size, size] if taken.channels_first else [size, size, taken.channels]
    (value,) = (each for each in model.graph.input if each.name == taken.name)
    for side, number in zip(value.type.tensor_type.shape.dim, [1, *image], strict=True):
        side.dim_value = number
    # Other shapes were said for other sizes.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def infer(model: Any) -> Inferred:
    """Find out the types and shapes of a model's tensors, without running it."""
    import onnx

    skeleton = _without_large_weights(model)
    try:
        found = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    except Exception:  # noqa: BLE001  # of some operator: nothing is known then
        return Inferred(complete=False)
    types: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*found.input, *found.value_info, *found.output):
        tensor = value.type.tensor_type
        types[value.name] = _type_name(tensor.elem_type)
        sides = [side.dim_value if side.HasField("dim_value") else -1 for side in tensor.shape.dim]
        if tensor.HasField("shape") and min(sides, default=0) >= 0:
            shapes[value.name] = tuple(sides)
    names = {name for node in model.graph.node for name in node.output if name}
    return Inferred(types, shapes, complete=names <= shapes.keys())


def _without_large_weights(model: Any) -> Any:
    """Copy a model with inputs in place of weights that are no shapes."""
    import onnx

    graph = model.graph
    taken = {each.name for each in graph.input}
    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    skeleton.opset_import.extend(model.opset_import)
    copied = skeleton.graph
    copied.name = "skeleton"
    copied.node.extend(graph.node)
    copied.input.extend(graph.input)
    copied.output.extend(graph.output)
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= SMALL and tensor.data_location != tensor.EXTERNAL:
            copied.initializer.append(tensor)
        elif tensor.name not in taken:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            copied.input.append(value)
    return skeleton


def require_modest_tensors(file: OnnxFile, inferred: Inferred) -> None:
    """Refuse a network that would fill the memory, as far as its shapes are known."""
    graph = file.model.graph
    for name in (name for node in graph.node for name in node.output):
        if math.prod(shape := inferred.shapes.get(name, ())) > MAX_OUTPUT_SIZE:
            sides = "x".join(map(str, shape))
            raise InputError(
                f"{file.path} is refused as a backbone: its {printable(name)[:60]} makes {sides} "
                "numbers of one image",
                "Take a smaller `input_size` or another network.",
            )
    stored = (*graph.initializer, *constants_of(file.model))
    weights = sum(math.prod(each.dims) for each in stored)
    fixed, made = {each.name for each in graph.initializer}, 0
    for node in graph.node:
        if fixed.issuperset(name for name in node.input if name):
            fixed.update(node.output)
            made += sum(math.prod(inferred.shapes.get(name, ())) for name in node.output)
    if made > MAX_CONSTANTS + 2 * weights:
        raise InputError(
            f"{file.path} is refused as a backbone: it makes {made:,} numbers out of "
            f"{weights:,} weights before it sees an image",
            "Export it again.",
        )


def choose_outputs(
    file: OnnxFile, layer: str | Sequence[str] | None, inferred: Inferred
) -> tuple[str, ...]:
    """Return the names of the tensors that make an embedding.

    None is the output ``last_hidden_state``, or the first one of floats. Others are outputs or
    intermediate tensors, several with commas between them or in a list.
    """
    outputs = [each.name for each in file.model.graph.output]
    floats = [name for name in outputs if inferred.types.get(name, "FLOAT") in _FLOATS]
    if layer is None:
        if not floats:
            names = ", ".join(map(printable, outputs[:6]))
            raise InputError(f"no output of {file.path} is one of floats ({names})", _HINT)
        return (USUAL_OUTPUT if USUAL_OUTPUT in floats else floats[0],)
    tensors = {name for node in file.model.graph.node for name in node.output if name}
    wanted = tuple(layer)
    if isinstance(layer, str):
        wanted = (layer,) if layer in tensors else tuple(map(str.strip, layer.split(",")))
    for name in wanted:
        if name not in tensors:
            near = difflib.get_close_matches(name, sorted(tensors), n=3)
            listed = ", ".join(outputs[:6])
            raise InputError(
                f"the network in {file.path} has no output or tensor {name!r}",
                printable(
                    f"Did you mean {' or '.join(near)}?" if near else f"It has the outputs {listed}"
                ),
                parameter="layer",
            )
        if inferred.types.get(name, "FLOAT") not in _FLOATS:
            raise InputError(
                f"{name!r} of {file.path} is of type {inferred.types[name].lower()}, not of floats",
                f"It has the outputs {', '.join(map(printable, floats[:6]))}.",
                parameter="layer",
            )
    if len(wanted) > 1 and (unclear := [name for name in wanted if "," in name]):
        raise InputError(
            f"the output {unclear[0]!r} of {file.path} can't be one of several, because its name "
            "has a comma",
            "Choose it alone, or another one.",
            parameter="layer",
        )
    if len(set(wanted)) < len(wanted):
        raise InputError(f"`layer` names an output of {file.path} twice", parameter="layer")
    return wanted


_FLOATS = frozenset({"FLOAT", "FLOAT16", "DOUBLE"})


def give_only(model: Any, names: tuple[str, ...]) -> None:
    """Let a model give these tensors and no others, so that nothing else is computed."""
    import onnx

    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)


def patch_side(model: Any) -> int | None:
    """Return the side of the patches that a vision transformer divides an image into."""
    weights = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[1] not in weights:
            continue
        kernel = list(weights[node.input[1]].dims)[2:]
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
        if len(kernel) == 2 and kernel == strides and kernel[0] == kernel[1] > 1:
            return int(kernel[0])
        return None
    return None


def _type_name(element: int) -> str:
    import onnx

    known = onnx.TensorProto.DataType
    return str(known.Name(element)) if element in known.values() else "UNDEFINED"


def said_of_failure(error: Exception) -> str:
    """Return the first line of what a library says of a failure, shortened."""
    return printable(first_line(error))[:160]
