"""``featx doctor``: whether this machine is ready."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

import typer

from featx_cli.console import output
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx doctor"
PACKAGES = (
    "tensorflow",
    "keras",
    "ncnn",
    "scikit-learn",
    "numpy",
    "h5py",
    "optuna",
    "pillow",
    "skops",
)


def doctor() -> None:
    """Check this machine: Python, packages, processor, memory, disk, pretrained weights.

    The exit code is 1 if something that featx needs is missing.
    """
    table = plain_table("featx doctor", ("check", "found", ""), words=(0, 1, 2))
    checks = [_python(), *map(_package, PACKAGES), _onnx(), _processor(), _memory(), _disk()]
    checks += [_temporary_folder(), _mini(), *map(_weights, ("vgg19", "vgg16"))]
    for name, found, verdict in checks:
        table.add_row(name, found, verdict)
    output().print(table)
    if any(verdict == "missing" for _, _, verdict in checks):
        raise typer.Exit(1)


def _python() -> tuple[str, str, str]:
    return "Python", platform.python_version(), "ok" if sys.version_info >= (3, 11) else "missing"


def _package(name: str) -> tuple[str, str, str]:
    import importlib.metadata

    try:
        return name, importlib.metadata.version(name), "ok"
    except importlib.metadata.PackageNotFoundError:
        return name, "not installed", "missing"


def _onnx() -> tuple[str, str, str]:
    name, found, verdict = _package("onnxruntime")
    return name, found, "for ONNX networks: featx[onnx]" if verdict == "missing" else verdict


def _processor() -> tuple[str, str, str]:
    from featx.backbones._device import resolve_device
    from featx.backbones._runtime import resolve_runtime
    from featx.backbones._spec import RUNTIME_NAMES

    try:
        import_quietly()
        found = resolve_runtime("auto", "auto", resolve_device("auto"))
    except ImportError:
        return "forward pass", "TensorFlow can't be imported", "missing"
    return (
        f"forward pass ({os.cpu_count()} CPUs)",
        f"{found.precision} by {RUNTIME_NAMES[found.runtime]}: {found.reason}",
        "ok",
    )


def _memory() -> tuple[str, str, str]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return "memory", f"{total:.1f} GiB", "ok" if total >= 4 else "little: use a smaller batch size"


def _disk() -> tuple[str, str, str]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return "disk free here", f"{free:.1f} GiB", "ok" if free >= 5 else "little for embeddings"


def _temporary_folder() -> tuple[str, str, str]:
    try:
        with tempfile.NamedTemporaryFile():
            return "temporary folder", tempfile.gettempdir(), "ok"
    except OSError:
        return "temporary folder", "can't be written", "missing"


def _mini() -> tuple[str, str, str]:
    from featx.backbones._mini import MINI, require_mini_weights
    from featx.errors import WeightsError

    name = f"{MINI} weights"
    try:
        require_mini_weights()
    except WeightsError:
        return name, "not here or damaged", "install featx again"
    return name, "come with featx", "ok"


def _weights(name: str) -> tuple[str, str, str]:
    from featx.backbones._weights import has_imagenet_weights

    if has_imagenet_weights(name):
        return f"{name} ImageNet weights", "on this machine", "ok"
    return f"{name} ImageNet weights", "not here yet", "Keras downloads them at first use"
