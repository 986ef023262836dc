"""Running an ONNX network with onnxruntime: limited in memory, writing nothing, telling nobody."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from featx.backbones._device import cpu_threads
from featx.backbones._onnx_checks import OnnxFile
from featx.backbones._onnx_graph import Inferred, OnnxInput, said_of_failure
from featx.errors import InputError

MAX_MEMORY_SHARE = 0.5
"""Share of the machine's memory that a network may take."""

Run = Callable[[NDArray[Any]], list[NDArray[Any]]]
"""From the input of one image to the outputs."""


def start_session(file: OnnxFile, taken: OnnxInput, inferred: Inferred) -> Run:
    """Make a session of onnxruntime, which writes no files and tells nobody anything."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Fatal faults only. The others come as exceptions, and are told in one line.
    options.log_severity_level = 4
    for key, value in {
        # Threads that wait in a loop would take the processor from those that decode.
        "session.intra_op.allow_spinning": "0",
        "session.use_env_allocators": "1",
        "session.model_external_initializers_file_folder_path": str(file.path.parent),
    }.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(
            file.model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            # Constants of unknown size are made where the limit on memory holds.
            disabled_optimizers=[] if inferred.complete else ["ConstantFolding"],
        )
    except Exception as error:  # onnxruntime's errors have no common type
        raise InputError(
            f"onnxruntime can't load {file.path} ({said_of_failure(error)})",
            "Export it again, or install a newer onnxruntime.",
        ) from error
    return lambda image: list(session.run(None, {taken.name: image}))


def run_on_noise(file: OnnxFile, run: Run, taken: OnnxInput, size: int) -> list[NDArray[Any]]:
    """Run a network once on noise, and return its outputs."""
    shape = (size, size, taken.channels)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        found = run(as_taken(noise, taken))
    except Exception as error:  # onnxruntime's errors have no common type
        raise InputError(
            f"onnxruntime can't run {file.path} on {size}x{size} pixels ({said_of_failure(error)})",
            "Give the `input_size` that it was trained with, or export it again.",
        ) from error
    for array in found:
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise InputError(
                f"the network in {file.path} doesn't give floats", "Choose another `layer`."
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"the network in {file.path} gives values that aren't finite",
                "Its weights may be damaged: get it anew.",
            )
    return found


def as_taken(image: NDArray[np.float32], taken: OnnxInput) -> NDArray[Any]:
    """Give an image (size, size, channels) the shape and type of a network's input."""
    if taken.channels_first:
        image = image.transpose(2, 0, 1)
    return np.ascontiguousarray(image[np.newaxis], np.float16 if taken.half else np.float32)


@functools.cache
def _limit_memory() -> None:
    """Let networks take a part of the memory, so that a hostile one gets an error and no more."""
    import onnxruntime

    most = int(MAX_MEMORY_SHARE * psutil.virtual_memory().total)
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    # Memory in the steps in which it is needed, and not doubled each time.
    arena = onnxruntime.OrtArenaCfg({"max_mem": most, "arena_extend_strategy": 1})
    # The program around featx may have registered its own, which onnxruntime then keeps.
    with contextlib.suppress(Exception):
        onnxruntime.create_and_register_allocator(place, arena)
