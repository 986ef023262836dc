"""Looking through an ONNX file before it runs: it may be a stranger's, and try to do harm."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import psutil

from featx.errors import InputError
from featx_cache._text import first_line, printable
from featx_cache.files import open_regular

MAX_BYTES = 2**31 - 1
"""Size of a file of Protocol Buffers. Larger networks have their weights in files beside it."""
MAX_NODES = 50_000
"""Most operators. The largest vision transformers have a tenth of them."""
MIN_OPSET, MIN_IR = 7, 3
"""Oldest versions that onnxruntime says it knows."""
MEMORY_COPIES = 3
"""Times that a network is in memory while it is loaded: bytes, messages, weights."""
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
RANDOM_OPERATORS = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_WEIGHT_TYPES = frozenset(
    {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "BOOL"}
    | {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
)
_PLACE_KEYS = frozenset({"location", "offset", "length", "checksum"})
_INSTALL = "pip install 'featx[onnx]'"


class _RefusedError(Exception):
    """A reason to refuse a file, and what to do about it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that was looked through.

    Attributes
    ----------
    path
        Absolute path.
    model
        Its ``ModelProto``. Weights in other files are not in it.
    architecture_sha256
        SHA-256 of the file.
    weights_sha256
        SHA-256 of the file and of the files that its weights are in.
    """

    path: Path
    model: Any
    architecture_sha256: str
    weights_sha256: str


def require_onnx() -> None:
    """Raise if the packages that read and run a network aren't installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"an ONNX network takes the package {error.name}, which isn't installed", _INSTALL
        ) from error


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, and refuse it if it could do anything but compute embeddings.

    Raises
    ------
    InputError
        If it is missing, damaged, too large, too new or too old, has operators that aren't
        standard, that draw random numbers or that have graphs inside, has functions of its own,
        says of weights that they are larger than what is stored, or has weights outside its folder.
    """
    try:
        content = _content(path)
        model = _parsed(content)
        _require_known_version(model)
        _require_plain(model)
        outside = _look_through_weights(model, path.parent)
        _check(model, path if outside else None)
        sha256 = hashlib.sha256(content).hexdigest()
        return OnnxFile(path, model, sha256, _weights_sha256(sha256, path.parent, outside))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{path} can't be read ({reason})", "Check the path given to `backbone`."
        ) from error
    except _RefusedError as error:
        raise InputError(f"{path} is refused as a backbone: {error}", error.hint) from error


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        size = file.seek(0, 2)
        if size > MAX_BYTES:
            raise _RefusedError(
                f"it has {size:,} bytes, and an ONNX file can't have more than {MAX_BYTES:,}",
                "Export it with its weights as external data.",
            )
        _require_memory(size)
        file.seek(0)
        return file.read(size)


def _require_memory(size: int) -> None:
    if MEMORY_COPIES * size > (free := psutil.virtual_memory().available):
        raise _RefusedError(
            f"it has {size / 1e9:.1f} GB of weights, and {free / 1e9:.1f} GB of memory are free",
            "Take a smaller network, or a larger machine.",
        )


def _parsed(content: bytes) -> Any:
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf has many words for damage
        raise _RefusedError("it is no ONNX file, or damaged") from error
    if not model.graph.node:
        raise _RefusedError("it is no ONNX file, or has no operators")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise _RefusedError("it is no ONNX file, or damaged")
    return model


def _texts(model: Any) -> Iterator[Any]:
    """Yield the names in a model. Those that are no UTF-8 come as bytes."""
    graph = model.graph
    yield graph.name
    yield from (each.domain for each in model.opset_import)
    yield from (each.name for each in model.functions)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (each.name for each in node.attribute)
        yield from (each.t.name for each in node.attribute)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (side.dim_param for side in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for place in tensor.external_data for text in (place.key, place.value))


def _require_known_version(model: Any) -> None:
    import onnx

    newest, newest_ir = onnx.defs.onnx_opset_version(), onnx.IR_VERSION
    if not MIN_IR <= model.ir_version <= newest_ir:
        raise _RefusedError(
            f"its format has version {model.ir_version}, and {MIN_IR} to {newest_ir} are known",
            "Export it again, or install a newer onnx and onnxruntime.",
        )
    versions = [each.version for each in model.opset_import if each.domain in STANDARD_DOMAINS]
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= newest:
        found = " and ".join(map(str, versions)) or "no version"
        raise _RefusedError(
            f"its operators are those of {found}, and one of {MIN_OPSET} to {newest} is known",
            "Export it again with `opset_version=17`.",
        )
    # Converters name further sets of operators that they don't use.
    kept = [each for each in model.opset_import if each.domain in STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _require_plain(model: Any) -> None:
    """Refuse what is not a list of standard operators, each of which runs once."""
    if len(model.graph.node) > MAX_NODES:
        raise _RefusedError(f"it has {len(model.graph.node):,} operators, more than {MAX_NODES:,}")
    if model.functions:
        raise _RefusedError(
            f"it has functions of its own ({_short(model.functions[0].name)})",
            "Resolve them with `onnx.inliner.inline_local_functions`.",
        )
    for node in model.graph.node:
        kind = _short(node.op_type)
        if node.domain not in STANDARD_DOMAINS:
            raise _RefusedError(
                f"its operator {_short(node.domain)}.{kind} isn't a standard one",
                "Export it without optimizations and custom operators.",
            )
        if node.op_type in RANDOM_OPERATORS:
            raise _RefusedError(
                f"its operator {kind} draws random numbers", "Export it in inference mode."
            )
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise _RefusedError(
                    f"its operator {kind} has a graph inside, which may run for ever",
                    "Export it by tracing, for one size of images.",
                )
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _RefusedError(f"its operator {kind} has sparse weights")
    if model.graph.sparse_initializer:
        raise _RefusedError("it has sparse weights")
    # What says how to train it isn't needed.
    del model.training_info[:]


def _look_through_weights(model: Any, folder: Path) -> list[str]:
    """Compare sizes with what is stored, and return the names of files beside the model."""
    import onnx

    seen: dict[str, int] = {}
    for tensor in constants_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise _RefusedError(f"the weights of an operator ({_short(tensor.name)}) aren't in it")
        _require_whole(tensor)
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            _require_whole(tensor)
            continue
        name, end = _place(tensor, folder)
        seen[name] = max(seen.get(name, 0), end)
    _require_memory(sum((folder / name).stat().st_size for name in seen))
    return sorted(seen)


def constants_of(model: Any) -> Iterator[Any]:
    """Yield the tensors that operators have as attributes."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _bytes_of(tensor: Any) -> tuple[int, int]:
    """Return the number of values of a tensor, and that of bytes."""
    import onnx

    name = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in _types() else ""
    if name not in _WEIGHT_TYPES:
        raise _RefusedError(
            f"its weights {_short(tensor.name)} are of type {name.lower() or tensor.data_type}"
        )
    if any(side < 0 for side in tensor.dims):
        raise _RefusedError(f"its weights {_short(tensor.name)} have a negative size")
    count = math.prod(tensor.dims)
    return count, count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _types() -> frozenset[int]:
    import onnx

    return frozenset(onnx.TensorProto.DataType.values())


def _require_whole(tensor: Any) -> None:
    """Refuse weights whose size isn't that of what is stored: room would be made for them."""
    import onnx

    count, size = _bytes_of(tensor)
    if tensor.HasField("raw_data"):
        whole = len(tensor.raw_data) == size
    else:
        whole = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))) == count
    if not whole:
        shape = "x".join(map(str, tensor.dims)) or "one number"
        raise _RefusedError(
            f"its weights {_short(tensor.name)} should be {shape}, and others are stored"
        )


def _place(tensor: Any, folder: Path) -> tuple[str, int]:
    """Return the file that weights are in, and where they end in it. It must be in the folder."""
    named = _short(tensor.name)
    given = {entry.key: entry.value for entry in tensor.external_data}
    location = given.get("location", "")
    if unknown := sorted(given.keys() - _PLACE_KEYS):
        raise _RefusedError(f"the place of its weights {named} has an unknown {_short(unknown[0])}")
    _, size = _bytes_of(tensor)
    try:
        offset, length = int(given.get("offset", 0)), int(given.get("length", size))
    except ValueError as error:
        raise _RefusedError(f"the place of its weights {named} is no number") from error
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    leads_out = ".." in (*posix.parts, *windows.parts) or posix.is_absolute() or windows.drive
    if not location or "\0" in location or leads_out or windows.root or "\\" in location:
        raise _RefusedError(
            f"its weights {named} are in {_short(location)!r}, which is no file of its folder"
        )
    file = folder / location
    try:
        inside = file.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
        if not inside:
            raise _RefusedError(
                f"its weights are in {_short(location)}, a link that leads out of its folder",
                "Copy the files into one folder.",
            )
        with open_regular(file) as opened:
            stored = opened.seek(0, 2)
    except (OSError, RuntimeError) as error:  # a loop of links
        raise _RefusedError(
            f"its weights are in {_short(location)}, which can't be read",
            "Put that file beside it.",
        ) from error
    if length != size or offset < 0 or offset + size > stored:
        raise _RefusedError(
            f"its weights {named} of {size:,} bytes aren't in {_short(location)} of {stored:,}",
            "Get both files anew, from one place.",
        )
    return location, offset + size


def _check(model: Any, path: Path | None) -> None:
    """Let ONNX's own checker look at the model, and at the files beside it if there are any."""
    import onnx

    try:
        onnx.checker.check_model(model if path is None else str(path))
    except Exception as error:  # the checker has its own types, protobuf has others
        raise _RefusedError(
            f"ONNX's checker finds a fault ({first_line(error)[:160]})", "Export it again."
        ) from error


def _weights_sha256(sha256: str, folder: Path, outside: list[str]) -> str:
    """Hash the file and those beside it, by content alone: their names are in the file."""
    digest = hashlib.sha256(sha256.encode())
    for name in outside:
        with open_regular(folder / name) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest() if outside else sha256


def _short(name: str) -> str:
    """Shorten a name of somebody else's, and keep it on one line."""
    return printable(" ".join(name.split()))[:60]
