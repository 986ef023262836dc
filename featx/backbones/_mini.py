"""featx-mini, the small network that comes with featx, and its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from featx.errors import WeightsError

MINI = "featx-mini"
MINI_FILE = Path(__file__).with_name("featx_mini.weights.h5")
MINI_SHA256 = "b6b630755a5e0acea22488921cb4fac9800359f9f27dc64b96ab348b1745e7d9"
"""SHA-256 of the weights file. `featx distill` made it: see ``docs/featx-mini.md``."""

MINI_INPUT = 32
"""Smallest side of an image in pixels. It is halved five times, as in VGG."""
LAST_WEIGHTS = "block5_conv"
"""Name of the last layer that has weights."""

_WIDTHS = (16, 32, 96, 160)
_DEEP_BLOCKS = 3


def build_mini(
    *,
    include_top: bool = False,  # noqa: ARG001
    weights: None = None,  # noqa: ARG001
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    channels: int = 512,
) -> Any:
    """Build the network, with the arguments of the functions of ``keras.applications``.

    It takes one channel of 0..255, whatever `input_shape` says about channels, and makes a grid of
    the same size as VGG's ``block5_pool``: an image of 300 pixels becomes (9, 9, channels).

    Raises
    ------
    ValueError
        If the image is too small, as the functions of ``keras.applications`` do.
    """
    import keras

    if any(side is not None and side < MINI_INPUT for side in input_shape[:2]):
        raise ValueError(f"Input size must be at least {MINI_INPUT}x{MINI_INPUT}")
    layers = keras.layers

    def convolve(x: Any, width: int, *, name: str, halve: bool = False) -> Any:
        # Halving rounds down, as VGG's pooling does, so that the grids have equal sizes.
        if halve:
            x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            width,
            4 if halve else 3,
            strides=2 if halve else 1,
            padding="valid" if halve else "same",
            use_bias=False,
            name=f"{name}_conv",
        )(x)
        return layers.BatchNormalization(momentum=0.98, name=f"{name}_bn")(x)

    def step(x: Any, width: int, *, name: str, halve: bool = False) -> Any:
        return layers.ReLU(name=f"{name}_relu")(convolve(x, width, name=name, halve=halve))

    def residual(x: Any, width: int, *, name: str) -> Any:
        added = layers.Add(name=f"{name}_add")([x, convolve(x, width, name=name)])
        return layers.ReLU(name=f"{name}_relu")(added)

    first, second, third, fourth = _WIDTHS
    image = layers.Input((*input_shape[:2], 1), name="image")
    x = layers.Rescaling(1 / 64, -2, name="rescaling")(image)
    x = step(x, first, name="block1", halve=True)
    x = step(x, second, name="block2", halve=True)
    x = residual(x, second, name="block2_res")
    x = layers.MaxPooling2D(name="block2_pool")(x)
    x = step(x, third, name="block3")
    x = residual(x, third, name="block3_res")
    x = layers.MaxPooling2D(name="block3_pool")(x)
    x = step(x, fourth, name="block4")
    for number in range(1, _DEEP_BLOCKS + 1):
        x = residual(x, fourth, name=f"block4_res{number}")
    x = layers.Conv2D(channels, 1, name=LAST_WEIGHTS)(x)
    x = layers.ReLU(name="block5_relu")(x)
    x = layers.MaxPooling2D(name="block5_pool")(x)
    return keras.Model(image, x, name=MINI)


def load_mini(model: Any) -> Any:
    """Fill the network with the weights that come with featx, and return it.

    Raises
    ------
    WeightsError
        If their file is missing or isn't the one that featx came with.
    """
    require_mini_weights()
    model.load_weights(MINI_FILE)
    return model


def require_mini_weights() -> None:
    """Refuse a file of weights that is missing or isn't the one that featx came with."""
    again = "Install featx again: `pip uninstall featx`, then `pip install featx`."
    try:
        with MINI_FILE.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights of {MINI} are missing: {MINI_FILE}", again) from error
    if digest != MINI_SHA256:
        raise WeightsError(f"the weights of {MINI} in {MINI_FILE} are damaged", again)
