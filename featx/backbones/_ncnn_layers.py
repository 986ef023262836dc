"""The layers of a Keras network as those of ncnn, with weights in ncnn's order.

An image is (rows, columns, channels) in Keras and (channels, rows, columns) in ncnn. The numbers
of parameters are those of ncnn's operators (docs/developer-guide/operators.md in its repository).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Shape = tuple[int, ...]
Values = int | float | tuple[int, ...] | tuple[float, ...]

_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
_MAXIMUM, _MEAN = 0, 1
_VALID = 1
_ADD, _MULTIPLY = 0, 2
_CHANNELS_LAST, _CHANNELS_FIRST = 3, 4
_ACTIVATIONS: dict[str, tuple[str, dict[int, Values]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: 0.0, 1: 6.0}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("Swish", {}),
    "tanh": ("TanH", {}),
    "gelu": ("GELU", {}),
    "hard_sigmoid": ("HardSigmoid", {0: 1 / 6, 1: 0.5}),
    "hard_silu": ("HardSwish", {0: 1 / 6, 1: 0.5}),
}


class NotConvertibleError(Exception):
    """A network does something that ncnn can't. The message says what, in a few words."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What flows from layer to layer: its name, and its shape in Keras for one image."""

    name: str
    shape: Shape


@dataclass(slots=True)
class Step:
    """A layer of ncnn: its kind, numbered parameters, weights, inputs and output."""

    kind: str
    inputs: list[str]
    output: str
    parameters: dict[int, Values] = field(default_factory=dict)
    weights: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def is_convolution(self) -> bool:
        """Whether it has a kernel, outputs first, and a bias."""
        return self.kind in _CONVOLUTIONS


class Steps(list[Step]):
    """The layers of ncnn in their order."""

    def add(
        self,
        kind: str,
        inputs: Sequence[Blob],
        shape: Shape,
        parameters: dict[int, Values] | None = None,
        weights: Sequence[ArrayLike] = (),
    ) -> Blob:
        """Add a layer, and return its output."""
        output = Blob(f"b{len(self)}", shape)
        arrays = [np.asarray(array, np.float64) for array in weights]
        self.append(Step(kind, [b.name for b in inputs], output.name, parameters or {}, arrays))
        return output

    def convert(self, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
        """Add what a Keras layer does, whose output has a shape, and return its output.

        Raises
        ------
        NotConvertibleError
            If there is no way.
        """
        convert = _CONVERSIONS.get(type(layer).__name__)
        if convert is None or not type(layer).__module__.startswith("keras."):
            raise NotConvertibleError(f"ncnn has no {type(layer).__name__}")
        if getattr(layer, "quantization_mode", None) is not None:
            raise NotConvertibleError(f"{layer.name} is quantized")
        if getattr(layer, "data_format", None) == "channels_first":
            raise NotConvertibleError(f"{layer.name} has channels first")
        return convert(self, layer, inputs, shape)

    def activate(self, activation: Any, blob: Blob) -> Blob:
        """Add an activation function of Keras."""
        name = str(getattr(activation, "__name__", activation))
        if not str(getattr(activation, "__module__", "")).startswith("keras."):
            raise NotConvertibleError(f"{name} isn't a function of Keras")
        if name == "linear":
            return blob
        if name not in _ACTIVATIONS:
            raise NotConvertibleError(f"ncnn has no {name}")
        kind, parameters = _ACTIVATIONS[name]
        return self.add(kind, [blob], blob.shape, dict(parameters))

    def scale(self, blob: Blob, scale: ArrayLike, offset: ArrayLike) -> Blob:
        """Multiply the channels by numbers, and add others."""
        channels = blob.shape[-1]
        numbers = [np.squeeze(each) for each in (scale, offset)]
        if any(each.shape not in ((), (channels,)) for each in numbers):
            raise NotConvertibleError("it scales by numbers that aren't one a channel")
        weights = [np.broadcast_to(each, channels) for each in numbers]
        return self.add("Scale", [blob], blob.shape, {0: channels, 1: 1}, weights)

    def convolve(
        self,
        blob: Blob,
        shape: Shape,
        kernel: NDArray[np.floating],
        bias: Any,
        *,
        groups: int = 1,
        layer: Any = None,
    ) -> Blob:
        """Convolve with a kernel (outputs, inputs of a group, height, width), as a layer says."""
        outputs, _, height, width = kernel.shape
        if layer is not None and layer.padding not in ("same", "valid"):
            raise NotConvertibleError(f"{layer.name} has the padding {layer.padding}")
        strides, spread = (1, 1), (1, 1)
        if layer is not None:
            strides, spread = tuple(layer.strides), tuple(layer.dilation_rate)
        parameters: dict[int, Values] = {
            **{0: outputs, 1: width, 11: height, 2: spread[1], 12: spread[0]},
            **{3: strides[1], 13: strides[0], 5: 1, 6: kernel.size},
        }
        if layer is not None and layer.padding == "same":
            # In numbers: ncnn's own "same" is negative, and crashes, if a stride is long.
            top, bottom = _padding(blob.shape[0], (height - 1) * spread[0] + 1, strides[0])
            left, right = _padding(blob.shape[1], (width - 1) * spread[1] + 1, strides[1])
            parameters |= {4: left, 14: top, 15: right, 16: bottom}
        if groups > 1:
            parameters[7] = groups
        bias = np.zeros(outputs) if bias is None else bias
        return self.add(_CONVOLUTIONS[groups > 1], [blob], shape, parameters, [kernel, bias])


def _convolution(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    kernel = np.asarray(layer.kernel).transpose(3, 2, 0, 1)
    bias = layer.bias if layer.use_bias else None
    blob = steps.convolve(inputs[0], shape, kernel, bias, groups=layer.groups, layer=layer)
    return steps.activate(layer.activation, blob)


def _by_channel(kernel: Any) -> NDArray[np.floating]:
    """Turn a kernel (height, width, channels, outputs of a channel) into one of ncnn."""
    height, width, channels, outputs = kernel.shape
    return np.asarray(kernel).transpose(2, 3, 0, 1).reshape(channels * outputs, 1, height, width)


def _depthwise(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    kernel = _by_channel(layer.kernel)
    groups = inputs[0].shape[-1]
    bias = layer.bias if layer.use_bias else None
    blob = steps.convolve(inputs[0], shape, kernel, bias, groups=groups, layer=layer)
    return steps.activate(layer.activation, blob)


def _separable(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    kernel, groups = _by_channel(layer.depthwise_kernel), inputs[0].shape[-1]
    between = (*shape[:2], len(kernel))
    blob = steps.convolve(inputs[0], between, kernel, None, groups=groups, layer=layer)
    pointwise = np.asarray(layer.pointwise_kernel).transpose(3, 2, 0, 1)
    blob = steps.convolve(blob, shape, pointwise, layer.bias if layer.use_bias else None)
    return steps.activate(layer.activation, blob)


def _dense(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    kernel = np.asarray(layer.kernel).T
    bias = layer.bias if layer.use_bias else np.zeros(len(kernel))
    if len(shape) == 3:
        blob = steps.convolve(inputs[0], shape, kernel[:, :, None, None], bias)
    elif len(shape) == 1:
        parameters: dict[int, Values] = {0: len(kernel), 1: 1, 2: kernel.size}
        blob = steps.add("InnerProduct", inputs, shape, parameters, [kernel, bias])
    else:
        raise NotConvertibleError(f"{layer.name} takes {inputs[0].shape}")
    return steps.activate(layer.activation, blob)


def _batch_normalization(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    _require_channels(layer, shape)
    mean, variance = (
        np.asarray(each, np.float64) for each in (layer.moving_mean, layer.moving_variance)
    )
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    scale = scale * np.asarray(layer.gamma) if layer.scale else scale
    offset = np.asarray(layer.beta) if layer.center else 0.0
    return steps.scale(inputs[0], scale, offset - mean * scale)


def _layer_normalization(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    _require_channels(layer, shape)
    if getattr(layer, "rms_scaling", False):
        raise NotConvertibleError(f"{layer.name} scales by the root mean square")
    channels = shape[-1]
    gamma = layer.gamma if layer.scale else np.ones(channels)
    beta = layer.beta if layer.center else np.zeros(channels)
    blob = inputs[0]
    if len(shape) == 3:
        blob = steps.add("Permute", [blob], shape, {0: _CHANNELS_LAST})
    parameters: dict[int, Values] = {0: channels, 1: float(layer.epsilon), 2: 1}
    blob = steps.add("LayerNorm", [blob], shape, parameters, [gamma, beta])
    return steps.add("Permute", [blob], shape, {0: _CHANNELS_FIRST}) if len(shape) == 3 else blob


def _normalization(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    _require_channels(layer, shape)
    if layer.invert:
        raise NotConvertibleError(f"{layer.name} is inverted")
    mean = np.asarray(layer.mean, np.float64)
    scale = 1.0 / np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), 1e-7)
    return steps.scale(inputs[0], scale, -mean * scale)


def _pooling(kind: int) -> Conversion:
    def convert(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
        (height, width), (down, right) = layer.pool_size, layer.strides
        parameters: dict[int, Values] = {
            **{0: kind, 1: width, 11: height, 2: right, 12: down},
            5: _VALID,
        }
        if layer.padding == "same":
            # In numbers: with ncnn's own "same" a mean counts the padding, too.
            rows, columns, _ = inputs[0].shape
            top, bottom = _padding(rows, height, down)
            left, after = _padding(columns, width, right)
            parameters |= {3: left, 14: after, 13: top, 15: bottom}
        return steps.add("Pooling", inputs, shape, parameters)

    return convert


def _padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after that TensorFlow's ``same`` stands for."""
    both = max((-(-length // stride) - 1) * stride + size - length, 0)
    return both // 2, both - both // 2


def _global_pooling(kind: int) -> Conversion:
    def convert(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
        channels = (shape[-1],)
        blob = steps.add("Pooling", inputs, channels, {0: kind, 4: 1})
        return _reshaped(steps, blob, shape) if layer.keepdims else blob

    return convert


def _reshaped(steps: Steps, blob: Blob, shape: Shape) -> Blob:
    """Reshape, which ncnn does to channels that come first."""
    vector = max(blob.shape) == np.prod(blob.shape)
    if len(shape) == 3 and vector and shape[:2] == (1, 1):
        return steps.add("Reshape", [blob], shape, {0: 1, 1: 1, 2: shape[2]})
    if len(shape) != 1:
        raise NotConvertibleError(f"it reshapes {blob.shape} to {shape}")
    if not vector:
        blob = steps.add("Permute", [blob], blob.shape, {0: _CHANNELS_LAST})
    return steps.add("Reshape", [blob], shape, {0: shape[0]})


def _relu(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    if getattr(layer, "threshold", 0.0):
        raise NotConvertibleError(f"{layer.name} has a threshold")
    slope, largest = float(layer.negative_slope or 0.0), getattr(layer, "max_value", None)
    if largest is None:
        return steps.add("ReLU", inputs, shape, {0: slope})
    if slope:
        raise NotConvertibleError(f"{layer.name} has a slope and a largest value")
    return steps.add("Clip", inputs, shape, {0: 0.0, 1: float(largest)})


def _elementwise(kind: int) -> Conversion:
    def convert(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
        whole = [blob.shape == shape for blob in inputs]
        by_channel = [blob.shape == (1, 1, shape[-1]) for blob in inputs]
        if not all(a or b for a, b in zip(whole, by_channel, strict=True)) or not whole[0]:
            raise NotConvertibleError(f"{layer.name} joins {[blob.shape for blob in inputs]}")
        blob = inputs[0]
        for other in inputs[1:]:
            blob = steps.add("BinaryOp", [blob, other], shape, {0: kind})
        return blob

    return convert


def _concatenation(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    if layer.axis not in (-1, len(shape)):
        raise NotConvertibleError(f"{layer.name} joins along axis {layer.axis}")
    return steps.add("Concat", inputs, shape, {0: 0})


def _zero_padding(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    (top, bottom), (left, right) = layer.padding
    return steps.add("Padding", inputs, shape, {0: top, 1: bottom, 2: left, 3: right})


def _cropping(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    (top, _), (left, _) = layer.cropping
    ends = (top + shape[0], left + shape[1])
    return steps.add("Crop", inputs, shape, {9: (top, left), 10: ends, 11: (1, 2)})


def _scaled_sum(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:
    scaled = steps.scale(inputs[1], float(layer.scale), 0.0)
    return steps.add("BinaryOp", [inputs[0], scaled], shape, {0: _ADD})


def _require_channels(layer: Any, shape: Shape) -> None:
    """Refuse a layer that works along other axes than the channels."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if list(axes) not in ([-1], [len(shape)]):
        raise NotConvertibleError(f"{layer.name} works along the axes {list(axes)}")


Conversion = Callable[[Steps, Any, list[Blob], Shape], Blob]


def _same(steps: Steps, layer: Any, inputs: list[Blob], shape: Shape) -> Blob:  # noqa: ARG001
    return inputs[0]


_CONVERSIONS: dict[str, Conversion] = {
    "Activation": lambda steps, layer, inputs, _: steps.activate(layer.activation, inputs[0]),
    "Add": _elementwise(_ADD),
    "AveragePooling2D": _pooling(_MEAN),
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenation,
    "Conv2D": _convolution,
    "Cropping2D": _cropping,
    "CustomScaleLayer": _scaled_sum,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": lambda steps, _, inputs, shape: _reshaped(steps, inputs[0], shape),
    "GlobalAveragePooling2D": _global_pooling(_MEAN),
    "GlobalMaxPooling2D": _global_pooling(_MAXIMUM),
    "InputLayer": _same,
    "LayerNormalization": _layer_normalization,
    "LayerScale": lambda steps, layer, inputs, _: steps.scale(inputs[0], layer.gamma, 0.0),
    "LeakyReLU": _relu,
    "MaxPooling2D": _pooling(_MAXIMUM),
    "Multiply": _elementwise(_MULTIPLY),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": lambda steps, layer, inputs, _: steps.scale(inputs[0], layer.scale, layer.offset),
    "Reshape": lambda steps, _, inputs, shape: _reshaped(steps, inputs[0], shape),
    "SeparableConv2D": _separable,
    "SpatialDropout2D": _same,
    "ZeroPadding2D": _zero_padding,
}
