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
    return fit_mini(tmp_path_factory.mktemp("mini"))


def fit_mini(
    folder: Path, *, patients: int = 24, size: int = 128, accuracy_floor: float = 0.5
) -> Path:
    """Draw X-rays, embed them with featx-mini, and fit a logistic regression."""
    data = write_phantoms(folder / "data", patients=patients, size=size)
    extract(
        load_manifest(data, progress=False),
        folder / "cache",
        load_backbone("featx-mini"),
        augmentation=AugmentationSpec(copies=1),
        options=ExtractionOptions(rows_per_shard=20),
        progress=False,
    )
    run = folder / "mini"
    fit(open_cache(folder / "cache"), HeadSpec.choose("logreg"), run, accuracy_floor=accuracy_floor)
    return run


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
