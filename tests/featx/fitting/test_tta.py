"""Test-time augmentation: scores averaged over copies, the same from a cache and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featx._run import Run, load_run
from featx.backbones import Backbone
from featx.data import load_manifest
from featx.errors import InputError, SpecMismatchError
from featx.extraction import extract, extract_images
from featx.fitting import fit
from featx.heads import HeadSpec, PatientFolds, build
from featx.images import AugmentationSpec
from featx_cache import Cache, open_cache

LOGREG = HeadSpec.choose("logreg")
COPIES = 2


def extracted(
    data: Path, backbone: Backbone, folder: Path, copies: int = COPIES, rotation: float = 30.0
) -> Cache:
    extract(
        load_manifest(data),
        folder,
        backbone,
        augmentation=AugmentationSpec(copies=copies, rotation=rotation),
        copies_of="all",
    )
    return open_cache(folder)


@pytest.fixture(scope="module")
def copied(
    phantom_data: Path, tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> Cache:
    """A cache with two copies of every image, also of those of val and test."""
    return extracted(phantom_data, tiny_backbone, tmp_path_factory.mktemp("copied") / "cache")


@pytest.fixture(scope="module")
def run(copied: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("tta") / "run"
    return load_run(fit(copied, LOGREG, folder, accuracy_floor=0.4, tta=True).path)


def test_every_image_has_copies(copied: Cache) -> None:
    counts = np.bincount(copied.rows["image"])
    assert set(counts) == {COPIES + 1}
    assert set(copied.images["split"]) == {"train", "val", "test"}


def test_out_of_fold_scores_are_means_over_copies_of_a_head_fitted_on_copies_too(
    copied: Cache, run: Run
) -> None:
    X, y, groups = copied.as_arrays(("train", "val"), copies=0)
    all_X, all_y, all_groups = copied.as_arrays(("train", "val"), copies=COPIES)
    table = pd.read_csv(run.path / "oof.csv")
    rows = copied.row_numbers(splits=("train", "val"), copies=True)
    paths = copied.table(rows)["path"].to_numpy()
    for fold, (kept, held_out) in enumerate(PatientFolds(5, 0).split(X, y, groups)):
        fitted = np.isin(all_groups, groups[kept])
        weight = np.full(fitted.sum(), 1 / (COPIES + 1))
        head = build(LOGREG).fit(all_X[fitted], all_y[fitted], classifier__sample_weight=weight)
        path = table["path"].iloc[held_out[0]]
        of_copies = head.predict_proba(copied.read(rows[paths == path]))[:, 1]
        assert len(of_copies) == COPIES + 1
        assert table["score"].iloc[held_out[0]] == pytest.approx(of_copies.mean(), abs=1e-6)
        assert table["fold"].iloc[held_out[0]] == fold


def test_the_run_says_so(run: Run) -> None:
    assert (run.record.tta, run.record.copies) == (COPIES, COPIES)


def test_files_are_scored_as_their_images_in_the_cache(
    copied: Cache, run: Run, phantom_data: Path, tiny_backbone: Backbone
) -> None:
    cached = run.evaluate(copied, split="test").scores
    files = [phantom_data / path for path in cached["path"]]
    predicted = [p.score for p in run.predict(files, backbone=tiny_backbone)]
    assert predicted == pytest.approx(cached["score"].to_numpy(), abs=2e-3)
    plain = fit(copied, LOGREG, run.path.with_name("plain"), accuracy_floor=0.4).path
    untouched = load_run(plain).evaluate(copied).scores["score"].to_numpy()
    assert np.abs(untouched - cached["score"].to_numpy()).max() > 0.01


def test_more_copies_than_the_run_averages_over_make_no_difference(
    run: Run, copied: Cache, phantom_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    more = extracted(phantom_data, tiny_backbone, tmp_path / "more", copies=COPIES + 1)
    scores = run.evaluate(more).scores["score"].to_numpy()
    assert scores == pytest.approx(run.evaluate(copied).scores["score"].to_numpy(), abs=1e-6)


def test_fewer_or_other_copies_are_refused(
    run: Run, phantom_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    fewer = extracted(phantom_data, tiny_backbone, tmp_path / "fewer", copies=COPIES - 1)
    with pytest.raises(
        InputError, match=r"averages over 2 copies.*`copies=2` and `copies_of='all'`"
    ):
        run.evaluate(fewer)
    other = extracted(phantom_data, tiny_backbone, tmp_path / "other", rotation=5.0)
    with pytest.raises(SpecMismatchError, match=r"augmentation\.rotation"):
        run.evaluate(other)


def test_a_cache_whose_val_images_have_no_copies_is_refused_with_what_to_do(
    tiny_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"split val.*`copies_of='all'`"):
        fit(open_cache(tiny_cache), LOGREG, tmp_path / "run", accuracy_floor=0.4, tta=True)
    assert not list(tmp_path.iterdir())


def test_copies_of_all_keeps_what_copies_of_train_has_made(
    phantom_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    augmentation = AugmentationSpec(copies=1)
    manifest = load_manifest(phantom_data)
    before = extract_images(manifest, tmp_path / "cache", tiny_backbone, augmentation=augmentation)
    after = extract_images(
        manifest, tmp_path / "cache", tiny_backbone, augmentation=augmentation, copies_of="all"
    )
    assert after.new_rows == after.rows - before.rows > 0
