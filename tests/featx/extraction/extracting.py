"""Helpers that the tests of extraction use on caches."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, ExtractionReport, extract_images
from featx.images import AugmentationSpec
from featx_cache import Cache, open_cache

ONE_COPY = AugmentationSpec(copies=1)
FOUR_ROWS = ExtractionOptions(rows_per_shard=4)


def run(
    data: Path,
    cache: Path,
    backbone: Backbone,
    *,
    augmentation: AugmentationSpec = ONE_COPY,
    **options: Any,
) -> ExtractionReport:
    """Extract with one copy and small shards."""
    chosen = dataclasses.replace(FOUR_ROWS, **options)
    manifest = load_manifest(data)
    return extract_images(manifest, cache, backbone, augmentation=augmentation, options=chosen)


def everything(cache: Path) -> tuple[Cache, NDArray[np.floating]]:
    opened = open_cache(cache)
    return opened, opened.read(np.arange(len(opened.rows)))


def state(cache: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of last change of every shard: new ones for whatever was written again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").iterdir()
    }


def assert_same(one: Path, other: Path) -> None:
    """Assert that two caches are equal row for row."""
    (a, embeddings), (b, expected) = everything(one), everything(other)
    assert a.images.equals(b.images)
    assert a.rows.equals(b.rows)
    assert (a.spec, a.classes, a.skipped) == (b.spec, b.classes, b.skipped)
    np.testing.assert_array_equal(embeddings, expected)


def make_unreadable(path: Path) -> None:
    """Cut an image so that its header is whole and its pixels aren't."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
