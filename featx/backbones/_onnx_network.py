"""An ONNX file as a backbone: checked, hashed, and run by onnxruntime, image by image."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
from numpy.typing import NDArray

from featx.backbones._onnx_checks import OnnxFile, read_onnx, require_onnx
from featx.backbones._onnx_graph import (
    Inferred,
    OnnxInput,
    choose_input_size,
    choose_outputs,
    find_input,
    fix_input,
    give_only,
    infer,
    patch_side,
    require_modest_tensors,
    said_of_failure,
)
from featx.backbones._onnx_preprocessing import (
    PROCESSOR_NAME,
    Configuration,
    named_normalization,
    normalizing,
    read_configuration,
)
from featx.backbones._parts import join_outputs, joined
from featx.backbones._registry import architectures
from featx.backbones._spec import (
    BackboneRecipe,
    BackboneSpec,
    EmbeddingPart,
    NormalizationSpec,
    PoolExtra,
    Precision,
    Preprocess,
    Tokens,
)
from featx.errors import FeatxError, InputError
from featx_cache._text import printable

SUFFIX = ".onnx"
IN_A_FOLDER = ("model.onnx", "onnx/model.onnx")
"""Places of the network in a folder, the second in repositories of Hugging Face."""
MAX_OWN_TOKENS = 33
"""Most tokens of no patch: one of the class, and registers (Darcet et al., ICLR 2024, has 4)."""
MAX_MEMORY_SHARE = 0.5
"""Share of the machine's memory that a network may take."""
NO_NAMES = frozenset({"", "main_graph", "torch_jit", "torch-jit-export", "model", "graph"})
"""Names that exporters give to every graph."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Arguments of `load_backbone` for an ONNX network. It says what each is."""

    weights: str = "imagenet"
    input_size: int | None = None
    preprocess: Preprocess | None = None
    precision: str = "auto"
    layer: str | Sequence[str] | None = None
    device: str = "auto"
    tokens: Tokens | None = None
    pool_extra: PoolExtra = "none"
    runtime: str = "auto"


@dataclass(frozen=True, slots=True)
class LoadedOnnx:
    """A network that is ready, and all that a `Backbone` needs of it."""

    network: OnnxNetwork
    spec: BackboneSpec
    recipe: BackboneRecipe
    embedding_shape: tuple[int, ...]
    channels: int
    preprocess: Callable[[Any], Any]
    reason: str


def is_onnx(name: str) -> bool:
    """Say whether the name of a backbone is the path of an ONNX file, or of a folder with one.

    A folder that is called like a network of ``keras.applications`` doesn't hide that network.
    """
    if name.lower().endswith(SUFFIX):
        return True
    return Path(name).expanduser().is_dir() and name.lower() not in architectures()


def load_onnx(name: str, options: OnnxOptions) -> LoadedOnnx:
    """Load an ONNX file, or the one in a folder with its configuration.

    Raises
    ------
    InputError
        If it is refused (see `read_onnx`), isn't a network of one image, an option doesn't suit
        it, or onnxruntime can't run it.
    """
    place, configuration = _place(name, options)
    _require_options(options)
    require_onnx()
    file = read_onnx(_in_folder(place) if place.is_dir() else place)
    taken = find_input(file)
    normalization = _normalization(file, taken, options, configuration)
    size = choose_input_size(
        file, taken, options.input_size, configuration.input_size if configuration else None
    )
    precision = _precision(file, taken, options.precision)
    outputs_of_file = [each.name for each in file.model.graph.output]
    patch = patch_side(file.model)
    fix_input(file.model, taken, size)
    inferred = infer(file.model)
    require_modest_tensors(file, inferred)
    outputs = choose_outputs(file, options.layer, inferred)
    give_only(file.model, outputs)
    run = _session(file, taken, inferred)
    shapes = [array.shape for array in _try(file, run, taken, size)]
    layout = _Layout(taken.channels_first, None if patch is None else size // patch)
    taken_parts, tokens = _parts(
        file, dict(zip(outputs, shapes, strict=True)), options.tokens, layout
    )
    described = [EmbeddingPart(name=part.name, shape=part.shape) for part in taken_parts]
    parts = join_outputs(described, options.pool_extra)
    spec = BackboneSpec(
        name=_name(file),
        architecture_sha256=file.architecture_sha256,
        layer=",".join(outputs),
        weights="trained",
        weights_sha256=file.weights_sha256,
        input_size=size,
        preprocess="config" if configuration else options.preprocess or "none",
        precision=precision,
        runtime="onnxruntime",
        parts=parts,
        pool_extra=options.pool_extra,
        tokens=tokens,
        normalization=normalization,
    )
    recipe = BackboneRecipe(
        name=str(place),
        weights="imagenet",
        input_size=size,
        preprocess=options.preprocess,
        runtime="onnxruntime",
        precision=precision,
        seed=0,
        layer=spec.layer,
        pool_extra=options.pool_extra,
        device="cpu" if options.device == "cpu" else "auto",
        tokens=tokens,
    )
    shape = (sum(part.size for part in parts),) if parts else described[0].shape
    return LoadedOnnx(
        network=OnnxNetwork(run, taken, outputs, tuple(taken_parts), parts, shape),
        spec=spec,
        recipe=recipe,
        embedding_shape=shape,
        channels=taken.channels,
        preprocess=_steps(options.preprocess, normalization),
        reason=_reason(outputs_of_file, outputs, asked=options.layer is not None),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of an embedding: its shape, and how to take it out of an output of one image."""

    name: str
    output: str
    shape: tuple[int, ...]
    take: Callable[[NDArray[Any]], NDArray[Any]] = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Order of axes that the input has, and patches in each direction as far as they are known."""

    channels_first: bool
    patches: int | None


@dataclass(slots=True)
class OnnxNetwork:
    """An ONNX network that onnxruntime computes on the processor, one image at a time.

    Batches aren't faster there, and an image alone has the same last digits whatever comes with it.
    See `featx.backbones._forward.Network`.
    """

    run: Callable[[NDArray[Any]], list[NDArray[Any]]]
    taken: OnnxInput
    outputs: tuple[str, ...]
    taken_parts: tuple[_Part, ...]
    parts: tuple[EmbeddingPart, ...]
    embedding_shape: tuple[int, ...]
    depends_on_batch: bool = False

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn inputs (rows, size, size, channels) into embeddings (rows, *embedding_shape)."""
        embeddings = np.empty((len(images), *self.embedding_shape), np.float32)
        for row, image in enumerate(images):
            found = dict(zip(self.outputs, self._run(image), strict=True))
            taken = [part.take(found[part.output][0])[np.newaxis] for part in self.taken_parts]
            embeddings[row] = joined(taken, self.parts)[0]
        return embeddings

    def _run(self, image: NDArray[np.float32]) -> list[NDArray[Any]]:
        try:
            return self.run(_as_taken(image, self.taken))
        except Exception as error:  # onnxruntime's errors have no common type
            raise FeatxError(
                f"onnxruntime failed on an image ({said_of_failure(error)})",
                "Most often memory ran out: use a smaller `input_size`.",
            ) from error


def _as_taken(image: NDArray[np.float32], taken: OnnxInput) -> NDArray[Any]:
    """Give an image (size, size, channels) the shape and type of a network's input."""
    if taken.channels_first:
        image = image.transpose(2, 0, 1)
    return np.ascontiguousarray(image[np.newaxis], np.float16 if taken.half else np.float32)


def _place(name: str, options: OnnxOptions) -> tuple[Path, Configuration | None]:
    """Return the path of the file or folder, and the configuration if it is a folder with one."""
    # Not resolved: in a download of Hugging Face, a file is a link to one without a suffix.
    place = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100  # without `..`
    if not place.is_dir():
        if not place.exists():
            raise InputError(f"there is no network {place}", "Check the path given to `backbone`.")
        return place, None
    _in_folder(place)
    configuration = read_configuration(place)
    if configuration is not None and options.preprocess is not None:
        raise InputError(
            f"the configuration in {place} says how images are prepared, and `preprocess` "
            f"{options.preprocess} does, too",
            f"Leave `preprocess` out, or give the {SUFFIX} file itself.",
            parameter="preprocess",
        )
    return place, configuration


def _in_folder(folder: Path) -> Path:
    for name in IN_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"the folder {folder} has no {IN_A_FOLDER[0]}",
        f"Give an {SUFFIX} file, or a folder with {IN_A_FOLDER[0]} and {PROCESSOR_NAME}.",
    )


def _require_options(options: OnnxOptions) -> None:
    """Refuse options that an ONNX network decides by itself."""
    if options.weights != "imagenet":
        raise InputError("an ONNX network has its own weights", "Leave `weights` out.")
    if options.runtime not in ("auto", "onnxruntime"):
        raise InputError(
            f"`runtime` {options.runtime} can't run an ONNX network",
            "Give `runtime` auto or onnxruntime.",
            parameter="runtime",
        )
    if options.device not in ("auto", "cpu"):
        raise InputError(
            f"an ONNX network runs on the processor, and not on `device` {options.device}",
            "Give `device` auto or cpu.",
            parameter="device",
        )


def _normalization(
    file: OnnxFile, taken: OnnxInput, options: OnnxOptions, configuration: Configuration | None
) -> NormalizationSpec | None:
    if configuration is None:
        if options.preprocess is None:
            raise InputError(
                f"nothing says how the network in {file.path} wants its images prepared",
                f"Give its folder, if it has a {PROCESSOR_NAME}, or `preprocess`: imagenet (mean "
                "and deviation of torchvision and timm), rescale (0..1) or none (0..255).",
                parameter="preprocess",
            )
        return named_normalization(options.preprocess, taken.channels)
    if len(configuration.normalization.mean) not in (1, taken.channels):
        raise InputError(
            f"the configuration beside {file.path} is for "
            f"{len(configuration.normalization.mean)} channels, and the network takes "
            f"{taken.channels}",
            f"Correct it, or give the {SUFFIX} file itself and `preprocess`.",
        )
    return configuration.normalization


def _steps(
    preprocess: Preprocess | None, normalization: NormalizationSpec | None
) -> Callable[[Any], Any]:
    if normalization is not None:
        return normalizing(normalization)
    return (lambda images: images / 255.0) if preprocess == "rescale" else (lambda images: images)


def _precision(file: OnnxFile, taken: OnnxInput, asked: str) -> Precision:
    import onnx

    half = onnx.TensorProto.FLOAT16
    halves = taken.half or any(each.data_type == half for each in file.model.graph.initializer)
    own: Precision = "float16" if halves else "float32"
    if asked not in ("auto", own):
        raise InputError(
            f"the network in {file.path} computes in {own}, not in `precision` {asked}",
            "Leave `precision` out, or export the network in another one.",
            parameter="precision",
        )
    return own


def _session(
    file: OnnxFile, taken: OnnxInput, inferred: Inferred
) -> Callable[[NDArray[Any]], list[NDArray[Any]]]:
    """Make a session of onnxruntime, which writes no files and tells nobody anything."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Fatal faults only. The others come as exceptions, and are told in one line.
    options.log_severity_level = 4
    for key, value in {
        # Threads that wait in a loop would take the processor from those that decode.
        "session.intra_op.allow_spinning": "0",
        "session.use_env_allocators": "1",
        "session.model_external_initializers_file_folder_path": str(file.path.parent),
    }.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(
            file.model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            # Constants of unknown size are made where the limit on memory holds.
            disabled_optimizers=[] if inferred.complete else ["ConstantFolding"],
        )
    except Exception as error:  # onnxruntime's errors have no common type
        raise InputError(
            f"onnxruntime can't load {file.path} ({said_of_failure(error)})",
            "Export it again, or install a newer onnxruntime.",
        ) from error
    return lambda image: list(session.run(None, {taken.name: image}))


@functools.cache
def _limit_memory() -> None:
    """Let networks take a part of the memory, so that a hostile one gets an error and no more."""
    import onnxruntime

    most = int(MAX_MEMORY_SHARE * psutil.virtual_memory().total)
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    # Memory in the steps in which it is needed, and not doubled each time.
    arena = onnxruntime.OrtArenaCfg({"max_mem": most, "arena_extend_strategy": 1})
    # The program around featx may have registered its own.
    with contextlib.suppress(RuntimeError):
        onnxruntime.create_and_register_allocator(place, arena)


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else int(joblib.cpu_count())


def _try(
    file: OnnxFile,
    run: Callable[[NDArray[Any]], list[NDArray[Any]]],
    taken: OnnxInput,
    size: int,
) -> list[NDArray[Any]]:
    """Run a network once on noise, and return its outputs."""
    shape = (size, size, taken.channels)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        found = run(_as_taken(noise, taken))
    except Exception as error:  # onnxruntime's errors have no common type
        raise InputError(
            f"onnxruntime can't run {file.path} on {size}x{size} pixels ({said_of_failure(error)})",
            "Give the `input_size` that it was trained with, or export it again.",
        ) from error
    for array in found:
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise InputError(
                f"the network in {file.path} doesn't give floats", "Choose another `layer`."
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"the network in {file.path} gives values that aren't finite",
                "Its weights may be damaged: get it anew.",
            )
    return found


def _parts(
    file: OnnxFile,
    shapes: dict[str, tuple[int, ...]],
    tokens: Tokens | None,
    layout: _Layout,
) -> tuple[list[_Part], Tokens | None]:
    """Divide outputs into the parts of an embedding, and say what tokens were taken.

    The main part, the first grid, is the last one, as `join_outputs` takes them.

    Raises
    ------
    InputError
        If an output is of no image, or its tokens are no square, or `tokens` has none to take.
    """
    parts: list[_Part] = []
    used: Tokens | None = None
    for name, shape in shapes.items():
        if len(shape) not in (2, 3, 4) or shape[0] != 1 or 0 in shape:
            raise InputError(
                f"{printable(name)!r} of {file.path} has the shape {shape} for one image, which is "
                "no grid, no tokens and no vector",
                "Choose another `layer`.",
                parameter="layer",
            )
        if len(shape) == 3:
            used = tokens or "patches"
            parts += _of_tokens(file, name, shape[1:], used, layout)
        elif len(shape) == 4 and _is_channels_first(shape[1:], layout):
            grid = (shape[2], shape[3], shape[1])
            parts.append(_Part(name, name, grid, lambda output: output.transpose(1, 2, 0)))
        else:
            parts.append(_Part(name, name, shape[1:], lambda output: output))
    if tokens is not None and used is None:
        raise InputError(
            f"`tokens` {tokens} needs an output of tokens, and {', '.join(map(printable, shapes))} "
            f"of {file.path} has none",
            "Leave `tokens` out.",
            parameter="tokens",
        )
    main = next((part for part in parts if len(part.shape) == 3), parts[0])
    return [*(part for part in parts if part is not main), main], used


def _is_channels_first(shape: tuple[int, ...], layout: _Layout) -> bool:
    """Tell (channels, rows, columns) from (rows, columns, channels): an image is square."""
    first, last = shape[1] == shape[2], shape[0] == shape[1]
    return layout.channels_first if first == last else first


def _of_tokens(
    file: OnnxFile, name: str, shape: tuple[int, ...], tokens: Tokens, layout: _Layout
) -> list[_Part]:
    """Divide tokens into the grid of the patches and the vector of the class, which is first."""
    count, channels = shape
    side, own = _count_patches(count, layout.patches)
    if side is None:
        expected = "" if layout.patches is None else f" (patches are {layout.patches}²)"
        raise InputError(
            f"{printable(name)!r} of {file.path} has {count} tokens, which are no square with one "
            f"more or a few registers{expected}",
            "Choose another `layer`, or give the `input_size` that it was trained with.",
            parameter="layer",
        )
    if tokens != "patches" and own == 0:
        raise InputError(
            f"{printable(name)!r} of {file.path} has {count} tokens, a grid of {side}x{side} and "
            "none of the class",
            "Give `tokens` patches.",
            parameter="tokens",
        )
    grid = _Part(
        f"{name}.patches" if tokens == "both" else name,
        name,
        (side, side, channels),
        lambda output: output[own:].reshape(side, side, channels),
    )
    vector = _Part(
        f"{name}.cls" if tokens == "both" else name,
        name,
        (channels,),
        lambda output: output[0],
    )
    return {"patches": [grid], "cls": [vector], "both": [grid, vector]}[tokens]


def _count_patches(count: int, known: int | None) -> tuple[int | None, int]:
    """Return the side of the square of patches, and the number of tokens before it."""
    if known and 0 <= count - known**2 <= MAX_OWN_TOKENS:
        return known, count - known**2
    for own in (0, 1):
        side = math.isqrt(count - own)
        if side and side**2 == count - own:
            return side, own
    return None, 0


def _name(file: OnnxFile) -> str:
    """Return the graph's own name, or one made of its hash: it mustn't change with the path."""
    name = " ".join(printable(file.model.graph.name).split())[:60]
    return f"onnx-{file.architecture_sha256[:8]}" if name.lower() in NO_NAMES else name


def _reason(of_file: list[str], taken: tuple[str, ...], *, asked: bool) -> str:
    """Say why this precision, and that there are other outputs if nobody chose."""
    others = [printable(name) for name in of_file if name not in taken]
    if asked or not others:
        return "as exported"
    listed = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
    return f"as exported; the network has other outputs: {listed}"
