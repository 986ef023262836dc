"""Cutting a network off at the layer whose output is the embedding."""

from __future__ import annotations

import difflib
from typing import Any

from featx.errors import InputError


def cut_at(model: Any, layer: str | None, input_size: int) -> tuple[Any, str, tuple[int, ...]]:
    """Return the network up to a layer, the layer's name, and the shape of an embedding.

    Parameters
    ----------
    model
        A Keras network of one image input.
    layer
        None is the last before the top: the last whose output has rows and columns, or the last
        of all in a network that has no such layer.
    input_size
        Side of the square input in pixels.

    Raises
    ------
    InputError
        For an unknown layer, or one without one output of known shape.
    """
    name = layer or _last_before_top(model)
    names = [each.name for each in model.layers]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        raise InputError(
            f"{model.name} has no layer {name!r}",
            f"Did you mean {' or '.join(near)}?" if near else f"Its last ones: {_some(names)}.",
        )
    network = model if name == names[-1] else _upto(model, name)
    channels = model.inputs[0].shape[-1]
    shape = network.compute_output_shape((None, input_size, input_size, channels))
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

    if isinstance(model, keras.Sequential):
        kept = []
        for layer in model.layers:
            kept.append(layer)
            if layer.name == name:
                break
        return keras.Sequential([keras.Input(model.inputs[0].shape[1:]), *kept], name=model.name)
    try:
        return keras.Model(model.inputs, model.get_layer(name).output, name=model.name)
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"the layer {name!r} of {model.name} can't be an end: it has several outputs, or is a "
            "model of its own",
            "Choose another layer.",
        ) from error


def _some(names: list[str]) -> str:
    return ", ".join(names[-6:])
