"""Putting weights into a network: Keras's download, a file, or a seeded draw."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sys
import warnings
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.backbones._catalog import describe, describe_backbones
from featx.backbones._mini import MINI, MINI_FILE, load_mini
from featx.backbones._registry import Architecture, architectures
from featx.errors import InputError, WeightsError
from featx_cache._hdf5 import UNREADABLE_FILE_ERRORS, opened, require_own
from featx_cache._text import first_line
from featx_cache.files import is_there

WEIGHTS_DIR_VARIABLE = "FEATX_WEIGHTS_DIR"
MAX_CANDIDATES = 12
"""Most networks of Keras that a file is compared with, since some take a second to build."""

_OTHER_NUMBERS = re.compile(r"(^|/)(optimizer\w*|seed_generator)(/|$)")
"""Parts of a file that a network's number of parameters doesn't count."""


def build_network(network: Architecture, weights: str, input_size: int, seed: int) -> Any:
    """Build a network without its top, which takes (rows, input_size, input_size, 3), and fill it.

    `weights` is ``imagenet``, ``random``, or the path of a weights file (``.weights.h5``, ``.h5``).
    featx-mini's ``imagenet`` is the file that comes with featx.
    """
    if weights == "imagenet" and network.name == MINI:
        return load_mini(_build(network, None, input_size))
    if weights == "imagenet":
        local = _in_weights_folder(network.name)
        if local is None:
            return _download(network, input_size)
        weights = str(local)
    if weights == "random":
        model = _build(network, None, input_size)
        draw_weights(model, seed)
        return model
    path = Path(weights)
    if not is_there(path, file=True):
        raise InputError(
            f"there is no weights file {weights}",
            "Give `weights` a Keras weights file, imagenet or random.",
        )
    model = _build(network, None, input_size)
    try:
        with opened(path) as file:
            require_own(file)
        with warnings.catch_warnings():
            # Keras only warns of layers that the file doesn't fill. Here that is an error.
            warnings.filterwarnings("error", message=".*freshly-initialized.*")
            model.load_weights(path)
    except Exception as error:
        what = f"the weights in {path} don't fit {network.name} without its top"
        owner = network_of(path, like=network.name)
        if owner not in (None, network.name):
            raise WeightsError(
                f"{what}: they are those of {owner}",
                f"Give `backbone` {owner}, or the weights of {network.name}.",
            ) from error
        raise WeightsError(
            f"{what} ({first_line(error)[:160]})",
            "Give the weights of that network, saved with include_top=False.",
        ) from error
    return model


def network_of(path: Path, like: str = "") -> str | None:
    """Find the network whose weights without the top a file holds, by their number.

    The file is compared with networks whose names are like `like`, or are in the file's name. None
    says that it fits none of them, or can't be read.
    """
    sizes: list[int] = []

    def count(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and not _OTHER_NUMBERS.search(name):
            sizes.append(math.prod(entry.shape))

    try:
        with opened(path) as file:
            require_own(file)
            file.visititems(count)
    except UNREADABLE_FILE_ERRORS:
        return None
    if not sizes:
        return None

    def likeness(name: str) -> float:
        return (name in path.name.lower()) + SequenceMatcher(a=like, b=name).ratio()

    names = sorted(architectures(), key=likeness, reverse=True)[:MAX_CANDIDATES]
    return next((e.name for e in describe_backbones(names) if e.parameters == sum(sizes)), None)


def weights_sha256(model: Any) -> str:
    """Hash a model's weights: names, shapes and float32 values in the order of layers.

    The same values have the same hash, whatever file they came from.
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        values = np.ascontiguousarray(np.asarray(variable.numpy(), np.float32))
        digest.update(f"{variable.name}{values.shape}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def draw_weights(model: Any, seed: int) -> None:
    """Fill a network's kernels from a seed (Glorot and Bengio 2010).

    Not by seeding Keras: its initializers take their seeds from Python's global generator, which
    other threads, such as those of a Dask worker, draw from too.
    """
    import keras

    seeds = np.random.SeedSequence(seed).generate_state(len(model.weights))
    for variable, own in zip(model.weights, seeds.tolist(), strict=True):
        if len(variable.shape) > 1:
            variable.assign(keras.initializers.GlorotUniform(own)(variable.shape))


def _build(network: Architecture, weights: str | None, input_size: int) -> Any:
    shape = (input_size, input_size, 3)
    try:
        return network.build(weights=weights, include_top=False, input_shape=shape)
    except ValueError as error:
        if not (problem := describe(network, input_size).problem):
            raise
        raise InputError(
            f"`input_size` {input_size} doesn't suit {network.name}: {problem}",
            parameter="input_size",
        ) from error


def _download(network: Architecture, input_size: int) -> Any:
    try:
        # Keras reports its download on standard output, which belongs to the results.
        with contextlib.redirect_stdout(sys.stderr):
            return _build(network, "imagenet", input_size)
    except InputError:
        raise
    except Exception as error:
        # Keras: "URL fetch failure on ADDRESS: CODE -- REASON".
        reason = first_line(error).rsplit(" -- ")[-1][:160]
        raise WeightsError(
            f"the ImageNet weights of {network.name} can't be downloaded ({reason})",
            "Give `weights` a file or random (untrained), put the file into the folder that "
            f"{WEIGHTS_DIR_VARIABLE} names, or extract with `backbone` {MINI}, whose weights come "
            "with featx.",
        ) from error


def has_imagenet_weights(name: str) -> bool:
    """Say whether ImageNet weights of a network, or featx-mini's own, are on this machine."""
    if name == MINI:
        return MINI_FILE.is_file()
    if _in_weights_folder(name) is not None:
        return True
    return any(keras_models_folder().glob(f"{name}_weights_*notop*.h5"))


def keras_models_folder() -> Path:
    """Return the folder where Keras puts the weights that it downloads, and looks for them."""
    if own := os.environ.get("KERAS_HOME"):
        return Path(own, "models")
    # Not Path.home(), which raises an error if there is no home folder, as in some containers.
    home = os.path.expanduser("~")  # noqa: PTH111
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras", "models")


def _in_weights_folder(name: str) -> Path | None:
    """Find a network's weights without top in the user's own weights folder."""
    folder = os.environ.get(WEIGHTS_DIR_VARIABLE)
    if not folder:
        return None
    found = [
        path
        for path in sorted(Path(folder).glob("*.h5"))
        if path.name.lower().startswith((f"{name}_", f"{name}.")) and "notop" in path.name.lower()
    ]
    return found[0] if found else None
