"""A saved Keras model as a backbone: loaded without running foreign code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from featx.backbones.spec import DEFAULT_INPUT, Precision
from featx.errors import InputError

SUFFIX = ".keras"
_HINT = "Save a Keras model of one image input with model.save('FILE.keras')."


def load_saved(path: Path, precision: Precision) -> Any:
    """Load a ``.keras`` file in safe mode, to compute in `precision`.

    Raises
    ------
    InputError
        When the file is missing, damaged, unsafe (a Lambda layer, an unknown class), or the model
        doesn't take one image of 1 or 3 channels.
    """
    import keras

    if not path.is_file():
        raise InputError(f"there is no saved model {path}", "Check the path given to --backbone.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path} can't be loaded as a safe Keras model ({reason})", _HINT) from (
            error
        )
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] not in (1, 3):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs) or "nothing known"
        raise InputError(f"the model in {path} takes {shapes}, not one image", _HINT)
    if precision != "float32":
        _compute_in(model, keras.DTypePolicy(f"mixed_{precision}"))
    return model


def saved_input_size(model: Any, asked: int | None, path: Path) -> int:
    """Return the side of the square that a saved model takes.

    Raises
    ------
    InputError
        When the model takes something else than what was asked for, or no square.
    """
    height, width = model.inputs[0].shape[1:3]
    if height != width:
        raise InputError(f"the model in {path} takes {height}x{width} pixels, not a square", _HINT)
    if height is None:
        return asked or DEFAULT_INPUT
    if asked not in (None, height):
        raise InputError(
            f"--input-size {asked} doesn't suit the model in {path}, which takes {height}",
            "Leave --input-size out.",
        )
    return int(height)


def architecture_sha256(model: Any) -> str:
    """Hash a model's layers and how they are connected: what its weights mean."""
    config = json.dumps(model.get_config(), sort_keys=True, default=str)
    return hashlib.sha256(config.encode()).hexdigest()


def _compute_in(model: Any, policy: Any) -> None:
    """Give a model and everything in it another number format for its arithmetic."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _compute_in(layer, policy)
        layer.dtype_policy = policy
    model.dtype_policy = policy
