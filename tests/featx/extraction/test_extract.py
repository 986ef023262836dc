"""Filling a cache: complete, of one kind, and never by halves."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import featx
from featx.backbones import Backbone, load_backbone
from featx.data import load_manifest
from featx.errors import InputError, SpecMismatchError, StorageError
from featx.extraction import extract_images
from featx.extraction._cache_folder import augmentation_of
from featx.images import (
    AugmentationSpec,
    UnreadableImageError,
    decode,
    make_copy,
    preset_augmentation,
)
from featx_cache import open_cache
from featx_cache._index import IMAGE_COLUMNS
from tests.featx.extraction.extracting import (
    ONE_COPY,
    assert_same,
    everything,
    make_unreadable,
    run,
    state,
)

if TYPE_CHECKING:
    from tests.conftest import MakeDisk
    from tests.featx.extraction.conftest import Counting


class TestFreshCache:
    def test_has_every_image_once_and_copies_of_training_images_only(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        augmentation = AugmentationSpec(copies=2)
        report = run(small_data, tmp_path / "cache", tiny_backbone, augmentation=augmentation)
        opened = open_cache(tmp_path / "cache")
        table = opened.table(np.arange(len(opened.rows)))
        assert table["path"].nunique() == 10
        for (split, _), rows in table.groupby(["split", "path"]):
            assert rows["copy"].tolist() == ([0, 1, 2] if split == "train" else [0])
        assert opened.images.equals(load_manifest(small_data).table[list(IMAGE_COLUMNS)])
        assert (report.images, report.rows, report.new_rows) == (10, 22, 22)
        assert (report.repaired, report.skipped) == (0, {})
        assert report.seconds > 0

    def test_rows_are_the_embeddings_of_the_copies(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path
    ) -> None:
        opened, embeddings = everything(cache)
        table = opened.table(np.arange(len(opened.rows)))
        images = [
            make_copy(decode(small_data / path, 32), ONE_COPY, sha256, copy)
            for path, sha256, copy in zip(
                table["path"], table["sha256"], table["copy"], strict=True
            )
        ]
        expected = tiny_backbone.embed(np.stack(images))
        np.testing.assert_allclose(embeddings, expected, rtol=1e-3, atol=1e-3 * expected.max())

    def test_tells_what_made_it(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path
    ) -> None:
        opened = open_cache(cache)
        assert opened.spec == {
            "backbone": tiny_backbone.spec.model_dump(),
            "decoding": {"resize": "bilinear", "jpeg_reduction": 2},
            "augmentation": ONE_COPY.model_dump(),
            "storage_dtype": "float16",
        }
        assert opened.classes == ("NORMAL", "PNEUMONIA")
        assert opened.weights == "random"
        assert opened.data == str(small_data.resolve())
        assert opened.dtype == np.float16
        assert len(opened.shard_names) == 4

    def test_float32_storage_keeps_the_network_s_numbers(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path, tmp_path: Path
    ) -> None:
        featx.extract(
            small_data,
            tmp_path / "wide",
            tiny_backbone,
            augmentation=ONE_COPY,
            storage_dtype="float32",
        )
        _, wide = everything(tmp_path / "wide")
        _, narrow = everything(cache)
        assert wide.dtype == np.float32
        np.testing.assert_array_equal(wide.astype(np.float16), narrow)
        assert not np.array_equal(wide, narrow)

    def test_compression_changes_no_number(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path, tmp_path: Path
    ) -> None:
        for compression in ("lzf", None):
            run(small_data, tmp_path / str(compression), tiny_backbone, compression=compression)
            assert_same(tmp_path / str(compression), cache)

    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    def test_batch_size_changes_results_by_rounding_at_most(
        self,
        small_data: Path,
        counted: Counting,
        cache: Path,
        tmp_path: Path,
        batch_size: int,
    ) -> None:
        run(small_data, tmp_path / "other", counted.backbone, batch_size=batch_size)
        assert max(counted.batches) == min(batch_size, 4)
        (_, embeddings), (_, expected) = everything(tmp_path / "other"), everything(cache)
        scale = float(expected.max())
        np.testing.assert_allclose(embeddings, expected, rtol=2e-3, atol=1e-3 * scale)

    def test_rows_per_shard_changes_no_number(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path, tmp_path: Path
    ) -> None:
        run(small_data, tmp_path / "other", tiny_backbone, rows_per_shard=1, batch_size=2)
        run(small_data, tmp_path / "third", tiny_backbone, rows_per_shard=50, batch_size=2)
        assert len(open_cache(tmp_path / "other").shard_names) == 10
        assert len(open_cache(tmp_path / "third").shard_names) == 1
        for folder in ("other", "third"):
            (a, one), (b, two) = everything(tmp_path / folder), everything(cache)
            assert a.rows.equals(b.rows)
            np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-3 * float(two.max()))

    def test_mixed_grey_and_colour_images_are_embedded_alike(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path, tmp_path: Path
    ) -> None:
        coloured = tmp_path / "coloured"
        shutil.copytree(small_data, coloured)
        for path in sorted(coloured.rglob("*.png"))[::2]:
            Image.open(path).convert("RGB").save(path)
        run(coloured, tmp_path / "other", tiny_backbone, augmentation=AugmentationSpec(copies=0))
        rgb, embeddings = everything(tmp_path / "other")
        opened = open_cache(cache)
        expected = opened.read(opened.row_numbers(splits=None, copies=False))
        assert rgb.images["path"].equals(opened.images["path"])
        scale = float(expected.max())
        np.testing.assert_allclose(embeddings, expected, rtol=2e-3, atol=1e-3 * scale)

    def test_values_beyond_float16_are_its_largest_and_not_infinite(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.full((len(images), 1, 1, 512), 1e6, np.float32)

        huge = dataclasses.replace(tiny_backbone, _forward=forward)
        run(small_data, tmp_path / "cache", huge)
        assert (everything(tmp_path / "cache")[1] == np.finfo(np.float16).max).all()

    def test_image_names_that_are_not_unicode_survive(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        strange = b"\xff\xe9.png".decode("utf-8", "surrogateescape")
        folder = small_data / "train" / "NORMAL"
        next(folder.iterdir()).rename(folder / strange)
        (folder / ("broken" + strange)).touch()
        run(small_data, tmp_path / "cache", tiny_backbone)
        opened = open_cache(tmp_path / "cache")
        assert f"train/NORMAL/{strange}" in opened.images["path"].tolist()
        assert list(opened.skipped) == [f"train/NORMAL/broken{strange}"]

    def test_further_columns_of_the_manifest_are_its_details(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        manifest = load_manifest(small_data)
        names = [f"é{number}" for number in range(len(manifest))]
        table = manifest.table.assign(**{"mA/s": names, "cause": "virus"})
        changed = dataclasses.replace(manifest, table=table)
        extract_images(changed, tmp_path / "cache", tiny_backbone, augmentation=ONE_COPY)
        opened = open_cache(tmp_path / "cache")
        assert list(opened.images.columns) == list(IMAGE_COLUMNS)
        details = opened.details
        expected = {"width", "height", "mode", "source", "cause", "mA_s"}
        assert set(details.columns) == expected
        assert details["mA_s"].tolist() == names
        assert details["width"].dtype == np.int32
        for column in ("width", "height", "mode", "source", "cause"):
            assert details[column].tolist() == table[column].tolist()

    def test_progress_counts_every_row(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        done: dict[str, list[int]] = {}

        class Recorder:
            @contextlib.contextmanager
            def task(
                self, description: str, total: int, unit: str
            ) -> Iterator[Callable[[int], None]]:
                done[f"{description} ({unit})"] = [total]
                yield done[f"{description} ({unit})"].append

            def note(self, message: str) -> None:
                raise AssertionError(message)

        make_unreadable(small_data / "train" / "NORMAL" / "normal-0.png")
        manifest = load_manifest(small_data)
        extract_images(manifest, tmp_path / "cache", tiny_backbone, progress=Recorder())
        assert done["Checking finished shards (shard)"] == [0]
        total, *steps = done["Extracting embeddings (image)"]
        assert total == sum(steps) == 22


def test_a_cache_that_was_begun_goes_on_with_its_own_copies_unless_others_are_given(
    cache: Path, tmp_path: Path
) -> None:
    own = AugmentationSpec(copies=1)
    assert augmentation_of(cache) == augmentation_of(cache, copies=None, seed=0) == own
    assert augmentation_of(cache, seed=7) == AugmentationSpec(copies=1, seed=7)
    assert augmentation_of(tmp_path / "new", copies=3) == preset_augmentation("shift", copies=3)


class TestOtherSettings:
    @pytest.mark.parametrize(
        ("augmentation", "field"),
        [
            (AugmentationSpec(copies=2), r"augmentation\.copies: 1 -> 2"),
            (AugmentationSpec(copies=1, seed=7), r"augmentation\.seed: 0 -> 7"),
            (AugmentationSpec(copies=1, zoom=0.1), r"augmentation\.zoom: 0\.2 -> 0\.1"),
        ],
    )
    def test_of_the_copies_are_refused_by_name(
        self,
        small_data: Path,
        counted: Counting,
        cache: Path,
        augmentation: AugmentationSpec,
        field: str,
    ) -> None:
        before = state(cache)
        with pytest.raises(SpecMismatchError, match=rf"made with other settings \({field}\)"):
            run(small_data, cache, counted.backbone, augmentation=augmentation)
        assert counted.batches == []
        assert state(cache) == before

    def test_of_the_storage_are_refused_by_name(
        self, small_data: Path, tiny_backbone: Backbone, cache: Path
    ) -> None:
        with pytest.raises(SpecMismatchError, match="storage_dtype: float16 -> float32"):
            featx.extract(small_data, cache, tiny_backbone, copies=1, storage_dtype="float32")

    def test_of_the_backbone_are_refused_by_name(self, small_data: Path, cache: Path) -> None:
        other = load_backbone("vgg16", weights="random", input_size=48, precision="float32", seed=1)
        with pytest.raises(SpecMismatchError) as caught:
            run(small_data, cache, other)
        for field in ("input_size: 32 -> 48", "weights_seed: 0 -> 1", "weights_sha256"):
            assert f"backbone.{field}" in str(caught.value)
        assert "preprocess" not in str(caught.value)


class TestUnreadableImages:
    def test_are_skipped_and_reported_with_their_reasons(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        folder = small_data / "train" / "NORMAL"
        make_unreadable(folder / "cut.png")
        (folder / "empty.png").touch()
        (folder / "text.jpeg").write_text("no image")
        report = run(small_data, tmp_path / "cache", tiny_backbone)
        assert set(report.skipped) == {
            "train/NORMAL/cut.png",
            "train/NORMAL/empty.png",
            "train/NORMAL/text.jpeg",
        }
        assert "truncated" in report.skipped["train/NORMAL/cut.png"]
        assert (report.images, report.rows, report.new_rows) == (10, 16, 16)
        opened = open_cache(tmp_path / "cache")
        assert opened.skipped == report.skipped
        assert not set(opened.images["path"]) & set(report.skipped)

    def test_of_the_same_content_are_each_reported(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        folder = small_data / "train" / "NORMAL"
        make_unreadable(folder / "cut.png")
        shutil.copy(folder / "cut.png", folder / "cut-again.png")
        report = run(small_data, tmp_path / "cache", tiny_backbone)
        assert set(report.skipped) == {"train/NORMAL/cut.png", "train/NORMAL/cut-again.png"}

    def test_may_be_all_of_what_would_be_a_shard(
        self, small_data: Path, counted: Counting, tmp_path: Path
    ) -> None:
        make_unreadable(small_data / "train" / "NORMAL" / "cut.png")
        report = run(small_data, tmp_path / "cache", counted.backbone, rows_per_shard=2)
        assert list(report.skipped) == ["train/NORMAL/cut.png"]
        assert len(open_cache(tmp_path / "cache").shard_names) == 8
        assert (report.images, report.rows, sum(counted.batches)) == (10, 16, 16)
        # The next run reports them again.
        counted.batches.clear()
        again = run(small_data, tmp_path / "cache", counted.backbone, rows_per_shard=2)
        assert (again.skipped, counted.batches) == (report.skipped, [])

    @pytest.mark.parametrize("kind", ["header", "pixels"])
    def test_stop_the_job_where_asked_and_nothing_is_left(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path, kind: str
    ) -> None:
        path = small_data / "train" / "NORMAL" / "a-first.png"
        if kind == "header":
            path.write_text("no image")
        else:
            make_unreadable(path)
        with pytest.raises(UnreadableImageError, match=r"can't read the image .*a-first\.png"):
            run(small_data, tmp_path / "cache", tiny_backbone, on_error="fail", rows_per_shard=100)
        assert not (tmp_path / "cache").exists()

    def test_that_are_all_of_a_class_are_an_error_before_any_work(
        self, small_data: Path, counted: Counting, tmp_path: Path
    ) -> None:
        for path in small_data.glob("*/PNEUMONIA/*.png"):
            make_unreadable(path)
        with pytest.raises(InputError, match=r"class 'PNEUMONIA' has no readable image.*truncated"):
            run(small_data, tmp_path / "cache", counted.backbone)
        assert counted.batches == []
        assert not (tmp_path / "cache").exists()


class TestTarget:
    @pytest.mark.parametrize(("room", "kept"), [(36_000, {1, 2, 3}), (48_000, {4})])
    def test_that_fills_up_keeps_finished_shards_and_goes_on_after_making_room(
        self,
        small_data: Path,
        counted: Counting,
        cache: Path,
        small_disk: MakeDisk,
        room: int,
        kept: set[int],
    ) -> None:
        # A shard of four rows takes two pages of 4 kB, and a claim or the spec one; the index more.
        disk = small_disk("512k")
        (disk / "ballast").write_bytes(bytes(512 * 1024 - room))
        with pytest.raises(StorageError, match=r"no room left .*run the same command again"):
            run(small_data, disk / "cache", counted.backbone)
        assert not list(disk.rglob("*.tmp"))
        before = state(disk / "cache")
        assert len(before) in kept
        (disk / "ballast").unlink()
        counted.batches.clear()
        run(small_data, disk / "cache", counted.backbone)
        assert sum(counted.batches) == 16 - 4 * len(before)
        after = state(disk / "cache")
        assert {name: after[name] for name in before} == before
        assert_same(disk / "cache", cache)
