"""A run as one ONNX graph: pixels in, scores out, for programs without featx and Keras."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.backbones._settings import own_keras_settings
from featx.errors import FeatxError, InputError
from featx.extraction._pipeline import to_storage
from featx.heads import as_tensors
from featx.runs._fitted import FittedRun
from featx.runs._outputs import require_output
from featx.thresholds import Recalibration
from featx_cache._text import first_line, printable
from featx_cache.files import output_path

OPSET = 17
"""Version of ONNX's operators, of ONNX 1.12 (2022): runtimes of the last years have it."""
INPUT, OUTPUT = "pixels", "score"
SCORE_TOLERANCE = 1e-3
MAX_BYTES = 2**31 - 1
"""Size of a file of Protocol Buffers."""
DRAWN_IMAGES = 4
MAX_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Export:
    """An ONNX file that was written.

    Attributes
    ----------
    path, bytes
        File and its size.
    metadata
        Metadata in the file: threshold, classes, input size, and what else a program has to know.
    difference
        Largest difference of its scores from featx's on drawn images, under onnxruntime, both in
        float32.

    Examples
    --------
    >>> Export(Path("model.onnx"), 59_200_000, {"threshold": "0.41"}, 2.1e-7)
    Export(model.onnx, 59.2 MB, scores differ by 2.1e-07)
    """

    path: Path
    bytes: int
    metadata: dict[str, str]
    difference: float

    def __repr__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB"
        return printable(f"Export({self.path}, {size}, scores differ by {self.difference:.1e})")


def export_onnx(
    run: FittedRun, path: str | Path, *, weights: str | None = None, force: bool = False
) -> Export:
    """Write a run as an ONNX file, whole and checked, or not at all.

    The graph takes ``pixels``, float32 of shape (images, size, size, 3), RGB values 0..255, and
    gives ``score``, float32 of shape (images,): preprocessing, standardization, backbone, head and
    recalibration are in it. Reading and resizing files isn't. It computes in float32 whatever the
    run's embeddings were made with.

    Parameters
    ----------
    run
        Run to write.
    path, weights, force
        See `featx.Run.export_onnx`, which raises the same errors.

    Raises
    ------
    FeatxError
        If the graph's scores differ from featx's by more than 0.001. Then nothing is written.

    Examples
    --------
    >>> export_onnx(run, "model.onnx")  # doctest: +SKIP
    Export(model.onnx, 59.2 MB, scores differ by 2.1e-07)
    """
    path = Path(path)
    require_output(path, "`path`", force=force, inputs=[run.path])
    _require_packages()
    if run.record.tta:
        raise InputError(
            f"the run {run.path} averages over {run.record.tta} augmented copies of each image, "
            "which a graph can't make",
            "Fit it without `tta=True`.",
        )
    if run.record.extraction.backbone.runtime == "onnxruntime":
        raise InputError(
            f"the backbone of the run {run.path} is an ONNX network, which featx can't join with "
            "the head in one graph",
            "Run the network by itself, and score its embeddings with `run.score`.",
        )
    backbone = run.backbone(weights, precision="float32")
    model = _convert(_graph(run, backbone), backbone.spec.input_size)
    metadata = _describe(run, backbone)
    _label(model, metadata)
    content = _serialized(model)
    difference = _difference(run, backbone, content)
    # Not a number isn't within any tolerance.
    if not difference <= SCORE_TOLERANCE:
        raise FeatxError(
            f"the graph's scores differ from featx's by up to {difference:.2g}, which is more than "
            f"{SCORE_TOLERANCE:g}. Nothing was written",
            "Please report it with the run's run.json.",
        )
    with output_path(path, replace=force) as temporary:
        temporary.write_bytes(content)
    return Export(path, len(content), metadata, difference)


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"a graph takes the package {error.name}, which isn't installed",
            "pip install 'featx[onnx]'",
        ) from error


@own_keras_settings()
def _graph(run: FittedRun, backbone: Backbone) -> Any:
    """Compose the computation from pixels to score."""
    import tensorflow as tf

    head, half = as_tensors(run.head), run.record.extraction.storage_dtype == "float16"
    recalibration = run.record.recalibration

    def compute(pixels: Any) -> Any:
        embeddings = backbone.as_tensors(pixels)
        if half:  # The graph rounds as the cache does; see `to_storage`.
            stored = tf.cast(embeddings, tf.float16)
            # One conversion right after the other would be optimized away, rounding and all.
            stored = tf.maximum(tf.minimum(stored, MAX_FLOAT16), -MAX_FLOAT16)
            embeddings = tf.cast(stored, tf.float32)
        scores = tf.cast(head(embeddings), tf.float64)
        if recalibration is not None:
            scores = _recalibrate(recalibration, scores)
        return tf.cast(scores, tf.float32, name=OUTPUT)

    return compute


def _recalibrate(recalibration: Recalibration, scores: Any) -> Any:
    """Compute what `Recalibration.apply` computes."""
    import tensorflow as tf

    inside = tf.clip_by_value(scores, np.finfo(np.float64).tiny, np.nextafter(1.0, 0.0))
    logits = tf.math.log(inside) - tf.math.log(1.0 - inside)
    return tf.sigmoid(recalibration.slope * logits + recalibration.intercept)


def _convert(compute: Any, size: int) -> Any:
    """Trace the computation and make an ONNX model of it."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, size, size, 3), tf.float32, name=INPUT)]
    function = tf.function(compute, input_signature=signature)
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    except Exception as error:  # the converter raises many kinds of errors
        raise InputError(
            f"tf2onnx can't convert this run: {first_line(error)}",
            "Another backbone or head may be possible.",
        ) from error
    finally:
        logger.setLevel(before)
    return model


def _label(model: Any, metadata: dict[str, str]) -> None:
    """Name the input and the output, and write the metadata into the model."""
    from onnx import helper

    for value, name in ((model.graph.input[0], INPUT), (model.graph.output[0], OUTPUT)):
        old, value.name = value.name, name
        value.type.tensor_type.shape.dim[0].dim_param = "images"
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [name if each == old else each for each in names]
    model.producer_name = "featx"
    helper.set_model_props(model, metadata)


def _describe(run: FittedRun, backbone: Backbone) -> dict[str, str]:
    """Return what a program has to know that uses the graph."""
    record = run.record
    return {
        "threshold": repr(record.threshold),
        "classes": json.dumps(record.classes),
        "input_size": str(backbone.spec.input_size),
        "fingerprint": record.fingerprint,
        "band": json.dumps(record.band),
        "decoding": record.extraction.decoding.model_dump_json(),
        "head": record.head.name,
        "backbone": backbone.spec.name,
        "precision": f"float32; the embeddings were made in {record.extraction.backbone.precision}",
        "featx": record.versions.get("featx", ""),
        "use": "research software, not a medical device",
    }


def _serialized(model: Any) -> bytes:
    """Return the content of the file."""
    import onnx

    size = model.ByteSize()
    if not 0 < size <= MAX_BYTES:
        raise InputError(
            f"the graph takes {size / 2**30:.1f} GB, and an ONNX file can't hold more than 2",
            "Choose a smaller backbone.",
        )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _difference(run: FittedRun, backbone: Backbone, content: bytes) -> float:
    """Run the graph on drawn images, and return its largest difference from featx."""
    pixels = _drawn(backbone.spec.input_size)
    embeddings = to_storage(backbone.embed(pixels), run.record.extraction.storage_dtype)
    return float(np.abs(run.score(embeddings) - _scores(content, pixels)).max())


def _scores(content: bytes, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: pixels})[0], np.float64)


def _drawn(size: int) -> NDArray[np.float32]:
    """Draw images of clouds, light and dark, as different from one another as X-rays are."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (DRAWN_IMAGES, 1 + size // 32, 1 + size // 32))
    fine = coarse.repeat(32, axis=1).repeat(32, axis=2)[:, :size, :size]
    light = np.linspace(0.4, 1.0, DRAWN_IMAGES)[:, None, None]
    noisy = fine * light + random.normal(0, 8, fine.shape)
    return noisy.clip(0, 255).astype(np.float32)[..., None].repeat(3, axis=3)
