"""Device of the forward pass: the CPU or one GPU."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import joblib

from featx.errors import InputError


def gpu_count() -> int:
    """Count the GPUs that TensorFlow can use from this process."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def resolve_device(choice: str) -> str:
    """Return ``cpu`` or ``gpu:N``, and let TensorFlow take a GPU's memory bit by bit.

    ``auto`` is the first GPU if there is one.
    """
    if choice == "cpu":
        return "cpu"
    found = re.fullmatch(r"gpu:(\d+)", choice)
    if found is None and choice != "auto":
        raise InputError(f"there is no device {choice!r}", "Give auto, cpu, or gpu:N, as in gpu:0.")
    number, count = int(found.group(1)) if found else 0, gpu_count()
    if found is None and count == 0:
        return "cpu"
    if number >= count:
        seen = {0: "no GPU", 1: "one GPU, gpu:0"}.get(count, f"{count} GPUs, gpu:0 and up")
        raise InputError(f"there is no {choice}: TensorFlow sees {seen}", "Use `device` cpu.")
    _grow_memory()
    return f"gpu:{number}"


def cpu_threads() -> int:
    """Return the number of threads of a runtime on the CPU: one a core, or what was set."""
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        asked = os.environ.get(variable, "")
        if asked.isdecimal() and int(asked) > 0:
            return int(asked)
    return int(joblib.cpu_count())


def placement(device: str) -> Any:
    """Return the context in which networks are built, and run, on a device."""
    import tensorflow as tf

    kind, _, number = device.partition(":")
    return tf.device(f"/{kind.upper()}:{number or 0}")


def capability(device: str) -> tuple[int, int] | None:
    """Return a GPU's compute capability. None for the CPU, or if it isn't known."""
    import tensorflow as tf

    if device == "cpu":
        return None
    gpu = tf.config.list_physical_devices("GPU")[int(device.removeprefix("gpu:"))]
    details = tf.config.experimental.get_device_details(gpu)
    found = details.get("compute_capability")
    return (int(found[0]), int(found[1])) if found else None


def _grow_memory() -> None:
    """Let TensorFlow take a GPU's memory as it needs it, and not all of it at once."""
    import tensorflow as tf

    # All of them: TensorFlow refuses to start where GPUs that it sees differ in this.
    for gpu in tf.config.list_physical_devices("GPU"):
        # Too late once something ran in this process, which then holds its memory already.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
