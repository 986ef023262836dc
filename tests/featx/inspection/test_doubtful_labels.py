"""Labels that embeddings contradict: planted ones are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from featx.data import Manifest
from featx.data._manifest import typed
from featx.inspection import inspect
from featx.inspection._doubtful_labels import check_labels, rank_labels
from featx_cache._index import IMAGE_COLUMNS
from tests.featx.conftest import Contents, MakeCache


def far_apart(contents: Contents) -> None:
    """Make the classes easy to tell."""
    sick = (contents.images["label"] == "PNEUMONIA").to_numpy()[contents.image]
    contents.embeddings[:] = np.random.default_rng(0).normal(0, 0.3, contents.embeddings.shape)
    contents.embeddings[sick, ..., :4] += 2.0
    contents.embeddings[~sick, ..., 4:] += 2.0  # images are standardized: a pattern of its own


def manifest_of(images: pd.DataFrame) -> Manifest:
    count = len(images)
    columns = {name: images[name].tolist() for name in IMAGE_COLUMNS}
    size = {"width": [8] * count, "height": [8] * count}
    return Manifest(
        Path(),
        typed(columns | size | {"mode": ["L"] * count, "source": ["PNG"] * count}),
        ("NORMAL", "PNEUMONIA"),
    )


def test_planted_mistakes_are_found_and_nothing_else(make_cache: MakeCache, tmp_path: Path) -> None:
    mistaken: list[str] = []

    def change(contents: Contents) -> None:
        far_apart(contents)
        fitted = contents.images["split"].isin(["train", "val"])
        for row in np.flatnonzero(fitted)[[7, 41, 80]]:
            label = contents.images.loc[row, "label"]
            contents.images.loc[row, "label"] = "NORMAL" if label == "PNEUMONIA" else "PNEUMONIA"
            mistaken.append(str(contents.images.loc[row, "path"]))

    cache = make_cache(tmp_path / "cache", patients=60, change=change)
    manifest = manifest_of(cache.images)
    ranked = rank_labels(manifest, cache)
    doubtful = ranked[ranked["doubtful"]]
    assert sorted(ranked["path"].head(3)) == sorted(mistaken)
    assert sorted(doubtful["path"]) == sorted(mistaken)
    wrong = (doubtful["score"] > 0.5) != (doubtful["label"] == "PNEUMONIA")
    assert wrong.all()
    (finding,) = check_labels(manifest, ranked)
    assert (finding.check, finding.count, finding.severity) == ("doubtful-labels", 3, "warning")
    assert "score of PNEUMONIA" in finding.examples[0]


def test_clean_labels_raise_no_doubt(make_cache: MakeCache, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", patients=60, change=far_apart)
    manifest = manifest_of(cache.images)
    ranked = rank_labels(manifest, cache)
    assert len(ranked) == cache.images["split"].isin(["train", "val"]).sum()
    assert not ranked["doubtful"].any()
    assert check_labels(manifest, ranked) == []


def test_images_that_are_not_in_the_cache_are_not_judged(
    make_cache: MakeCache, tmp_path: Path
) -> None:
    cache = make_cache(tmp_path / "cache", patients=60, change=far_apart)
    other = manifest_of(cache.images.assign(sha256=[f"{n:064}" for n in range(len(cache.images))]))
    assert rank_labels(other, cache).empty
    assert check_labels(other, rank_labels(other, cache)) == []


def test_an_inspection_judges_labels_and_draws_them(
    phantom_data: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    inspection = inspect(phantom_data, cache=tiny_cache)
    assert inspection.labels is not None
    assert inspection.labels.columns.tolist() == ["path", "label", "score", "doubtful"]
    assert inspection.draw_doubtful_labels(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.svg").is_file()
