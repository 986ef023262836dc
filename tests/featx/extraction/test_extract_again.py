"""Filling a cache once more: what is there stays, what is damaged or changed is made anew."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.errors import NotACacheError
from featx.extraction import extract_images
from featx_cache import open_cache
from featx_cache._index import IMAGE_COLUMNS
from tests.featx.extraction.extracting import (
    ONE_COPY,
    assert_same,
    everything,
    run,
    state,
)

if TYPE_CHECKING:
    from tests.featx.extraction.conftest import Counting


class TestResume:
    def test_a_second_run_computes_nothing(
        self, small_data: Path, counted: Counting, cache: Path
    ) -> None:
        before = state(cache)
        report = run(small_data, cache, counted.backbone)
        assert counted.batches == []
        assert (report.images, report.rows, report.new_rows) == (10, 16, 0)
        assert state(cache) == before

    @pytest.mark.parametrize("passes", [1, 2, 3])
    def test_after_a_failure_only_the_missing_shards_are_computed(
        self, small_data: Path, counted: Counting, cache: Path, tmp_path: Path, passes: int
    ) -> None:
        calls = 0

        def failing(images: NDArray[np.float32]) -> Any:
            nonlocal calls
            calls += 1
            if calls > passes:
                raise RuntimeError("out of memory")
            return counted.backbone._forward(images)

        target = tmp_path / "interrupted"
        with pytest.raises(RuntimeError, match="out of memory"):
            run(small_data, target, dataclasses.replace(counted.backbone, _forward=failing))
        with pytest.raises(NotACacheError, match="unfinished"):
            open_cache(target)
        before = state(target)
        assert len(before) == passes
        assert not list(target.rglob("*.tmp"))
        counted.batches.clear()
        report = run(small_data, target, counted.backbone)
        assert sum(counted.batches) == report.new_rows == 16 - 4 * passes
        after = state(target)
        assert {name: after[name] for name in before} == before
        assert_same(target, cache)

    def test_a_failure_before_the_first_shard_leaves_no_folder(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        def failing(_: NDArray[np.float32]) -> Any:
            raise RuntimeError("out of memory")

        broken = dataclasses.replace(tiny_backbone, _forward=failing)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(RuntimeError, match="out of memory"):
            run(small_data, tmp_path / "new" / "deep" / "cache", broken)
        assert sorted(tmp_path.iterdir()) == before
        (tmp_path / "empty").mkdir()
        with pytest.raises(RuntimeError, match="out of memory"):
            run(small_data, tmp_path / "empty", broken)
        assert list((tmp_path / "empty").iterdir()) == []

    def test_temporary_files_of_a_killed_run_are_removed(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path
    ) -> None:
        (cache / ".index.h5.0123abcd.tmp").write_text("half")
        (cache / "shards" / ".shard-1.h5.0123abcd.tmp").write_text("half")
        run(small_data, cache, tiny_backbone)
        assert not list(cache.rglob("*.tmp"))

    def test_a_lost_index_is_written_again_without_computing(
        self, small_data: Path, counted: Counting, cache: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(cache, tmp_path / "kept")
        (cache / "index.h5").unlink()
        run(small_data, cache, counted.backbone)
        assert counted.batches == []
        assert_same(cache, tmp_path / "kept")


class TestRepair:
    @pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
    def test_only_the_damaged_shard_is_computed_again(
        self, small_data: Path, counted: Counting, cache: Path, tmp_path: Path, damage: str
    ) -> None:
        if damage == "flip":  # a byte that can be found is one that isn't compressed
            shutil.rmtree(cache)
            run(small_data, cache, counted.backbone, compression=None)
            counted.batches.clear()
        shutil.copytree(cache, tmp_path / "kept")
        opened, embeddings = everything(cache)
        shard = cache / "shards" / opened.shard_names[1]
        content = bytearray(shard.read_bytes())
        if damage == "flip":
            row = int(np.flatnonzero(opened._shard == 1)[0])
            content[content.index(embeddings[row].tobytes()) + 1] ^= 1
        damaged = {"flip": content, "truncate": content[:-9], "empty": bytearray()}
        if damage == "remove":
            shard.unlink()
        else:
            shard.write_bytes(damaged[damage])
        before = state(cache)
        report = run(small_data, cache, counted.backbone)
        after = state(cache)
        assert sum(counted.batches) == report.new_rows == 4
        assert report.repaired == (0 if damage == "remove" else 1)
        assert set(after) == set(open_cache(tmp_path / "kept").shard_names)
        for name in set(before) - {shard.name}:
            assert after[name] == before[name]
        assert all(error is None for _, error in open_cache(cache).verify())
        assert_same(cache, tmp_path / "kept")


class TestChangedData:
    def test_an_added_image_alone_is_computed(
        self, small_data: Path, counted: Counting, cache: Path, tmp_path: Path
    ) -> None:
        before = state(cache)
        image = Image.open(small_data / "val" / "NORMAL" / "normal-3.png")
        image.rotate(90).save(small_data / "train" / "NORMAL" / "added.png")
        report = run(small_data, cache, counted.backbone)
        assert sum(counted.batches) == report.new_rows == 2
        assert (report.images, report.rows) == (11, 18)
        assert (report.added, report.changed, report.removed) == (1, 0, 0)
        after = state(cache)
        assert {name: after[name] for name in before} == before
        opened = open_cache(cache)
        assert opened.images.equals(load_manifest(small_data).table[list(IMAGE_COLUMNS)])
        run(small_data, tmp_path / "fresh", counted.backbone, rows_per_shard=4)
        (_, embeddings), (_, expected) = everything(cache), everything(tmp_path / "fresh")
        scale = float(expected.max())
        np.testing.assert_allclose(embeddings, expected, rtol=2e-3, atol=1e-3 * scale)

    def test_a_removed_image_is_gone_without_computing(
        self, small_data: Path, counted: Counting, cache: Path
    ) -> None:
        old, before = everything(cache)
        (small_data / "train" / "NORMAL" / "normal-1.png").unlink()
        report = run(small_data, cache, counted.backbone)
        assert counted.batches == []
        assert (report.images, report.rows) == (9, 14)
        assert (report.added, report.changed, report.removed) == (0, 0, 1)
        opened, embeddings = everything(cache)
        assert "train/NORMAL/normal-1.png" not in set(opened.images["path"])
        kept = old.table(np.arange(16))["path"] != "train/NORMAL/normal-1.png"
        np.testing.assert_array_equal(embeddings, before[kept.to_numpy()])
        assert all(error is None for _, error in opened.verify())
        # Plain HDF5 sees the same through the virtual dataset.
        import h5py

        with h5py.File(cache / "index.h5", "r") as file:
            np.testing.assert_array_equal(file["embeddings"][...], embeddings)

    def test_a_changed_image_is_computed_anew(
        self, small_data: Path, counted: Counting, cache: Path
    ) -> None:
        path = small_data / "test" / "NORMAL" / "normal-4.png"
        old, before = everything(cache)
        Image.open(path).rotate(180).save(path)
        report = run(small_data, cache, counted.backbone)
        assert sum(counted.batches) == report.new_rows == 1
        assert (report.added, report.changed, report.removed) == (0, 1, 0)
        opened, embeddings = everything(cache)
        assert opened.images["path"].equals(old.images["path"])
        changed = (old.images["sha256"] != opened.images["sha256"]).to_numpy()
        assert opened.images["path"][changed].tolist() == ["test/NORMAL/normal-4.png"]
        paths = opened.table(np.arange(16))["path"].tolist()
        row = paths.index("test/NORMAL/normal-4.png")
        assert not np.array_equal(embeddings[row], before[row])
        np.testing.assert_array_equal(np.delete(embeddings, row, 0), np.delete(before, row, 0))

    def test_an_image_that_changes_meanwhile_is_not_taken_for_what_it_was(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        manifest = load_manifest(small_data)
        path = small_data / "test" / "NORMAL" / "normal-4.png"
        Image.open(path).rotate(180).save(path)
        report = extract_images(manifest, tmp_path / "cache", tiny_backbone, augmentation=ONE_COPY)
        assert report.skipped == {
            "test/NORMAL/normal-4.png": "it changed after featx had read its hash"
        }
        assert run(small_data, tmp_path / "cache", tiny_backbone).skipped == {}

    def test_a_renamed_or_relabelled_image_is_not_computed_again(
        self, small_data: Path, counted: Counting, cache: Path
    ) -> None:
        source = small_data / "train" / "NORMAL" / "normal-2.png"
        source.rename(small_data / "train" / "PNEUMONIA" / "person9_virus_1.png")
        run(small_data, cache, counted.backbone)
        assert counted.batches == []
        images = open_cache(cache).images.set_index("path")
        assert images.loc["train/PNEUMONIA/person9_virus_1.png", "label"] == "PNEUMONIA"
        assert images.loc["train/PNEUMONIA/person9_virus_1.png", "group"] == "person9_virus"

    def test_an_image_moved_into_training_gets_just_its_copies(
        self, small_data: Path, counted: Counting, cache: Path
    ) -> None:
        source = small_data / "val" / "NORMAL" / "normal-3.png"
        source.rename(small_data / "train" / "NORMAL" / "normal-3.png")
        report = run(small_data, cache, counted.backbone)
        assert sum(counted.batches) == 1
        assert (report.images, report.rows) == (10, 17)

    def test_identical_files_share_their_rows(
        self, small_data: Path, counted: Counting, tmp_path: Path
    ) -> None:
        folder = small_data / "train" / "NORMAL"
        shutil.copy(folder / "normal-0.png", folder / "same.png")
        report = run(small_data, tmp_path / "cache", counted.backbone)
        assert sum(counted.batches) == report.new_rows == 16
        assert (report.images, report.rows) == (11, 18)
        opened, embeddings = everything(tmp_path / "cache")
        paths = opened.table(np.arange(18))["path"].to_numpy()
        np.testing.assert_array_equal(
            embeddings[paths == "train/NORMAL/normal-0.png"],
            embeddings[paths == "train/NORMAL/same.png"],
        )

    def test_the_same_file_in_train_and_val_has_copies_in_train_only(
        self, small_data: Path, counted: Counting, tmp_path: Path
    ) -> None:
        shutil.copy(
            small_data / "val" / "NORMAL" / "normal-3.png",
            small_data / "train" / "NORMAL" / "normal-3.png",
        )
        report = run(small_data, tmp_path / "cache", counted.backbone)
        assert sum(counted.batches) == 17
        assert report.rows == 18
