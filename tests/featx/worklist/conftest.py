"""Images, predictions and a worklist."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.scoring import Prediction
from featx.worklist import RunFacts, Worklist

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
