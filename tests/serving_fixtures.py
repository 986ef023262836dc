"""A small run of drawn X-rays that `featx serve` loads in a moment, and drawn X-rays for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.demo._phantoms import LABELS, draw_phantom, write_phantoms
from featx.extraction import ExtractionOptions, extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache

FIRST_UNSEEN = 1000
"""Number of the first patient whom no run was fitted on."""


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression on featx-mini's embeddings of drawn X-rays. Copy it before a change."""
    folder = tmp_path_factory.mktemp("mini")
    data = write_phantoms(folder / "data", patients=24, size=128)
    extract(
        load_manifest(data, progress=False),
        folder / "cache",
        load_backbone("featx-mini"),
        augmentation=AugmentationSpec(copies=1),
        options=ExtractionOptions(rows_per_shard=20),
        progress=False,
    )
    fit(
        open_cache(folder / "cache"), HeadSpec.choose("logreg"), folder / "mini", accuracy_floor=0.5
    )
    return folder / "mini"


def draw_films(folder: Path, count: int, *, size: int = 96) -> list[Path]:
    """Draw X-rays of patients whom no run knows, healthy and ill by turns."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        label = LABELS[number % 2]
        path = folder / f"{label.lower()}-{number:03}.png"
        Image.fromarray(draw_phantom(FIRST_UNSEEN + number, 1, label, size=size).pixels).save(path)
        paths.append(path)
    return paths
