"""A finished cache: rows by split and copy, the virtual index, and every kind of non-cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest

from featx_cache import DamagedShardError, InputError, NotACacheError, open_cache
from featx_cache._shards import RowKeys, write_shard

if TYPE_CHECKING:
    from tests.cache.conftest import Sample


def test_opening_gives_tables_and_facts(made: Sample) -> None:
    cache = open_cache(str(made.folder))
    assert cache.path == made.folder
    assert cache.classes == ("A", "B")
    assert cache.skipped == {"train/A/bad.png": "the file is empty"}
    assert (cache.weights, cache.data) == ("random", "/data")
    assert cache.spec == {"backbone": {"name": "none"}, "seed": 1}
    assert cache.embedding_shape == (3, 3, 8)
    assert cache.shape == (14, 3, 3, 8)
    assert cache.dtype == np.float16
    assert set(cache.shard_names) == set(made.shards)
    pd.testing.assert_frame_equal(cache.images, made.images, check_dtype=False)
    assert cache.rows["copy"].tolist() == [0, 1, 2] * 4 + [0, 0]
    assert cache.rows["image"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5]


def test_bytes_on_disk_are_those_of_index_and_shards(made: Sample) -> None:
    files = [made.folder / "index.h5", *(made.folder / "shards").iterdir()]
    assert open_cache(made.folder).bytes_on_disk() == sum(f.stat().st_size for f in files)


class TestRows:
    @pytest.mark.parametrize(
        ("splits", "copies", "expected"),
        [
            (None, True, list(range(14))),
            (None, False, [0, 3, 6, 9, 12, 13]),
            (("train",), True, list(range(12))),
            (("train", "val"), False, [0, 3, 6, 9, 12]),
            (("test",), True, [13]),
            (("val", "nowhere"), True, [12]),
        ],
    )
    def test_are_chosen_by_split_and_copy(
        self, made: Sample, splits: tuple[str, ...] | None, copies: bool, expected: list[int]
    ) -> None:
        rows = open_cache(made.folder).row_numbers(splits=splits, copies=copies)
        assert rows.tolist() == expected

    def test_of_an_absent_split_are_an_error_that_names_those_there_are(self, made: Sample) -> None:
        with pytest.raises(InputError, match=r"'holdout'.*test, train, val"):
            open_cache(made.folder).row_numbers(splits=("holdout",), copies=True)

    def test_table_repeats_the_image_for_each_copy(self, made: Sample) -> None:
        table = open_cache(made.folder).table(np.array([13, 4, 3]))
        assert table["path"].tolist() == made.images["path"].iloc[[5, 1, 1]].tolist()
        assert table["group"].tolist() == ["patient2", "patient0", "patient0"]
        assert table["copy"].tolist() == [0, 1, 0]
        assert table.index.tolist() == [0, 1, 2]


class TestReading:
    @pytest.mark.parametrize("rows", [range(14), [13, 0, 7, 7, 12], [5], [9, 1, 0]])
    def test_gives_the_rows_in_the_order_asked_for(self, made: Sample, rows: list[int]) -> None:
        read = open_cache(made.folder).read(np.array(rows))
        assert read.dtype == np.float16
        np.testing.assert_array_equal(read, made.embeddings[list(rows)])

    def test_no_rows_give_an_empty_array_of_the_right_shape(self, made: Sample) -> None:
        assert open_cache(made.folder).read(np.array([], np.intp)).shape == (0, 3, 3, 8)

    def test_blocks_cover_every_row_once_one_shard_at_a_time(self, made: Sample) -> None:
        rows = np.array([13, 2, 3, 0, 8, 12])
        blocks = list(open_cache(made.folder).blocks(rows))
        assert len(blocks) == 3
        assert sorted(np.concatenate([positions for positions, _ in blocks])) == list(range(6))
        for positions, embeddings in blocks:
            np.testing.assert_array_equal(embeddings, made.embeddings[rows[positions]])

    def test_a_truncated_or_missing_shard_is_an_error(self, made: Sample) -> None:
        cache = open_cache(made.folder)
        shard = made.folder / "shards" / made.shards[0]
        os.truncate(shard, 1000)
        with pytest.raises(DamagedShardError, match=made.shards[0]):
            cache.read(np.array([0]))
        shard.unlink()
        with pytest.raises(DamagedShardError, match="missing"):
            cache.read(np.array([0]))
        np.testing.assert_array_equal(cache.read(np.array([3])), made.embeddings[[3]])


class TestVirtualIndex:
    def test_plain_h5py_reads_it_from_another_folder(self, made: Sample, tmp_path: Path) -> None:
        program = (
            "import sys, h5py, numpy\n"
            "with h5py.File(sys.argv[1], 'r') as file:\n"
            "    assert file['embeddings'].is_virtual\n"
            "    numpy.save(sys.argv[2], file['embeddings'][...])\n"
            "    numpy.save(sys.argv[3], file['embeddings'][4:13:3])\n"
            "    print(file['images/path'].asstr()[5], file['images/label'][5].decode())\n"
            "assert not [name for name in sys.modules if name.startswith('featx')]\n"
        )
        (tmp_path / "elsewhere").mkdir()
        command = [sys.executable, "-c", program, "../cache/index.h5", "all.npy", "some.npy"]
        finished = subprocess.run(
            command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
        everything = np.load(tmp_path / "elsewhere" / "all.npy")
        np.testing.assert_array_equal(everything, made.embeddings)
        np.testing.assert_array_equal(everything, open_cache(made.folder).read(np.arange(14)))
        some = np.load(tmp_path / "elsewhere" / "some.npy")
        np.testing.assert_array_equal(some, made.embeddings[4:13:3])
        assert finished.stdout.split() == ["test/B/5.png", "B"]

    def test_a_moved_cache_still_reads(self, made: Sample, tmp_path: Path) -> None:
        moved = made.folder.rename(tmp_path / "moved cache")
        with h5py.File(moved / "index.h5", "r") as file:
            np.testing.assert_array_equal(file["embeddings"][...], made.embeddings)
        np.testing.assert_array_equal(open_cache(moved).read(np.arange(14)), made.embeddings)


class TestVerify:
    def test_a_whole_cache_has_no_damage(self, made: Sample) -> None:
        assert list(open_cache(made.folder).verify()) == [
            (name, None) for name in open_cache(made.folder).shard_names
        ]

    def test_every_damaged_shard_is_reported_and_no_other(self, made: Sample) -> None:
        flipped, truncated = (made.folder / "shards" / name for name in made.shards[:2])
        content = bytearray(flipped.read_bytes())
        content[content.index(made.embeddings[9].tobytes()) + 7] ^= 0x10
        flipped.write_bytes(content)
        os.truncate(truncated, truncated.stat().st_size - 1)
        errors = dict(open_cache(made.folder).verify())
        assert {name for name, error in errors.items() if error} == set(made.shards[:2])
        assert "checksum" in str(errors[made.shards[0]])
        assert made.shards[1] in str(errors[made.shards[1]])

    def test_a_whole_shard_with_other_rows_than_the_index_says_is_damage(
        self, made: Sample
    ) -> None:
        path = made.folder / "shards" / made.shards[1]
        pairs = [made.pairs[row] for row in (12, 4, 5, 3)]
        spec = json.dumps({"backbone": {"name": "none"}, "seed": 1})
        write_shard(path, made.embeddings[[12, 4, 5, 3]], RowKeys.of(pairs), spec=spec)
        errors = dict(open_cache(made.folder).verify())
        assert "holds other rows" in str(errors[made.shards[1]])
        assert sum(error is not None for error in errors.values()) == 1

    def test_a_shard_of_another_spec_is_damage(self, made: Sample) -> None:
        path = made.folder / "shards" / made.shards[1]
        pairs = [made.pairs[row] for row in (12, 5, 4, 3)]
        write_shard(path, made.embeddings[[12, 5, 4, 3]], RowKeys.of(pairs), spec='{"seed": 2}')
        assert dict(open_cache(made.folder).verify())[made.shards[1]] is not None


class TestNotACache:
    def test_folders_and_files_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "cache.h5").touch()
        for name, message in (
            ("nowhere", r"no cache at .*nowhere.*featx.extract"),
            ("", r"not a featx cache \(it has no index\.h5\)"),
            ("cache.h5", "not a featx cache"),
        ):
            with pytest.raises(NotACacheError, match=message):
                open_cache(tmp_path / name)

    def test_indexes_of_something_else(self, made: Sample) -> None:
        with h5py.File(made.folder / "index.h5", "w") as file:
            file["embeddings"] = np.zeros((2, 2))
        with pytest.raises(NotACacheError, match="unknown format"):
            open_cache(made.folder)
        (made.folder / "index.h5").write_text("no HDF5")
        with pytest.raises(NotACacheError, match=r"index\.h5 can't be read.*Delete index\.h5"):
            open_cache(made.folder)
        (made.folder / "index.h5").unlink()
        with pytest.raises(NotACacheError, match=r"unfinished.*goes on where it stopped"):
            open_cache(made.folder)

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.99])
    def test_truncated_index(self, made: Sample, share: float) -> None:
        index = made.folder / "index.h5"
        os.truncate(index, int(share * index.stat().st_size))
        with pytest.raises(NotACacheError, match="can't be read"):
            open_cache(made.folder)

    @pytest.mark.parametrize("missing", ["images/label", "rows/shard", "skipped", "embeddings"])
    def test_index_that_lacks_a_table(self, made: Sample, missing: str) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            del file[missing]
        with pytest.raises(NotACacheError, match="can't be read"):
            open_cache(made.folder)

    def test_index_that_points_out_of_the_cache_is_refused(self, made: Sample) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            del file["shards/name"]
            file["shards/name"] = np.array([b"../../secret.h5"] * 3)
        with pytest.raises(NotACacheError, match="outside the cache"):
            open_cache(made.folder)


class TestErrors:
    def test_message_is_what_then_what_to_do(self) -> None:
        error = InputError("the folder is empty.", "Give another.")
        assert str(error) == "the folder is empty. Give another."
        assert str(InputError("the folder is empty")) == "the folder is empty"

    def test_cache_package_lists_what_it_offers(self) -> None:
        import featx_cache

        for name in dir(featx_cache):
            assert getattr(featx_cache, name) is not None
        with pytest.raises(AttributeError, match="attribute open_cach"):
            _ = featx_cache.open_cach  # type: ignore[attr-defined]


def test_a_relative_path_is_good_after_a_change_of_the_working_folder(
    made: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.folder.parent)
    cache = open_cache(made.folder.name)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(cache.read(np.arange(14)), made.embeddings)
    assert cache.details.empty
    assert cache.bytes_on_disk() > 0
    assert [error for _, error in cache.verify()] == [None] * 3
    assert str(cache.path) == made.folder.name
