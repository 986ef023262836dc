"""The library that computes a network: the fastest that the hardware and the network allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from featx.backbones._forward import Network
from featx.backbones._ncnn import NcnnNetwork, is_installed
from featx.backbones._ncnn_layers import NotConvertibleError
from featx.backbones._parts import joined, part_slices
from featx.backbones._precision import PrecisionChoice, resolve_precision
from featx.backbones._spec import EmbeddingPart, Precision, Runtime
from featx.errors import InputError

RuntimeChoice = Literal["auto", "tensorflow", "ncnn"]

MAX_DIFFERENCE = 5e-4
"""Largest difference between runtimes that is allowed, as a share of the largest value. It is what
storing in float16 rounds each value by."""

SLOWER_IN_NCNN = frozenset({"nasnetlarge", "nasnetmobile"})
"""Networks that TensorFlow computes faster in float32; see ``docs/benchmarks.md``."""

_PROBE_SEED = 0


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Runtime and number format of a forward pass, and the reason for them in a few words."""

    runtime: Runtime
    precision: Precision
    reason: str


def resolve_runtime(
    choice: RuntimeChoice, precision: PrecisionChoice, device: str, name: str = ""
) -> Arithmetic:
    """Choose what computes a network on a device.

    ``auto`` takes TensorFlow on a GPU, in bfloat16 where the CPU is fast in it, and wherever
    another number format than float32 is asked for. Otherwise it takes ncnn, if it is installed.

    Raises
    ------
    InputError
        If ncnn is asked for and can't compute in that way, or isn't installed.
    """
    if choice == "ncnn":
        _require_ncnn(precision, device)
        return Arithmetic("ncnn", "float32", "as asked for")
    chosen, reason = resolve_precision(precision, device)
    tensorflow = Arithmetic("tensorflow", chosen, reason)
    if choice == "tensorflow" or device != "cpu" or chosen != "float32":
        return tensorflow
    if name in SLOWER_IN_NCNN:
        return Arithmetic("tensorflow", chosen, f"{reason}, and ncnn is slower for this network")
    if not is_installed():
        return Arithmetic("tensorflow", chosen, f"{reason}, and ncnn isn't installed")
    return Arithmetic("ncnn", "float32", reason)


def _require_ncnn(precision: PrecisionChoice, device: str) -> None:
    if device != "cpu":
        raise InputError(
            f"ncnn computes on the CPU, not on {device}",
            "Give `device` cpu, or `runtime` tensorflow.",
            parameter="runtime",
        )
    if precision not in ("auto", "float32"):
        raise InputError(
            f"ncnn computes in float32, not in {precision}",
            "Leave `precision` out, or give `runtime` tensorflow.",
            parameter="runtime",
        )
    if not is_installed():
        raise InputError(
            "ncnn, which is to compute the backbone, isn't installed",
            "Install it with `pip install ncnn`. Or give `runtime` tensorflow, which differs by "
            "less than 0.0005 of the largest value. A cache that ncnn began needs ncnn.",
            parameter="runtime",
        )


def convert_to_ncnn(
    model: Any,
    input_size: int,
    parts: tuple[EmbeddingPart, ...],
    preprocess: Callable[[Any], Any],
) -> Network:
    """Convert a Keras network in float32, and check on one drawn image that it computes the same.

    Parameters
    ----------
    model
        Network of one or several outputs.
    input_size
        Side of its square input in pixels.
    parts
        Parts of an embedding, if there are several outputs. Each has to agree.
    preprocess
        Preprocessing of a batch of tensors of values 0..255.

    Raises
    ------
    NotConvertibleError
        If ncnn can't compute it, or computes something else.
    """
    import keras

    network = NcnnNetwork(model, input_size, parts)
    shape = (1, input_size, input_size, int(model.inputs[0].shape[-1]))
    drawn = np.random.default_rng(_PROBE_SEED).uniform(0, 255, shape).astype(np.float32)
    image = keras.ops.convert_to_numpy(preprocess(keras.ops.convert_to_tensor(drawn)))
    outputs = model(image, training=False)
    expected, found = joined(outputs if parts else [outputs], parts), network(image)
    for where in part_slices([part.shape for part in parts]) or [slice(None)]:
        largest = np.abs(expected[:, where]).max() or 1.0
        difference = np.abs(found[:, where] - expected[:, where]).max() / largest
        if not difference <= MAX_DIFFERENCE:
            raise NotConvertibleError(
                f"ncnn's embeddings differ by {difference:.1g} of the largest"
            )
    return network
