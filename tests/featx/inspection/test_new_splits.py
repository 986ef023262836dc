"""New splits: shares, patients, duplicates, and what can't be split."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from featx.data import Manifest, group_of, load_manifest
from featx.data._links import linked, merged_groups
from featx.data._manifest import typed
from featx.demo._phantoms import write_phantoms
from featx.errors import InputError
from featx.inspection import fold_manifest, inspect, split_manifest


def manifest(patients: int = 200, sick: float = 0.7, seed: int = 0) -> Manifest:
    """Patients of one to six images, some sick."""
    random = np.random.default_rng(seed)
    rows = [
        (f"p{p}-{i}.png", label, f"p{p}")
        for p in range(patients)
        for label in ["SICK" if p < sick * patients else "WELL"]
        for i in range(random.integers(1, 7))
    ]
    paths, labels, groups = zip(*rows, strict=True)
    count = len(rows)
    return Manifest(
        Path(),
        typed(
            {
                "path": paths,
                "label": labels,
                "split": ["train"] * count,
                "group": groups,
                "sha256": [hashlib.sha256(p.encode()).hexdigest() for p in paths],
                "width": np.full(count, 8),
                "height": np.full(count, 8),
                "mode": ["L"] * count,
                "source": ["PNG"] * count,
            }
        ),
        ("WELL", "SICK"),
    )


split = partial(split_manifest, near=False, progress=False)
fold = partial(fold_manifest, near=False, progress=False)


class TestSplit:
    @pytest.mark.parametrize(("test", "val"), [(0.15, 0.15), (0.2, 0.0), (0.33, 0.1), (0.5, 0.25)])
    def test_sizes_and_classes_are_as_asked(self, test: float, val: float) -> None:
        counts = split(manifest(), test=test, val=val).counts()
        assert set(counts.index) == {"train", "test"} | ({"val"} if val else set())
        total = counts.sum()
        for name, share in (("test", test), ("val", val)):
            if share:
                np.testing.assert_allclose(counts.loc[name] / total, share, atol=0.03)

    def test_no_patient_is_in_two(self) -> None:
        table = split(manifest()).table
        assert table.groupby("group")["split"].nunique().max() == 1

    def test_images_and_their_order_stay(self) -> None:
        before = manifest()
        after = split(before)
        assert after.table.drop(columns="split").equals(before.table.drop(columns="split"))

    def test_is_the_same_again_and_another_with_another_seed(self) -> None:
        first = split(manifest(), seed=1).table
        assert split(manifest(), seed=1).table.equals(first)
        assert not split(manifest(), seed=2).table.equals(first)

    def test_duplicates_and_lookalikes_stay_together(self) -> None:
        images = manifest()
        first = images.table.drop_duplicates("group").index
        sha256 = images.table["sha256"].copy()
        sha256.iloc[first[1]] = sha256.iloc[first[180]]
        images = Manifest(Path(), images.table.assign(sha256=sha256), images.classes)
        near = [(int(first[2]), int(first[150])), (int(first[150]), int(first[40]))]
        for seed in range(10):
            dealt = split(images, seed=seed, near=near).table["split"]
            assert dealt[first[1]] == dealt[first[180]]
            assert dealt[first[2]] == dealt[first[150]] == dealt[first[40]]

    @pytest.mark.parametrize(
        ("shares", "said"),
        [
            ({"test": 1.0}, "`test` 1 is not a share"),
            ({"val": -0.1}, "`val` -0.1 is not a share"),
            ({"test": 0.5, "val": 0.5}, "leave nothing to train on"),
        ],
    )
    def test_impossible_shares(self, shares: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            split(manifest(), **shares)

    def test_too_few_patients_of_a_class(self) -> None:
        with pytest.raises(InputError, match=r"class 'WELL' has 2 patients, too few for 3 splits"):
            split(manifest(patients=20, sick=0.9))
        assert len(split(manifest(patients=20, sick=0.9), val=0.0)) > 0

    def test_few_patients_get_every_split_an_image_of_each_class(self) -> None:
        for seed in range(20):
            counts = split(manifest(patients=7, sick=0.5, seed=seed), seed=seed).counts()
            assert (counts.to_numpy() > 0).all()
            assert len(counts) == 3

    @pytest.mark.long
    def test_of_real_x_rays(self, shared_data: Path) -> None:
        real = load_manifest(shared_data / "chest_xray")
        result = split(real, test=0.15, val=0.15)
        counts = result.counts()
        np.testing.assert_allclose(counts.loc["test"] / counts.sum(), 0.15, atol=0.006)
        np.testing.assert_allclose(counts.loc["val"] / counts.sum(), 0.15, atol=0.006)
        assert result.table.groupby("group")["split"].nunique().max() == 1
        assert result.table.groupby("sha256")["split"].nunique().max() == 1


class TestLookAlikes:
    """They stay together unless somebody says otherwise, whatever the images are read from."""

    @pytest.fixture
    def listing(self, tmp_path: Path) -> pd.DataFrame:
        drawn = write_phantoms(tmp_path / "drawn", patients=20, size=64)
        one_each = {group_of(path.name): path for path in sorted(drawn.rglob("*.png"))}
        rows = []
        for number, path in enumerate(one_each.values()):
            with Image.open(path) as image:
                ImageEnhance.Brightness(image).enhance(0.93).save(tmp_path / f"like-{number}.png")
                image.save(tmp_path / f"{number}.png")
            rows += [(f"{name}{number}.png", path.parent.name) for name in ("", "like-")]
        return pd.DataFrame(rows, columns=["path", "label"])

    @pytest.mark.parametrize("kind", ["split", "fold"])
    def test_stay_together(
        self, listing: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        listing.to_csv("m.csv", index=False)
        whole = inspect("m.csv", progress=False)
        columns = []
        for data, near in (("m.csv", True), (listing, True), (whole.manifest, whole.near)):
            if kind == "split":
                dealt = split_manifest(data, near=near, progress=False)
            else:
                dealt = fold_manifest(data, 3, near=near, progress=False)
            columns.append(dealt.table[kind].tolist())
        assert columns[0] == columns[1] == columns[2]
        assert columns[0][::2] == columns[0][1::2]

    def test_are_taken_apart_on_request(self, listing: pd.DataFrame, tmp_path: Path) -> None:
        dealt = split(load_manifest(listing, root=tmp_path)).table["split"].tolist()
        assert dealt[::2] != dealt[1::2]


class TestFolds:
    def test_hold_out_each_patient_once(self) -> None:
        table = fold(manifest(), 5).table
        assert sorted(table["fold"].unique()) == list("12345")
        assert set(table["split"]) == {"train"}
        assert table.groupby("group")["fold"].nunique().max() == 1
        sick = table.groupby("fold")["label"].agg(lambda labels: (labels == "SICK").mean())
        assert sick.max() - sick.min() < 0.05

    def test_too_few_patients(self) -> None:
        with pytest.raises(InputError, match=r"class 'WELL' has 4 patients, too few for 5 folds"):
            fold(manifest(patients=20, sick=0.8), 5)
        with pytest.raises(InputError, match="`folds` 1 is fewer than two"):
            fold(manifest(), 1)


class TestLinks:
    def test_links_reach_through_others(self) -> None:
        sets = linked([["a", "b", "c", "d", "e"], [1, 2, 1, 3, 3]], [(1, 2)])
        assert sets.tolist() == [0, 0, 0, 1, 1]

    def test_patients_who_share_an_image_are_one(self) -> None:
        groups = pd.Series(["a", "b", "b", "c"])
        merged = merged_groups(groups, pd.Series(["1", "1", "2", "3"]))
        assert merged.tolist() == ["a", "a", "a", "c"]

    def test_otherwise_nothing_changes(self) -> None:
        groups = pd.Series(["a", "a", "b"])
        assert merged_groups(groups, pd.Series(["1", "1", "2"])) is groups
