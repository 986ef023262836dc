"""Images, predictions and a worklist."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.scoring import Prediction
from featx.worklist import RunFacts, Worklist
from featx_cache import open_cache

Scored = Callable[..., Prediction]


def picture(number: int, side: int = 32) -> bytes:
    """Draw an image that is no other's."""
    noise = np.random.default_rng(number).integers(0, 256, (side, side), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "PNG")
    return content.getvalue()


def run_facts(identifier: str = "ab", name: str = "logreg") -> RunFacts:
    return RunFacts(identifier, name, f"runs/{name}", "logreg", ("NORMAL", "PNEUMONIA"), 0.4)


def scored(score: float | None = 0.8, error: str = "") -> Prediction:
    return Prediction("", score, score, 0.4, "PNEUMONIA" if score else "", error=error)


@pytest.fixture
def worklist(tmp_path: Path) -> Iterator[Worklist]:
    with Worklist(tmp_path / "state") as opened:
        opened.use_runs([run_facts()])
        yield opened


@pytest.fixture(scope="session")
def tiny_ncnn_run(
    phantom_data: Path, tiny_ncnn: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run on drawn X-rays whose network loads in a moment. Copy it before a change."""
    folder = tmp_path_factory.mktemp("tiny-ncnn")
    extract(load_manifest(phantom_data), folder / "cache", tiny_ncnn, options=ExtractionOptions())
    spec = HeadSpec.choose("logreg")
    fit(open_cache(folder / "cache"), spec, folder / "run", accuracy_floor=0.5)
    return folder / "run"
