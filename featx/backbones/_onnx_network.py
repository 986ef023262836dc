"""An ONNX file as a backbone: checked, hashed, and run by onnxruntime, image by image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones._onnx_checks import OnnxFile, read_onnx, require_onnx
from featx.backbones._onnx_graph import (
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
from featx.backbones._onnx_parts import OnnxLayout, OnnxPart, divide_outputs
from featx.backbones._onnx_preprocessing import (
    PROCESSOR_NAME,
    Configuration,
    named_normalization,
    normalizing,
    read_configuration,
)
from featx.backbones._onnx_session import Run, as_taken, run_on_noise, start_session
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
from featx_cache.files import is_there

SUFFIX = ".onnx"
IN_A_FOLDER = ("model.onnx", "onnx/model.onnx")
"""Places of the network in a folder, the second in repositories of Hugging Face."""
NO_NAMES = frozenset(
    {"", "graph", "main_graph", "model", "tf2onnx", "torch_jit", "torch-jit-export"}
)
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

    A folder that is called like a network of `list_backbones` doesn't hide that network.
    """
    if name.lower().endswith(SUFFIX):
        return True
    path = Path(name).expanduser()
    return bool(name) and is_there(path) and path.is_dir() and name.lower() not in architectures()


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
    of_file = [each.name for each in file.model.graph.output]
    network, tokens = _network(file, taken, size, options)
    spec = BackboneSpec(
        name=_name(file),
        architecture_sha256=file.architecture_sha256,
        layer=",".join(network.outputs),
        weights="trained",
        weights_sha256=file.weights_sha256,
        input_size=size,
        preprocess="config" if configuration else options.preprocess or "none",
        precision=precision,
        runtime="onnxruntime",
        parts=network.parts,
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
    return LoadedOnnx(
        network=network,
        spec=spec,
        recipe=recipe,
        embedding_shape=network.embedding_shape,
        channels=taken.channels,
        preprocess=_steps(options.preprocess, normalization),
        reason=_reason(of_file, network.outputs, asked=options.layer is not None),
    )


@dataclass(slots=True)
class OnnxNetwork:
    """An ONNX network that onnxruntime computes on the processor, one image at a time.

    Batches aren't faster there, and an image alone has the same last digits whatever comes with it.
    See `featx.backbones._forward.Network`.
    """

    run: Run
    taken: OnnxInput
    outputs: tuple[str, ...]
    taken_parts: tuple[OnnxPart, ...]
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
            return self.run(as_taken(image, self.taken))
        except Exception as error:  # onnxruntime's errors have no common type
            raise FeatxError(
                f"onnxruntime failed on an image ({said_of_failure(error)})",
                "Most often memory ran out: use a smaller `input_size`.",
            ) from error


def _network(
    file: OnnxFile, taken: OnnxInput, size: int, options: OnnxOptions
) -> tuple[OnnxNetwork, Tokens | None]:
    """Choose the outputs, start onnxruntime, and divide what it gives into an embedding's parts."""
    patch = patch_side(file.model)
    fix_input(file.model, taken, size)
    inferred = infer(file.model)
    require_modest_tensors(file, inferred)
    outputs = choose_outputs(file, options.layer, inferred)
    give_only(file.model, outputs)
    run = start_session(file, taken, inferred)
    found = run_on_noise(file, run, taken, size)
    shapes = {name: array.shape for name, array in zip(outputs, found, strict=True)}
    layout = OnnxLayout(taken.channels_first, None if patch is None else size // patch)
    taken_parts, tokens = divide_outputs(file, shapes, options.tokens, layout)
    described = [EmbeddingPart(name=part.name, shape=part.shape) for part in taken_parts]
    parts = join_outputs(described, options.pool_extra)
    shape = (sum(part.size for part in parts),) if parts else described[0].shape
    return OnnxNetwork(run, taken, outputs, tuple(taken_parts), parts, shape), tokens


def _place(name: str, options: OnnxOptions) -> tuple[Path, Configuration | None]:
    """Return the path of the file or folder, and the configuration if it is a folder with one."""
    # Not resolved: in a download of Hugging Face, a file is a link to one without a suffix.
    place = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100  # without `..`
    if not is_there(place):
        raise InputError(f"there is no network {place}", "Check the path given to `backbone`.")
    if not place.is_dir():
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
            "Leave `runtime` out.",
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
