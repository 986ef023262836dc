"""The index as plain HDF5: rows from many places, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from featx_cache import StorageError, open_cache
from featx_cache import _index as index
from featx_cache._index import Provenance, RowLocations, write_index
from featx_cache._shards import RowKeys, write_shard

ROWS = 60
NOTHING = Provenance(("A", "B"), {})


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
    write_index(folder, images, locations(order), NOTHING, spec="{}")
    return embeddings[order]


def locations(order: Any) -> RowLocations:
    return RowLocations(
        image=np.arange(ROWS),
        copy=np.zeros(ROWS, np.int16),
        shard=(order // 10).astype(np.int32),
        shard_row=(order % 10).astype(np.int32),
        shards=[f"shard-{shard}.h5" for shard in range(6)],
    )


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


def test_a_full_disk_is_told_and_the_old_index_stays(
    small_disk: Callable[[str], Path],
) -> None:
    folder = small_disk("512k")
    make(folder / "cache", np.arange(ROWS))
    before = (folder / "cache" / "index.h5").read_bytes()
    (folder / "filler").write_bytes(bytes(2**20 // 2 - 400_000))
    images = open_cache(folder / "cache").images.assign(note="x" * 8000)
    with pytest.raises(StorageError, match="no room left on the disk"):
        write_index(folder / "cache", images, locations(np.arange(ROWS)), NOTHING, spec="{}")
    assert (folder / "cache" / "index.h5").read_bytes() == before
