"""Work that is still to be done, and its division into shards."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx.backbones import BackboneSpec
from featx.extraction import ExtractionSpec
from featx.extraction import _plan as plan
from featx.extraction._plan import FinishedShards, ImageTask, locate_rows, missing_tasks
from featx.images import AugmentationSpec
from featx_cache._shards import RowKeys

SPEC = ExtractionSpec(
    backbone=BackboneSpec(
        name="vgg16", layer="block5_pool", weights="random", weights_sha256="0", input_size=32
    ),
    augmentation=AugmentationSpec(copies=2),
)


def images(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Make a table of (path, sha256, split)."""
    return pd.DataFrame(rows, columns=["path", "sha256", "split"])


class TestMissingTasks:
    def test_nothing_held_is_everything_in_the_order_of_the_manifest(self) -> None:
        tasks = missing_tasks(
            images(("b", "1", "train"), ("a", "2", "val")), SPEC, FinishedShards()
        )
        assert tasks == [ImageTask("b", "1", (0, 1, 2)), ImageTask("a", "2", (0,))]

    def test_what_is_held_is_left_out(self) -> None:
        finished = FinishedShards()
        finished.add("shard", RowKeys.of([("1", 0), ("1", 2), ("2", 0)]))
        tasks = missing_tasks(images(("b", "1", "train"), ("a", "2", "val")), SPEC, finished)
        assert tasks == [ImageTask("b", "1", (1,))]

    @pytest.mark.parametrize("order", [("val", "train"), ("train", "val")])
    def test_one_content_is_one_task_with_the_copies_of_all_its_splits(
        self, order: tuple[str, str]
    ) -> None:
        first, second = order
        tasks = missing_tasks(images(("a", "1", first), ("b", "1", second)), SPEC, FinishedShards())
        assert tasks == [ImageTask("a", "1", (0, 1, 2))]

    @pytest.mark.parametrize(("copies_of", "others"), [("train", (0,)), ("all", (0, 1, 2))])
    def test_only_training_images_have_copies_unless_all_are_to(
        self, copies_of: Any, others: tuple[int, ...]
    ) -> None:
        table = images(("a", "1", "train"), ("b", "2", "val"), ("c", "3", "test"))
        tasks = missing_tasks(table, SPEC, FinishedShards(), copies_of)
        assert [task.copies for task in tasks] == [(0, 1, 2), others, others]


def test_rows_lie_image_by_image() -> None:
    finished = FinishedShards()
    finished.add("shard-b", RowKeys.of([("2", 0), ("1", 0), ("1", 1)]))
    finished.add("shard-a", RowKeys.of([("1", 2), ("1", 0)]))
    table = images(("x", "1", "train"), ("z", "2", "val"))
    locations = locate_rows(table, SPEC, finished)
    assert locations.image.tolist() == [0, 0, 0, 1]
    assert locations.copy.tolist() == [0, 1, 2, 0]
    assert locations.shards == ["shard-a", "shard-b"]
    # If two shards hold a row, the first that was found counts.
    assert locations.shard.tolist() == [1, 1, 0, 1]
    assert locations.shard_row.tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_finished_shards_find_rows_as_a_dictionary_would(seed: int) -> None:
    random = np.random.default_rng(seed)
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]
    finished = FinishedShards()
    expected: dict[tuple[str, int], tuple[int, int]] = {}
    for shard in range(12):
        pairs = [(hashes[random.integers(40)], int(random.integers(5))) for _ in range(17)]
        finished.add(f"shard-{shard}", RowKeys.of(pairs))
        for row, pair in enumerate(pairs):
            expected.setdefault(pair, (shard, row))
    asked = [(sha256, copy) for sha256 in hashes for copy in range(7)]
    shard_numbers, rows = finished.find(RowKeys.of(asked))
    found = list(zip(shard_numbers.tolist(), rows.tolist(), strict=True))
    assert found == [expected.get(pair, (-1, -1)) for pair in asked]
    assert -1 in shard_numbers
    assert len(expected) > 100


def test_images_whose_hashes_mix_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_hashes", lambda keys: np.zeros(len(keys.copy), np.uint64))
    finished = FinishedShards()
    finished.add("a", RowKeys.of([("1", 0), ("2", 0)]))
    finished.add("b", RowKeys.of([("1", 0), ("2", 1)]))
    shard, row = finished.find(RowKeys.of([("2", 1), ("2", 0), ("3", 0), ("1", 0)]))
    assert shard.tolist() == [1, 0, -1, 0]
    assert row.tolist() == [1, 1, -1, 0]


def test_a_row_that_no_shard_holds_is_not_located() -> None:
    finished = FinishedShards()
    finished.add("shard", RowKeys.of([("1", 0), ("1", 1)]))
    with pytest.raises(KeyError, match="no shard holds copy 2 of a"):
        locate_rows(images(("a", "1", "train")), SPEC, finished)
