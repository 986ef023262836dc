"""Cutting a network off at the layer whose output is the embedding."""

from __future__ import annotations

import difflib
from typing import Any

from featx.errors import InputError
from featx_cache._text import first_line


def cut_at(model: Any, layer: str | None, input_size: int) -> tuple[Any, str, tuple[int, ...]]:
    """Return the network up to a layer, the layer's name, and the shape of an embedding.

    None is the last layer before the top: the last whose output has rows and columns, else the last
    of all. A network inside the model counts as one layer.
    """
    name = layer or _last_before_top(model)
    names = [each.name for each in model.layers]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        raise InputError(
            f"{model.name} has no layer {name!r}",
            f"Did you mean {' or '.join(near)}?" if near else f"Its last ones: {_some(names)}.",
        )
    network = _upto(model, name)
    try:
        shape = network.compute_output_shape(
            (None, input_size, input_size, model.inputs[0].shape[-1])
        )
    except ValueError as error:
        reason = first_line(error)
        raise InputError(
            f"`input_size` {input_size} doesn't suit {model.name}: {reason}"
        ) from error
    if not isinstance(shape, tuple) or len(shape) < 2 or None in shape[1:]:
        raise InputError(
            f"the layer {name!r} of {model.name} gives {shape}, not one tensor of known shape",
            f"Choose another layer, such as one of {_some(names)}.",
        )
    return network, name, tuple(int(side) for side in shape[1:])


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


def _upto(model: Any, name: str) -> Any:
    import keras

    # The whole model won't do for its last layer: its graph may go on behind that, and its inputs
    # and outputs may be dictionaries.
    layer = model.get_layer(name)
    if isinstance(model, keras.Sequential):
        kept = model.layers[: model.layers.index(layer) + 1]
        start = keras.Input(model.inputs[0].shape[1:], dtype=model.inputs[0].dtype)
        return keras.Sequential([start, *kept], name=model.name)
    try:
        inputs, output = (
            _called(model, layer) if hasattr(layer, "layers") else (model.inputs, layer.output)
        )
        return keras.Model(inputs[0], output, name=model.name)
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"the layer {name!r} of {model.name} can't be an end of the network",
            "Choose another layer.",
        ) from error


def _called(model: Any, wanted: Any) -> tuple[Any, Any]:
    """Return the inputs of a model, and what a network inside it makes of them.

    The `output` of an inner network is that for its own inputs, so the outer graph is gone through
    once more, with the same layers, to see what comes out.
    """
    import keras

    found = []

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        output = layer(*arguments, **options)
        if layer is wanted:
            found.append(output)
        return output

    again = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call, recursive=False
    )
    return again.inputs, found[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[-6:])
