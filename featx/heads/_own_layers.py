"""A network of the user's own: layers from a file or a Keras Sequential, without code in them."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from featx.backbones._layer_numbers import fresh_layer_numbers
from featx.backbones._parts import Shape
from featx.backbones._settings import own_keras_settings
from featx.errors import InputError
from featx.heads._network_builder import NetworkBuilder
from featx_cache._text import first_line

FORBIDDEN_LAYERS = (
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "InputLayer",
)
"""Layers that may hold code or other models, or that featx adds itself."""

MAX_CONFIG_BYTES = 2**16
"""Largest head config. PyYAML reads as many bytes in a second."""
MAX_CONFIG_VALUES = 10_000
"""Largest number of values in a head config. Each use of an alias counts."""

MAX_WEIGHTS, MAX_OUTPUT = 2**27, 2**22
"""Largest number of weights in a head, and of outputs of a layer for one image. Each is half a
gigabyte in float32, the outputs in a batch of 32."""

BUILD_ERRORS = (TypeError, ValueError, LookupError, AttributeError, NotImplementedError)
"""Errors that Keras raises if a layer's settings are wrong or missing."""


def read_head_config(path: Path) -> dict[str, Any]:
    """Read the settings of a head from a YAML file."""
    if not path.is_file():
        raise InputError(f"there is no head config {path}", "Give `head_config` a YAML file.")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise InputError(f"{path} is too large for a head config", "docs/heads.md shows one.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        _count(content, {})
    except Exception as error:  # PyYAML makes dates and numbers, which have errors of their own
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(
            f"{path}{line} is not YAML ({problem.splitlines()[0][:200]})",
            "docs/heads.md shows one.",
        ) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(
            f"{path} is not a mapping of settings",
            "It begins like `epochs: 20`. See docs/heads.md.",
        )
    if content.get("layers") is not None:
        content["layers"] = _normal(content["layers"], path)
    return content


def _count(value: Any, counted: dict[int, int]) -> int:
    """Count values, each time that an alias stands for them: few lines can stand for billions."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = MAX_CONFIG_VALUES  # for an alias within what it stands for
        inside = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(each, counted) for each in inside)
        if counted[id(value)] > MAX_CONFIG_VALUES:
            raise ValueError("its aliases stand for too much")
    return counted[id(value)]


def layers_of(network: Any) -> tuple[dict[str, Any], ...]:
    """Describe the layers of a Keras Sequential, as `KerasSettings.layers` takes them.

    Weights aren't described: each fit draws its own.
    """
    found = [
        {"class_name": type(layer).__name__, "config": _without_names(layer.get_config())}
        for layer in network.layers
        if type(layer).__name__ != "InputLayer"
    ]
    check_layers(found)
    return tuple(found)


@own_keras_settings()
def check_layers(described: Sequence[Mapping[str, Any]]) -> None:
    """Refuse layers that Keras doesn't have or that could run code."""
    import keras

    known = [
        name
        for name, layer in vars(keras.layers).items()
        if isinstance(layer, type)
        and issubclass(layer, keras.layers.Layer)
        and name not in FORBIDDEN_LAYERS
    ]
    if not described:
        raise InputError("a head of your own has no layers", "See docs/heads.md for an example.")
    for number, layer in enumerate(described, start=1):
        name = str(layer.get("class_name"))
        if name in known:
            continue
        if name in FORBIDDEN_LAYERS:
            raise InputError(
                f"layer {number} of the head is a {name}, which may hold code",
                "Heads are made of Keras's own layers.",
            )
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"layer {number} of the head is unknown to Keras: {name!r}",
            f"Did you mean {near[0]}?" if near else "Names are those of keras.layers.",
        )


def build_layers(
    described: Sequence[Mapping[str, Any]],
    embedding_shape: Shape,
    seeds: Iterator[int],
    parts: tuple[Shape, ...] = (),
) -> Any:
    """Build a network of the user's layers, seeded, with one sigmoid at its end."""
    import keras

    check_layers(described)
    trial, seeds = itertools.tee(seeds)
    with fresh_layer_numbers(), keras.StatelessScope(initialize_variables=False):
        _add_layers(described, NetworkBuilder(embedding_shape, parts), trial, modest=True)
    builder = NetworkBuilder(embedding_shape, parts)
    network = _add_layers(described, builder, seeds)
    last = network.layers[-1]
    shape = network.output_shape
    if len(shape) != 2:
        raise InputError(
            f"the head's last layer has outputs of shape {shape[1:]}",
            "Pool or flatten before the end: one number an image is wanted.",
        )
    ends = isinstance(last, keras.layers.Dense) and last.units == 1
    if ends and last.activation is keras.activations.sigmoid:
        return network
    start = keras.initializers.GlorotUniform(next(seeds))
    builder.add(
        keras.layers.Dense(1, activation="sigmoid", kernel_initializer=start, dtype="float32")
    )
    return builder.network()


def _add_layers(
    described: Sequence[Mapping[str, Any]],
    builder: NetworkBuilder,
    seeds: Iterator[int],
    *,
    modest: bool = False,
) -> Any:
    """Build a network of just these layers. `modest` checks the size after each."""
    import keras

    with _python_random_unchanged():
        for number, layer in enumerate(described, start=1):
            name, config = str(layer["class_name"]), dict(layer.get("config") or {})
            kind = getattr(keras.layers, name)
            ends = number == len(described) and name == "Dense" and config.get("units") == 1
            precision = {"dtype": "float32"} if ends else {}
            try:
                # Twice: the first one tells the defaults, among them seeds that would be drawn.
                complete = kind.from_config(_without_names(config)).get_config()
                builder.add(kind.from_config(_seeded(_without_names(complete), seeds) | precision))
                if modest:
                    _require_modest(builder.network())
            except BUILD_ERRORS as error:
                raise InputError(
                    f"layer {number} of the head ({name}) can't be built: "
                    f"{first_line(error)[:200]}",
                    "Its settings are the arguments of Keras's layer of that name.",
                ) from error
    return builder.network()


def _require_modest(network: Any) -> None:
    """Refuse a network that would fill the memory before its variables are made."""
    weights = sum(math.prod(variable.shape) for variable in network.variables)
    output = math.prod(side or 1 for side in network.output_shape[1:])
    if weights > MAX_WEIGHTS or output > MAX_OUTPUT:
        raise ValueError(f"that makes {weights:,} weights, and {output:,} numbers of an image")


def _normal(layers: Any, path: Path) -> tuple[dict[str, Any], ...]:
    """Turn ``Dense: {units: 64}``, ``Flatten`` and the long form into the long form."""
    if not isinstance(layers, list) or not layers:
        raise InputError(f"{path}: layers is not a list", "See docs/heads.md for an example.")
    normal = []
    for number, layer in enumerate(layers, start=1):
        if isinstance(layer, str):
            layer = {layer: {}}
        if isinstance(layer, dict) and "class_name" in layer:
            layer = {str(layer["class_name"]): layer.get("config")}
        if not isinstance(layer, dict) or len(layer) != 1:
            raise InputError(
                f"{path}: layer {number} is not of the form `Dense: {{units: 64}}`",
                "See docs/heads.md for an example.",
            )
        ((name, config),) = layer.items()
        if not isinstance(config or {}, dict):
            raise InputError(
                f"{path}: the settings of layer {number} ({name}) are not a mapping",
                "Write them like `Dense: {units: 64, activation: relu}`.",
            )
        normal.append({"class_name": str(name), "config": dict(config or {})})
    return tuple(normal)


def _without_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what belongs to one network: names and precision."""
    return {k: v for k, v in config.items() if k not in ("name", "dtype", "trainable")}


def _seeded(config: Any, seeds: Iterator[int]) -> Any:
    """Give a number to every seed that is None."""
    if isinstance(config, dict):
        return {
            k: next(seeds) if k == "seed" and v is None else _seeded(v, seeds)
            for k, v in config.items()
        }
    return [_seeded(item, seeds) for item in config] if isinstance(config, list) else config


@contextlib.contextmanager
def _python_random_unchanged() -> Iterator[None]:
    """Restore Python's global generator, from which Keras draws missing seeds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
