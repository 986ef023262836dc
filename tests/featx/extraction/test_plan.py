"""What is still to be done, and how it is divided into shards."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from featx.backbones import BackboneSpec
from featx.data import Manifest
from featx.extraction import ExtractionSpec
from featx.extraction.plan import ImageTask, Survey, copies_of, missing_tasks, place_rows
from featx.images import AugmentationSpec

SPEC = ExtractionSpec(
    backbone=BackboneSpec(
        name="vgg16", layer="block5_pool", weights="random", weights_sha256="0", input_size=32
    ),
    augmentation=AugmentationSpec(copies=2),
)


def manifest(*rows: tuple[str, str, str]) -> Manifest:
    """Make a manifest of (path, sha256, split)."""
    table = pd.DataFrame(rows, columns=["path", "sha256", "split"])
    return Manifest(Path(), table.assign(label="A", group=table["path"]), ("A", "B"))


class TestMissingTasks:
    def test_nothing_held_is_everything_in_the_order_of_the_manifest(self) -> None:
        tasks = missing_tasks(manifest(("b", "1", "train"), ("a", "2", "val")), SPEC, Survey())
        assert tasks == [ImageTask("b", "1", (0, 1, 2)), ImageTask("a", "2", (0,))]

    def test_what_is_held_is_left_out(self) -> None:
        held = Survey()
        held.add("shard", [("1", 0), ("1", 2), ("2", 0)])
        tasks = missing_tasks(manifest(("b", "1", "train"), ("a", "2", "val")), SPEC, held)
        assert tasks == [ImageTask("b", "1", (1,))]

    @pytest.mark.parametrize("order", [("val", "train"), ("train", "val")])
    def test_one_content_is_one_task_with_the_copies_of_all_its_splits(
        self, order: tuple[str, str]
    ) -> None:
        first, second = order
        tasks = missing_tasks(manifest(("a", "1", first), ("b", "1", second)), SPEC, Survey())
        assert tasks == [ImageTask("a", "1", (0, 1, 2))]

    def test_only_training_images_have_copies(self) -> None:
        assert [list(copies_of(split, SPEC)) for split in ("train", "val", "test")] == [
            [0, 1, 2],
            [0],
            [0],
        ]


def test_rows_lie_image_by_image_without_the_skipped() -> None:
    held = Survey()
    held.add("shard-b", [("2", 0), ("1", 0), ("1", 1)])
    held.add("shard-a", [("1", 2), ("1", 0)])
    table = manifest(("x", "1", "train"), ("y", "9", "val"), ("z", "2", "val"))
    images, places = place_rows(table, SPEC, held, {"9"})
    assert images["path"].tolist() == ["x", "z"]
    assert places.image.tolist() == [0, 0, 0, 1]
    assert places.copy.tolist() == [0, 1, 2, 0]
    assert places.shards == ["shard-a", "shard-b"]
    # Of a row that two shards hold, the first that was found counts.
    assert places.shard.tolist() == [1, 1, 0, 1]
    assert places.shard_row.tolist() == [1, 2, 0, 0]
