"""A Keras network in the runtime ncnn, whose convolutions need fewer multiplications.

TensorFlow computes a 3x3 convolution as it is written down. ncnn uses Winograd's algorithm (Lavin
and Gray 2016), which makes VGG's two to three times faster on a CPU, in float32. The network is
handed over in memory: there is no file of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones._device import cpu_threads
from featx.backbones._ncnn_layers import Blob, NotConvertibleError, Shape, Step, Steps
from featx.backbones._parts import joined
from featx.backbones._spec import EmbeddingPart
from featx.errors import OutOfMemoryError

_MAGIC = 7767517
_ARRAY = -23300
_FLOAT32_TAG = b"\0\0\0\0"
_TAGGED = frozenset({"Convolution", "ConvolutionDepthWise", "InnerProduct"})
_FUSED = {"ReLU": 1, "Clip": 3, "Sigmoid": 4, "HardSwish": 6}
_LEAKY_RELU = 2


def is_installed() -> bool:
    """Say whether ncnn can be imported."""
    try:
        import ncnn  # noqa: F401
    except ImportError:
        return False
    return True


class NcnnNetwork:
    """A network that ncnn computes: an image a thread, as many at once as there are cores.

    An embedding's bits depend neither on the other images of a batch nor on the number of threads.
    Threads that share an image wait for one another at each layer, which takes ten times as long
    when another process uses a core.

    Parameters
    ----------
    model
        Keras network in float32 of one input, (rows, size, size, channels), and one or several
        outputs.
    input_size
        Side of its square input in pixels.
    parts
        Parts of an embedding, if there are several outputs.

    Raises
    ------
    NotConvertibleError
        If it has a layer that ncnn doesn't have.
    """

    depends_on_batch = False

    def __init__(self, model: Any, input_size: int, parts: tuple[EmbeddingPart, ...] = ()) -> None:
        import ncnn

        self._parts = parts
        steps, outputs = _steps_of(model, input_size)
        self._outputs = outputs
        self._net = ncnn.Net()
        option = self._net.opt
        option.num_threads = 1
        option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = False
        option.use_bf16_packed = option.use_bf16_storage = False
        text, weights = _written(steps, [blob.name for blob in outputs])
        if self._net.load_param_mem(text):
            raise NotConvertibleError("ncnn can't load it")
        self._net.load_model_mem(weights)
        self._pool = ThreadPoolExecutor(cpu_threads(), thread_name_prefix="ncnn")

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn inputs (rows, size, size, channels) into embeddings (rows, *embedding_shape)."""
        results = [np.empty((len(images), *blob.shape), np.float32) for blob in self._outputs]

        def compute(row: int) -> None:
            for result, output in zip(results, self._compute(images[row]), strict=True):
                result[row] = output

        for _ in self._pool.map(compute, range(len(images))):
            pass
        return joined(results, self._parts)

    def _compute(self, image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        import ncnn

        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        extractor = self._net.create_extractor()
        # A copy that is ncnn's own: a layer that works in place crashes on memory that isn't.
        extractor.input("in", ncnn.Mat(channels_first).clone())
        for number, blob in enumerate(self._outputs):
            status, found = extractor.extract(f"out{number}")
            if status:
                raise OutOfMemoryError(
                    "a forward pass is too much for the memory", "Use a smaller `input_size`."
                )
            values = np.asarray(found)
            yield values.transpose(1, 2, 0) if len(blob.shape) == 3 else values


def _steps_of(model: Any, input_size: int) -> tuple[Steps, list[Blob]]:
    """Convert a network, and return its steps and outputs."""
    steps = Steps()
    shape = (input_size, input_size, int(model.inputs[0].shape[-1]))
    outputs = _walk(model, Blob("in", shape), steps)
    if any(len(blob.shape) not in (1, 3) for blob in outputs):
        raise NotConvertibleError(f"its outputs are {[blob.shape for blob in outputs]}")
    _fold_scales(steps, {blob.name for blob in outputs})
    _fold_activations(steps, {blob.name for blob in outputs})
    return steps, outputs


def _walk(model: Any, start: Blob, steps: Steps) -> list[Blob]:
    """Go through a network's calls of layers in their order."""
    import keras

    if not isinstance(model, keras.Sequential) and not _is_functional(model):
        raise NotConvertibleError(f"{model.name} is a {type(model).__name__}")
    blobs: dict[int, Blob] = {}
    kept = []

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        tensors = keras.tree.flatten(arguments)
        if any(id(tensor) not in blobs for tensor in tensors):
            raise NotConvertibleError(f"{layer.name} takes a constant")
        inputs = [blobs[id(tensor)] for tensor in tensors]
        output = layer(*arguments, **options)
        if hasattr(layer, "layers"):
            found = _walk(layer, inputs[0], steps)
        else:
            found = [steps.convert(layer, inputs, _shape(output))]
        for tensor, blob in zip(keras.tree.flatten(output), found, strict=True):
            blobs[id(tensor)] = blob
            kept.append(tensor)  # an id is a tensor's only as long as it lives
        return output

    first = keras.Input(start.shape)
    blobs[id(first)] = start
    if isinstance(model, keras.Sequential):
        tensor = first
        for layer in model.layers:
            tensor = call(layer, tensor)
        return [blobs[id(tensor)]]
    if len(model.inputs) != 1:
        raise NotConvertibleError(f"{model.name} has {len(model.inputs)} inputs")
    given = keras.tree.pack_sequence_as(model.input, [first])
    again = keras.models.clone_model(
        model,
        input_tensors=given,
        clone_function=lambda layer: layer,
        call_function=call,
        recursive=False,
    )
    return [blobs[id(tensor)] for tensor in again.outputs]


def _is_functional(model: Any) -> bool:
    import keras

    return isinstance(model, keras.Model) and hasattr(model, "operations")


def _shape(tensor: Any) -> Shape:
    shape = getattr(tensor, "shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        raise NotConvertibleError(f"a layer gives {shape}")
    return tuple(int(side) for side in shape[1:])


def _followers(steps: Steps, outputs: set[str]) -> Callable[[Step], Step | None]:
    """Return a function that finds the only step that takes another's output."""
    users: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.inputs:
            users.setdefault(name, []).append(step)

    def follower(step: Step) -> Step | None:
        found = users.get(step.output, [])
        return found[0] if len(found) == 1 and step.output not in outputs else None

    return follower


def _fold_scales(steps: Steps, outputs: set[str]) -> None:
    """Multiply the scale behind a convolution, such as a batch normalization, into its weights."""
    follower = _followers(steps, outputs)
    for step in [step for step in steps if step.is_convolution]:
        scale = follower(step)
        if scale is None or scale.kind != "Scale":
            continue
        factor, offset = scale.weights
        kernel, bias = step.weights
        step.weights = [kernel * factor[:, None, None, None], bias * factor + offset]
        step.output = scale.output
        steps.remove(scale)


def _fold_activations(steps: Steps, outputs: set[str]) -> None:
    """Let a convolution do the activation behind it."""
    follower = _followers(steps, outputs)
    for step in [step for step in steps if step.is_convolution]:
        activation = follower(step)
        if activation is None or activation.kind not in _FUSED:
            continue
        numbers = tuple(float(value) for value in activation.parameters.values())  # type: ignore[arg-type]
        leaky = activation.kind == "ReLU" and any(numbers)
        step.parameters[9] = _LEAKY_RELU if leaky else _FUSED[activation.kind]
        if numbers:
            step.parameters[10] = numbers
        step.output = activation.output
        steps.remove(activation)


def _written(steps: Steps, outputs: Sequence[str]) -> tuple[str, bytes]:
    """Write ncnn's text of the layers, and the bytes of their weights.

    A blob has one user in ncnn. What several use is split before.
    """
    left = Counter(name for step in steps for name in step.inputs)
    left.update(outputs)
    copies = {name: iter(range(count)) for name, count in left.items() if count > 1}
    lines = ["Input in 0 1 in"]

    def split(name: str) -> None:
        if name in copies:
            parts = " ".join(f"{name}_{number}" for number in range(left[name]))
            lines.append(f"Split split_{name} 1 {left[name]} {name} {parts}")

    def use(name: str) -> str:
        return f"{name}_{next(copies[name])}" if name in copies else name

    split("in")
    for number, step in enumerate(steps):
        inputs = " ".join(map(use, step.inputs))
        numbers = " ".join(_parameter(*item) for item in step.parameters.items())
        lines.append(
            f"{step.kind} s{number} {len(step.inputs)} 1 {inputs} {step.output} {numbers}".rstrip()
        )
        split(step.output)
    lines += [f"Noop o{number} 1 1 {use(name)} out{number}" for number, name in enumerate(outputs)]
    blobs = sum(int(line.split()[3]) for line in lines)
    text = "\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines, ""])
    return text, b"".join(
        (_FLOAT32_TAG if position == 0 and step.kind in _TAGGED else b"")
        + np.ascontiguousarray(weights, np.float32).tobytes()
        for step in steps
        for position, weights in enumerate(step.weights)
    )


def _parameter(number: int, value: Any) -> str:
    if isinstance(value, tuple):
        return f"{_ARRAY - number}={','.join(map(_number, [len(value), *value]))}"
    return f"{number}={_number(value)}"


def _number(value: float) -> str:
    return f"{value:.9e}" if isinstance(value, float) else str(value)
