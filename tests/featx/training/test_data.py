"""Data that a head is fitted on: patients who share an image are one."""

from __future__ import annotations

from pathlib import Path

from featx.heads import HeadSpec
from featx.training import load_training_data, out_of_fold
from tests.featx.conftest import Contents, MakeCache


def test_byte_identical_images_of_two_patients_are_held_out_together(
    make_cache: MakeCache, tmp_path: Path
) -> None:
    def share(contents: Contents) -> None:
        images = contents.images
        train = images.index[(images["split"] == "train") & (images["label"] == "NORMAL")]
        one, other = train[0], train[-1]
        assert images.loc[one, "group"] != images.loc[other, "group"]
        images.loc[other, "sha256"] = images.loc[one, "sha256"]

    cache = make_cache(tmp_path / "cache", change=share)
    spec = HeadSpec.choose("logreg")
    data = load_training_data(cache, spec, use_copies=False)
    shared = cache.images[cache.images["sha256"].duplicated(keep=False)]
    assert len(shared) == 2
    before = cache.images[cache.images["split"].isin(["train", "val"])]["group"].nunique()
    assert data.table["group"].nunique() == before - 1
    scores = out_of_fold(spec, data, seed=0).scores
    fold = scores.set_index("path")["fold"]
    assert fold[shared["path"].iloc[0]] == fold[shared["path"].iloc[1]]
    views = scores[scores["group"] == data.table["group"].iloc[0]]
    assert views["fold"].nunique() == 1
