"""A saved Keras model as a backbone: loaded without running foreign code."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any

from featx._archives import require_modest
from featx.backbones._layer_numbers import fresh_layer_numbers
from featx.backbones._spec import DEFAULT_INPUT, Precision
from featx.errors import InputError

SUFFIX = ".keras"
MAX_OUTPUT_SIZE = 2**28
"""Most numbers that a layer may make of one image: a gigabyte in float32, and four times as many as
the first layers of a VGG make of 1024 pixels."""
_WEIGHTS, _SPARE_NUMBERS = "model.weights.", 4096
_TRAINING = frozenset({"compile_config"})
_OTHER_KEYS = _TRAINING | {"build_config", "shared_object_id"}
"""Keys about training, and addresses in memory."""
_HINT = "Save a Keras model of one image input with model.save('FILE.keras')."


def load_saved(path: Path, precision: Precision) -> Any:
    """Load a ``.keras`` file in safe mode, to compute in `precision`.

    Quantized layers keep their own arithmetic, whatever the precision.
    """
    import keras

    if not path.is_file():
        raise InputError(f"there is no saved model {path}", "Check the path given to `backbone`.")
    try:
        model = load_safely(path)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path} can't be loaded as a safe Keras model ({reason})", _HINT) from (
            error
        )
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] not in (1, 3):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs) or "nothing known"
        raise InputError(f"the model in {path} takes {shapes}, not one image", _HINT)
    # float32 too: the model may have been saved under another policy.
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    _compute_in(model, keras.DTypePolicy(policy))
    return model


def load_safely(path: Path) -> Any:
    """Load a ``.keras`` file from elsewhere, which may try to do harm.

    Keras's safe mode refuses code. What it doesn't look at is refused here: archives and networks
    that would fill the memory, and names of members that lead out of the archive.
    """
    import keras

    require_modest(path)
    _require_room(path)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _require_room(path: Path) -> None:
    """Refuse a network with more weights than the file has bytes for, or with huge outputs.

    It is built without making its variables, so that their number is known before they are made.
    """
    import keras

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        stored = sum(i.file_size for i in archive.infolist() if i.filename.startswith(_WEIGHTS))
    with fresh_layer_numbers(), keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(_without(_TRAINING, config), safe_mode=True)
        numbers = sum(math.prod(variable.shape) for variable in model.variables)
        if numbers > stored + _SPARE_NUMBERS:
            raise ValueError(f"it has {numbers} weights, and {stored} bytes of them are stored")
        for layer in getattr(model, "layers", ()):
            for output in keras.tree.flatten(getattr(layer, "output", ())):
                if math.prod(side or 1 for side in output.shape[1:]) > MAX_OUTPUT_SIZE:
                    raise ValueError(f"its layer {layer.name} makes {output.shape} of an image")


def saved_input_size(model: Any, asked: int | None, path: Path) -> int:
    """Return the side of the square that a saved model takes."""
    height, width = model.inputs[0].shape[1:3]
    if height != width:
        raise InputError(f"the model in {path} takes {height}x{width} pixels, not a square", _HINT)
    if height is None:
        return asked or DEFAULT_INPUT
    if asked not in (None, height):
        raise InputError(
            f"`input_size` {asked} doesn't suit the model in {path}, which takes {height}",
            "Leave `input_size` out.",
        )
    return int(height)


def architecture_sha256(path: Path) -> str:
    """Hash a saved model's layers and how they are connected: what its weights mean.

    The file's own description is hashed, not the loaded model's, which another Keras release or
    another precision would describe in other words.
    """
    with zipfile.ZipFile(path) as archive:
        config = _without(_OTHER_KEYS, json.loads(archive.read("config.json")))
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _without(keys: frozenset[str], config: Any) -> Any:
    """Leave keys out of a description, wherever they are."""
    if isinstance(config, list):
        return [_without(keys, each) for each in config]
    if isinstance(config, dict):
        return {key: _without(keys, each) for key, each in config.items() if key not in keys}
    return config


def _compute_in(model: Any, policy: Any) -> None:
    """Give a model and everything in it another number format for its arithmetic."""
    # Not `model.layers`: attention, wrappers and recurrent layers have layers inside as well.
    for layer in model._flatten_layers():
        # Without its own policy a quantized layer would take its integers for the weights.
        if layer.quantization_mode is None:
            layer.dtype_policy = policy
