"""Scoring image files: what is known of each, and a file that vanishes while it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx._run import Run, load_run
from featx.backbones import Backbone
from featx.evaluation import average_over_grid
from featx.scoring import ImageScorer
from featx_cache import open_cache
from featx_cache.files import open_regular


@pytest.fixture
def run(tiny_run: Path) -> Run:
    return load_run(tiny_run)


def test_an_image_has_its_score_its_embedding_as_a_cache_stores_it_and_the_average(
    run: Run, tiny_backbone: Backbone, tiny_cache: Path, phantom_data: Path
) -> None:
    cache = open_cache(tiny_cache)
    rows = cache.row_numbers(splits=("test",), copies=False)
    stored = cache.read(rows)
    paths = [phantom_data / path for path in cache.table(rows)["path"]]
    found = list(ImageScorer(run, tiny_backbone).score(paths))
    assert [image.path for image in found] == [str(path) for path in paths]
    assert [image.score for image in found] == pytest.approx(run.score(stored), abs=1e-3)
    for image, embedding in zip(found, stored, strict=True):
        assert image.embedding is not None
        assert image.embedding.dtype == embedding.dtype
        assert image.embedding == pytest.approx(embedding, rel=0.02, abs=0.02)
        assert image.vector == pytest.approx(average_over_grid(image.embedding[None])[0])


def test_a_file_that_vanishes_between_two_reads_has_an_error_and_stops_nothing(
    run: Run, tiny_backbone: Backbone, phantom_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.record = run.record.model_copy(update={"tta": 1})  # files are read again for their copies
    first, second = sorted((phantom_data / "test").rglob("*.png"))[:2]

    def gone(path: Path) -> Any:
        if path == first:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return open_regular(path)

    monkeypatch.setattr("featx.scoring._image_scorer.open_regular", gone)
    bad, good = ImageScorer(run, tiny_backbone).score([first, second])
    assert (bad.score, bad.embedding, bad.error) == (None, None, "no such file or directory")
    assert good.score is not None
    assert np.isfinite(good.score)
