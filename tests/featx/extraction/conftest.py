"""A few X-rays, and a network that counts what it is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.demo._phantoms import draw_phantom
from tests.featx.extraction.extracting import run


class Counting(NamedTuple):
    """A backbone and the number of images in each of its forward passes."""

    backbone: Backbone
    batches: list[int]


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    """Three images a class in train, one a class in val and in test: with a copy each, 16 rows."""
    from PIL import Image

    root = tmp_path / "data"
    for split, numbers in (("train", range(3)), ("val", range(3, 4)), ("test", range(4, 5))):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in numbers:
                pixels = draw_phantom(number, 0, label, size=48).pixels
                Image.fromarray(pixels).save(folder / f"{label.lower()}-{number}.png")
    return root


@pytest.fixture
def cache(small_data: Path, tiny_backbone: Backbone, tmp_path: Path) -> Path:
    """A finished cache of `small_data` in four shards."""
    run(small_data, tmp_path / "cache", tiny_backbone)
    return tmp_path / "cache"


@pytest.fixture
def counted(tiny_backbone: Backbone) -> Counting:
    """The tiny network, counting."""
    batches: list[int] = []

    def forward(images: NDArray[np.float32]) -> Any:
        batches.append(int(images.any(axis=(1, 2, 3)).sum()))  # others fill the batch up
        return tiny_backbone._forward(images)

    return Counting(dataclasses.replace(tiny_backbone, _forward=forward), batches)
