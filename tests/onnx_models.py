"""Small ONNX networks of seeded weights: a convolutional one and a vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8
Sides = Sequence[int | str | None]


class Graph:
    """A graph that grows by one operator at a time."""

    def __init__(self, seed: int = 0, dtype: Any = np.float32) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.dtype = dtype
        self._random = np.random.default_rng(seed)

    def drawn(self, *shape: int) -> str:
        """Add weights, and return their name."""
        scale = 1 / np.sqrt(max(1, int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]))
        return self.constant(self._random.normal(0, scale, shape).astype(self.dtype))

    def constant(self, values: NDArray[Any]) -> str:
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator, and return the name of its output."""
        output = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [output], **attributes))
        return output

    def model(self, taken: Sides, given: dict[str, Sides], name: str = "network") -> Any:
        """Return the model whose input `pixels` has the shape `taken`."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        described = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("pixels", kind, taken)],
            [helper.make_tensor_value_info(each, kind, shape) for each, shape in given.items()],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(described, opset_imports=opsets, ir_version=IR)


def cnn(
    layout: str = "NCHW",
    *,
    size: int | str | None = 32,
    channels: int = 3,
    batch: int | str | None = "batch",
    width: int = 8,
    dtype: Any = np.float32,
    seed: int = 0,
) -> Any:
    """A convolutional network: ``grid`` of a quarter of the size, and ``vector`` of 2 `width`."""
    graph = Graph(seed, dtype)
    first = "pixels"
    if layout == "NHWC":
        first = graph.add("Transpose", first, perm=[0, 3, 1, 2])
    pads = [1, 1, 1, 1]
    inner = graph.add("Conv", first, graph.drawn(width, channels, 3, 3), pads=pads)
    inner = graph.add("Relu", inner, name="inner")
    inner = graph.add("MaxPool", inner, kernel_shape=[2, 2], strides=[2, 2])
    inner = graph.add("Conv", inner, graph.drawn(2 * width, width, 3, 3), pads=pads)
    side = size // 4 if isinstance(size, int) else None
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    if layout == "NHWC":
        inner = graph.add("MaxPool", inner, **pool)
        graph.add("Transpose", inner, name="grid", perm=[0, 2, 3, 1])
        graph.add("ReduceMean", "grid", name="vector", axes=[1, 2], keepdims=0)
        taken, grid = [batch, size, size, channels], [batch, side, side, 2 * width]
    else:
        graph.add("MaxPool", inner, name="grid", **pool)
        graph.add("ReduceMean", "grid", name="vector", axes=[2, 3], keepdims=0)
        taken, grid = [batch, channels, size, size], [batch, 2 * width, side, side]
    return graph.model(taken, {"grid": grid, "vector": [batch, 2 * width]})


def vit(
    *,
    size: int | str | None = 32,
    patch: int = 8,
    width: int = 16,
    heads: int = 2,
    blocks: int = 2,
    registers: int = 0,
    cls: bool = True,
    batch: int | str | None = "batch",
    channels: int | str | None = 3,
    seed: int = 0,
) -> Any:
    """A vision transformer: ``last_hidden_state`` of all tokens and ``pooler_output`` of one."""
    graph = Graph(seed)

    def number(*values: int) -> str:
        return graph.constant(np.array(values, np.int64))

    patches = graph.add(
        "Conv", "pixels", graph.drawn(width, 3, patch, patch), strides=[patch, patch]
    )
    flat = graph.add("Reshape", patches, number(0, width, -1))
    tokens = graph.add("Transpose", flat, perm=[0, 2, 1])
    own = int(cls) + registers
    if own:
        rows = graph.add("Shape", tokens, start=0, end=1)
        shape = graph.add("Concat", rows, number(own), number(width), axis=0)
        first = graph.add("Expand", graph.drawn(1, own, width), shape)
        tokens = graph.add("Concat", first, tokens, axis=1)
    if isinstance(size, int):
        tokens = graph.add("Add", tokens, graph.drawn(1, own + (size // patch) ** 2, width))
    for _ in range(blocks):
        tokens = _block(graph, tokens, width, heads)
    graph.add("Identity", tokens, name="last_hidden_state")
    first = graph.add("Gather", "last_hidden_state", graph.constant(np.array(0, np.int64)), axis=1)
    graph.add("Tanh", graph.add("MatMul", first, graph.drawn(width, width)), name="pooler_output")
    given: dict[str, Sides] = {
        # The order in which Hugging Face's exporter would name them, turned round.
        "pooler_output": [batch, width],
        "last_hidden_state": [batch, "tokens", width],
    }
    return graph.model([batch, channels, size, size], given, "main_graph")


def _block(graph: Graph, tokens: str, width: int, heads: int) -> str:
    """Add self-attention and a multi-layer perceptron, each after a layer normalization."""
    inner = _normalized(graph, tokens, width)
    depth = width // heads
    shape = graph.constant(np.array([0, 0, heads, depth], np.int64))

    def projected(perm: list[int]) -> str:
        flat = graph.add("MatMul", inner, graph.drawn(width, width))
        return graph.add("Transpose", graph.add("Reshape", flat, shape), perm=perm)

    query, key, value = projected([0, 2, 1, 3]), projected([0, 2, 3, 1]), projected([0, 2, 1, 3])
    scale = graph.constant(np.array(1 / np.sqrt(depth), np.float32))
    logits = graph.add("Mul", graph.add("MatMul", query, key), scale)
    mixed = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), value)
    mixed = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = graph.add("Reshape", mixed, graph.constant(np.array([0, 0, width], np.int64)))
    tokens = graph.add("Add", tokens, graph.add("MatMul", mixed, graph.drawn(width, width)))
    inner = graph.add("MatMul", _normalized(graph, tokens, width), graph.drawn(width, 2 * width))
    inner = graph.add("MatMul", graph.add("Relu", inner), graph.drawn(2 * width, width))
    return graph.add("Add", tokens, inner)


def _normalized(graph: Graph, tokens: str, width: int) -> str:
    ones = graph.constant(np.ones(width, np.float32))
    zeros = graph.constant(np.zeros(width, np.float32))
    return graph.add("LayerNormalization", tokens, ones, zeros, axis=-1)


def written(model: Any, path: Path) -> Path:
    """Write a model without looking at it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def outputs(model: Any, *names: str, **given: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a model in onnxruntime, as any program would."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run([*names], given))


__all__ = ["TensorProto", "cnn", "onnx", "outputs", "vit", "written"]
