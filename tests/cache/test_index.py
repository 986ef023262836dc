"""The index as plain HDF5: rows from many places, whole or not at all."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from featx_cache import Labelling, RowKeys, RowPlaces, open_cache, write_index, write_shard
from featx_cache import _index as index
from featx_cache._spool import Spool, spooled

ROWS = 60


def make(folder: Path, order: Any) -> Any:
    """Write six shards of ten rows and an index over their rows in some order."""
    (folder / "shards").mkdir(parents=True)
    embeddings = np.random.default_rng(0).normal(size=(ROWS, 2, 3)).astype(np.float16)
    hashes = [f"{n:064x}" for n in range(ROWS)]
    for shard in range(6):
        part = slice(10 * shard, 10 * shard + 10)
        keys = RowKeys.of([(sha256, 0) for sha256 in hashes[part]])
        path = folder / "shards" / f"shard-{shard}.h5"
        write_shard(path, embeddings[part], keys, spec="{}", compression="gzip")
    images = pd.DataFrame(
        {"path": [f"é{n}.png" for n in order], "sha256": [hashes[n] for n in order]}
    )
    images = images.assign(label="A", split="train", group="one")
    places = RowPlaces(
        image=np.arange(ROWS),
        copy=np.zeros(ROWS, np.int16),
        shard=(order // 10).astype(np.int32),
        shard_row=(order % 10).astype(np.int32),
        shards=[f"shard-{shard}.h5" for shard in range(6)],
    )
    write_index(folder, images, places, Labelling(("A", "B"), {}), spec="{}")
    return embeddings[order]


@pytest.mark.parametrize("most", [2, 7, 256])
@pytest.mark.parametrize("shuffled", [False, True])
def test_plain_hdf5_and_featx_read_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, shuffled: bool
) -> None:
    monkeypatch.setattr(index, "MAPPINGS_PER_DATASET", most)
    order = np.random.default_rng(1).permutation(ROWS) if shuffled else np.arange(ROWS)
    expected = make(tmp_path / "cache", order)
    cache = open_cache(tmp_path / "cache")
    np.testing.assert_array_equal(cache.read(np.arange(ROWS)), expected)
    assert cache.images["path"].tolist() == [f"é{n}.png" for n in order]
    with h5py.File(tmp_path / "cache" / "index.h5") as file:
        assert file["embeddings"].is_virtual
        assert file["embeddings"].dtype == np.float16
        assert ("parts" in file) == (most == 2 or (shuffled and most == 7))
        np.testing.assert_array_equal(file["embeddings"][...], expected)
        np.testing.assert_array_equal(file["embeddings"][17:23], expected[17:23])
    assert all(error is None for _, error in cache.verify())


def test_the_index_moves_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAPPINGS_PER_DATASET", 2)
    expected = make(tmp_path / "cache", np.arange(ROWS))
    (tmp_path / "cache").rename(tmp_path / "moved")
    with h5py.File(tmp_path / "moved" / "index.h5") as file:
        np.testing.assert_array_equal(file["embeddings"][...], expected)


class Full(io.FileIO):
    """A file on a disk with so much room."""

    room = 3000

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_hdf5_is_not_told_of_a_full_disk_but_we_are(tmp_path: Path) -> None:
    with Full(tmp_path / "x.h5", "w+") as raw:  # type: ignore[arg-type]
        spool = Spool(raw)
        with h5py.File(spool, "w") as file:
            file.create_dataset("x", data=np.arange(10_000))
        with pytest.raises(OSError, match="No space left"):
            spool.check()


def test_what_is_spooled_is_the_file_that_hdf5_made(tmp_path: Path) -> None:
    with spooled(tmp_path / "x.h5") as spool, h5py.File(spool, "w") as file:
        file.create_dataset("x", data=np.arange(10_000), chunks=(100,), compression="gzip")
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][...], np.arange(10_000))


def test_hdf5_reads_back_what_found_no_room(tmp_path: Path) -> None:
    with Full(tmp_path / "x.h5", "w+") as raw:  # type: ignore[arg-type]
        spool = Spool(raw)
        spool.write(b"a" * 2000)
        spool.write(b"b" * 2000)
        spool.seek(1990)
        assert spool.read(20) == b"a" * 10 + b"b" * 10
        assert spool.seek(0, io.SEEK_END) == 4000
        with pytest.raises(OSError, match="No space left"):
            spool.check()
