"""Cutting a network off at the layer, or layers, whose output is the embedding."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from featx.backbones._spec import EmbeddingPart
from featx.errors import InputError
from featx_cache._text import first_line


class Cut(NamedTuple):
    """A network up to one or several layers.

    Attributes
    ----------
    network
        Keras network whose outputs are those of the layers.
    outputs
        Names of the layers, and shapes of what they make of an image, in the order of the network.
    """

    network: Any
    outputs: tuple[EmbeddingPart, ...]


def cut_at(model: Any, layer: str | Sequence[str] | None, input_size: int) -> Cut:
    """Cut a network at a layer, or at several.

    None is the last layer before the top: the last whose output has rows and columns, else the last
    of all. A network inside the model counts as one layer.
    """
    known = [each.name for each in model.layers]
    names = _names(layer, known) or [_last_before_top(model)]
    for name in names:
        _require_layer(model, name, known)
    if repeated := [name for name in known if names.count(name) > 1]:
        raise InputError(
            f"`layer` names {repeated[0]} twice", "Name each layer once.", parameter="layer"
        )
    if len(names) > 1 and (unclear := [name for name in names if "," in name]):
        raise InputError(
            f"the layer {unclear[0]!r} can't be one of several: its name has a comma",
            "Choose it alone, or another one.",
            parameter="layer",
        )
    names.sort(key=known.index)
    network = _upto(model, names)
    try:
        shapes = network.compute_output_shape(
            (None, input_size, input_size, model.inputs[0].shape[-1])
        )
    except ValueError as error:
        reason = first_line(error)
        raise InputError(
            f"`input_size` {input_size} doesn't suit {model.name}: {reason}"
        ) from error
    outputs = zip(names, [shapes] if len(names) == 1 else shapes, strict=True)
    return Cut(network, tuple(_output(model, name, shape, known) for name, shape in outputs))


def _names(layer: str | Sequence[str] | None, known: list[str]) -> list[str]:
    """Read names with commas between them. A layer's own name may have commas, too."""
    if not layer or (isinstance(layer, str) and layer in known):
        return [layer] if isinstance(layer, str) and layer else []
    names = layer.split(",") if isinstance(layer, str) else list(layer)
    return [name.strip() for name in names] if len(names) > 1 else names


def _require_layer(model: Any, name: str, known: list[str]) -> None:
    if not name:
        raise InputError(
            "a name in `layer` is empty",
            "Write names with one comma between two of them: block4_pool,block5_pool.",
            parameter="layer",
        )
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"{model.name} has no layer {name!r}",
            f"Did you mean {' or '.join(near)}?" if near else f"Its last ones: {_some(known)}.",
        )


def _output(model: Any, name: str, shape: Any, known: list[str]) -> EmbeddingPart:
    if not isinstance(shape, tuple) or len(shape) < 2 or None in shape[1:]:
        raise InputError(
            f"the layer {name!r} of {model.name} gives {shape}, not one tensor of known shape",
            f"Choose another layer, such as one of {_some(known)}.",
        )
    return EmbeddingPart(name=name, shape=tuple(int(side) for side in shape[1:]))


def _last_before_top(model: Any) -> str:
    for layer in reversed(model.layers):
        if len(_output_shape(layer)) == 4:
            return str(layer.name)
    return str(model.layers[-1].name)


def _output_shape(layer: Any) -> tuple[int | None, ...]:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return ()
    return tuple(shape)


def _upto(model: Any, names: list[str]) -> Any:
    import keras

    # The whole model won't do for its last layer: its graph may go on behind that, and its inputs
    # and outputs may be dictionaries.
    layers = [model.get_layer(name) for name in names]
    if isinstance(model, keras.Sequential):
        return _beginning(model, layers)
    try:
        if any(hasattr(layer, "layers") for layer in layers):
            inputs, outputs = _called(model, layers)
        else:
            inputs, outputs = model.inputs, [layer.output for layer in layers]
        return keras.Model(inputs[0], _one_or_all(outputs), name=model.name)
    except (ValueError, AttributeError, KeyError) as error:
        shown = " or ".join(map(repr, names))
        raise InputError(
            f"the layer {shown} of {model.name} can't be an end of the network",
            "Choose another layer.",
        ) from error


def _one_or_all(outputs: list[Any]) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs


def _beginning(model: Any, layers: list[Any]) -> Any:
    """Return the layers of a Sequential up to the last of some."""
    import keras

    kept = model.layers[: model.layers.index(layers[-1]) + 1]
    start = keras.Input(model.inputs[0].shape[1:], dtype=model.inputs[0].dtype)
    if len(layers) == 1:
        return keras.Sequential([start, *kept], name=model.name)
    inner, outputs = start, []
    for layer in kept:
        inner = layer(inner)
        if layer in layers:
            outputs.append(inner)
    return keras.Model(start, outputs, name=model.name)


def _called(model: Any, wanted: list[Any]) -> tuple[Any, list[Any]]:
    """Return the inputs of a model, and what some of its layers make of them.

    The `output` of a network inside is that for its own inputs, so the outer graph is gone through
    once more, with the same layers, to see what comes out.
    """
    import keras

    found: dict[str, Any] = {}

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = layer(*arguments, **options)
        found.setdefault(layer.name, output)
        return output

    again = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call, recursive=False
    )
    return again.inputs, [found[layer.name] for layer in wanted]


def _some(names: list[str]) -> str:
    return ", ".join(names[-6:])
