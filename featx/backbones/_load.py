"""Loading a backbone: by its name, from a file, or as another process did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from featx._memory_limit import NETWORK_BYTES, require_address_space
from featx.backbones._backbone import Backbone
from featx.backbones._device import placement, resolve_device
from featx.backbones._embedding_layer import cut_at
from featx.backbones._forward import ForwardPass
from featx.backbones._layer_numbers import fresh_layer_numbers
from featx.backbones._mini import MINI
from featx.backbones._ncnn_layers import NotConvertibleError
from featx.backbones._onnx_network import OnnxOptions, is_onnx, load_onnx
from featx.backbones._parts import join_outputs
from featx.backbones._precision import PrecisionChoice
from featx.backbones._registry import architecture
from featx.backbones._runtime import (
    Arithmetic,
    RuntimeChoice,
    convert_to_ncnn,
    resolve_runtime,
)
from featx.backbones._saved import SUFFIX, architecture_sha256, load_saved, saved_input_size
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import (
    DEFAULT_INPUT,
    LARGEST_INPUT,
    BackboneRecipe,
    BackboneSpec,
    PoolExtra,
    Precision,
    Preprocess,
    Tokens,
)
from featx.backbones._standardization import load_standardization
from featx.backbones._weights import build_network, weights_sha256
from featx.errors import InputError


@own_keras_settings()
def load_backbone(  # noqa: PLR0913
    name: str = "vgg19",
    *,
    weights: str = "imagenet",
    input_size: int | None = None,
    preprocess: Preprocess | None = None,
    precision: PrecisionChoice = "auto",
    seed: int = 0,
    layer: str | Sequence[str] | None = None,
    pool_extra: PoolExtra = "none",
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
    tokens: Tokens | None = None,
) -> Backbone:
    """Build a frozen backbone: a network by its name, a saved model, or an ONNX file.

    Parameters
    ----------
    name
        Name of a network, such as ``vgg19`` or ``resnet50``, or ``featx-mini``, which comes with
        featx and is fast, for trying things: see `list_backbones`. Or the path of a ``.keras``
        file, which is loaded without running foreign code. Or the path of an ``.onnx`` file, or of
        a folder with ``model.onnx`` and ``preprocessor_config.json``, which is looked through
        before it runs.
    weights
        ``imagenet`` (Keras's download, or a file in the folder named by ``FEATX_WEIGHTS_DIR``),
        ``random`` (seeded, untrained), or the path of a weights file. ``imagenet`` of
        ``featx-mini`` is its own file, which comes with featx: it learned from VGG16 with ImageNet
        weights. A saved model has its own.
    input_size
        Side of the square input in pixels. None is 300, or what a saved model takes.
    preprocess
        ``imagenet`` is the network's own ``preprocess_input``, and for an ``.onnx`` file the mean
        and standard deviation of torchvision. ``rescale`` divides by 255, as the study did.
        ``none`` leaves 0..255, as does ``imagenet`` of ``featx-mini``, which refuses ``rescale``.
        None is ``imagenet``, ``none`` for a saved model, and what its configuration says for a
        folder. An ``.onnx`` file alone needs one.
    precision
        Number format of the forward pass. ``auto`` takes the fastest of the hardware: bfloat16,
        float16 or float32. An ONNX network has its own.
    seed
        Seed of random weights.
    layer
        Name of the layer whose output is the embedding. None is the last before the top. Several
        names, with commas between them or in a list, make embeddings of several layers in one
        pass: vectors, in which the deepest layer comes first, then the others in the order of the
        network. See `split_parts`. For an ONNX network it is an output or any tensor in it, and
        None is ``last_hidden_state`` or the first output. Of several, the first grid comes first.
    pool_extra
        What is kept of each layer but the deepest. ``none`` keeps its whole grid, ``pyramid`` ten
        vectors: the average of the grid, and those of 3x3 regions.
    device
        ``auto`` (the first GPU if there is one), ``cpu`` or ``gpu:N``. An ONNX network runs on the
        processor.
    runtime
        Library that computes the network: ``tensorflow`` or ``ncnn``. ``auto`` takes ncnn on a CPU
        without bfloat16 arithmetic, if it can compute the network. Embeddings differ by less than
        0.0005 of the largest value, and only equal runtimes fill a cache together. An ONNX network
        is ONNX Runtime's.
    tokens
        What to take of an ONNX network's output of tokens: ``patches`` as a grid, the vector
        ``cls``, or ``both``. None is ``patches``.

    Raises
    ------
    InputError, WeightsError
        If the name, layer or device is unknown, the network can't take the input size, the runtime
        can't compute it, a weights file is missing or doesn't fit, a saved model or ONNX file is
        refused, a download fails, or there are no extra layers to pool.
    OutOfMemoryError
        If a limit allows the process too little memory.

    Examples
    --------
    >>> import featx
    >>> featx.load_backbone("vgg19")  # doctest: +SKIP
    Backbone(vgg19 at 300x300, embedding 9x9x512 from block5_pool, float32 by ncnn on cpu)
    >>> featx.load_backbone("resnet50", input_size=224, weights="random")  # doctest: +SKIP
    Backbone(resnet50 with random weights at 224x224, embedding 7x7x2048 from ...)
    >>> layers = "block4_pool,block5_pool"
    >>> featx.load_backbone("vgg16", layer=layers, pool_extra="pyramid")  # doctest: +SKIP
    Backbone(vgg16 at 300x300, embedding 46,592 from block5_pool 9x9x512 + block4_pool 10x512, ...)
    """
    if input_size is not None and not 1 <= input_size <= LARGEST_INPUT:
        raise InputError(f"`input_size` {input_size} is not between 1 and {LARGEST_INPUT} pixels")
    require_address_space(NETWORK_BYTES)
    if is_onnx(name):
        return _of_onnx(
            name,
            OnnxOptions(
                weights=weights,
                input_size=input_size,
                preprocess=preprocess,
                precision=precision,
                layer=layer,
                device=device,
                tokens=tokens,
                pool_extra=pool_extra,
                runtime=runtime,
            ),
        )
    if tokens is not None:
        raise InputError(
            f"`tokens` {tokens} is for ONNX networks", "Leave it out.", parameter="tokens"
        )
    saved = Path(name).expanduser().resolve() if name.endswith(SUFFIX) else None
    where = resolve_device("cpu" if runtime == "ncnn" and device == "auto" else device)
    known = "" if saved else architecture(name).name
    if known == MINI and preprocess == "rescale":
        raise InputError(
            f"`preprocess` rescale makes values 0..1, and {MINI} takes 0..255",
            "Leave `preprocess` out.",
            parameter="preprocess",
        )
    arithmetic = resolve_runtime(runtime, precision, where, known)
    chosen = arithmetic.precision
    with placement(where):
        if saved is None:
            input_size = input_size or DEFAULT_INPUT
            model, own_preprocess = _build_named(name, weights, input_size, seed, chosen)
        else:
            _require_saved_options(weights, preprocess)
            model, own_preprocess = load_saved(saved, chosen), None
            input_size = saved_input_size(model, input_size, saved)
        preprocess = preprocess or ("none" if saved else "imagenet")
        network, outputs = cut_at(model, layer, input_size)
        network.trainable = False
        parts = join_outputs(outputs, pool_extra)
        shape = (sum(part.size for part in parts),) if parts else outputs[0].shape
        named = ",".join(output.name for output in outputs)
        prepare = _preprocessing(preprocess, own_preprocess)
        converted = None
        if arithmetic.runtime == "ncnn":
            try:
                converted = convert_to_ncnn(network, input_size, parts, prepare)
            except NotConvertibleError as error:
                if runtime == "ncnn":
                    raise InputError(
                        f"ncnn can't compute {model.name}: {error}",
                        "Give `runtime` tensorflow.",
                        parameter="runtime",
                    ) from error
                arithmetic = Arithmetic("tensorflow", "float32", f"{arithmetic.reason}; {error}")
        takes = int(network.inputs[0].shape[-1])
        steps = ForwardPass(
            channels=takes,
            input_size=input_size,
            preprocess=prepare,
            device=where,
            keras_network=network,
            network=converted,
            parts=parts,
        )
        forward = steps.trace(None)
    in_file = weights not in ("imagenet", "random")
    recipe = BackboneRecipe(
        name=str(saved or known),
        weights=str(Path(weights).resolve()) if in_file else weights,
        input_size=input_size,
        preprocess=preprocess,
        runtime=arithmetic.runtime,
        precision=chosen,
        seed=seed,
        layer=named,
        pool_extra=pool_extra,
        device="cpu" if device == "cpu" else "auto",
    )
    random = weights == "random"
    spec = BackboneSpec(
        name=recipe.name if saved is None else str(model.name),
        architecture_sha256=None if saved is None else architecture_sha256(saved),
        layer=named,
        weights="random" if random else "trained",
        weights_seed=seed if random else None,
        weights_sha256=weights_sha256(network),
        input_size=input_size,
        preprocess=preprocess,
        precision=chosen,
        runtime=arithmetic.runtime,
        parts=parts,
        pool_extra=pool_extra,
    )
    return Backbone(spec, shape, arithmetic.reason, recipe, where, takes, steps, forward)


def load_recipe(recipe: BackboneRecipe, *, device: str | None = None) -> Backbone:
    """Load a backbone as another process did, here on a device of its own if one is given."""
    options = recipe.model_dump() | ({} if device is None else {"device": device})
    file = options.pop("standardization")
    backbone = load_backbone(**options)
    if not file:
        return backbone
    return backbone.with_standardization(load_standardization(Path(file)), Path(file))


def _of_onnx(name: str, options: OnnxOptions) -> Backbone:
    """Load an ONNX network. TensorFlow prepares its images, on the processor."""
    loaded = load_onnx(name, options)
    steps = ForwardPass(
        channels=loaded.channels,
        input_size=loaded.spec.input_size,
        preprocess=loaded.preprocess,
        device="cpu",
        keras_network=None,
        network=loaded.network,
    )
    return Backbone(
        spec=loaded.spec,
        embedding_shape=loaded.embedding_shape,
        reason=loaded.reason,
        recipe=loaded.recipe,
        device="cpu",
        channels=loaded.channels,
        _steps=steps,
        _forward=steps.trace(None),
    )


def _build_named(
    name: str, weights: str, input_size: int, seed: int, precision: Precision
) -> tuple[Any, Any]:
    """Build a network by its name, and return it and its own preprocessing."""
    import keras

    network = architecture(name)
    before = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy(
            "float32" if precision == "float32" else f"mixed_{precision}"
        )
        with fresh_layer_numbers():
            return build_network(network, weights, input_size, seed), network.preprocess_input
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def _preprocessing(kind: Preprocess, own: Any) -> Callable[[Any], Any]:
    """Return the preprocessing of a batch of tensors of a kind."""
    if kind == "imagenet":
        return cast("Callable[[Any], Any]", own)
    return (lambda images: images / 255.0) if kind == "rescale" else (lambda images: images)


def _require_saved_options(weights: str, preprocess: Preprocess | None) -> None:
    """Refuse options that a saved model decides by itself."""
    if weights != "imagenet":
        raise InputError("a saved model has its own weights", "Leave `weights` out.")
    if preprocess == "imagenet":
        raise InputError(
            "`preprocess` imagenet is for the networks that `featx.backbones.list_backbones` lists",
            "Give `preprocess` rescale or none, as the saved model was trained.",
        )
