"""Statistics of the training images, for the standardization of a network's input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx._progress import SILENT, Advance, Progress
from featx.backbones import Backbone, StandardizationSpec
from featx.backbones._standardization import (
    STANDARDIZATION_NAME,
    fit_standardization,
    load_standardization,
)
from featx.data import Manifest
from featx.extraction._batch_size import DEFAULT_BATCH_SIZE
from featx.extraction._pipeline import stack
from featx.images import DecodingSpec, UnreadableImageError, decode


def standardize(
    backbone: Backbone,
    spec: StandardizationSpec,
    manifest: Manifest,
    cache: str | Path,
    *,
    decoding: DecodingSpec | None = None,
    progress: Progress = SILENT,
) -> Backbone:
    """Return the backbone with a standardized input, and measure the training images if needed.

    If the cache was begun with the same standardization, its statistics are taken. Images that came
    later don't change them. Augmented copies are never measured.
    """
    if not spec.does_something:
        return backbone
    file = Path(cache) / STANDARDIZATION_NAME
    if file.is_file():
        known = load_standardization(file)
        if known.spec.asks_for_the_same(spec):
            return backbone.with_standardization(known, file)
    table = manifest.table
    paths = table["path"][table["split"] == "train"].tolist()
    size = backbone.spec.input_size
    shape = (size, size, backbone.channels)
    if not spec.needs_statistics:
        return backbone.with_standardization(fit_standardization(spec, (), shape, 0), file)
    with progress.task("Measuring training images", len(paths), "image") as advance:
        batches = _batches(backbone, manifest.root, paths, decoding, advance)
        fitted = fit_standardization(spec, batches, shape, len(paths))
    return backbone.with_standardization(fitted, file)


def _batches(
    backbone: Backbone,
    root: Path,
    paths: list[str],
    decoding: DecodingSpec | None,
    advance: Advance,
) -> Iterator[NDArray[np.float32]]:
    """Decode and preprocess images, a batch at a time, without the unreadable ones."""
    for start in range(0, len(paths), DEFAULT_BATCH_SIZE):
        part = paths[start : start + DEFAULT_BATCH_SIZE]
        images = []
        for path in part:
            try:
                images.append(decode(root / path, backbone.spec.input_size, spec=decoding))
            except UnreadableImageError:
                continue
        if images:
            yield backbone.prepare(stack(images))
        advance(len(part))
