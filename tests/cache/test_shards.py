"""A shard gives back what was put in, or says that it can't."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from featx_cache import DamagedShardError, StorageError
from featx_cache._shards import (
    RowKeys,
    read_embeddings,
    read_keys,
    shard_name,
    verify_shard,
    write_shard,
)

SPEC = json.dumps({"name": "vgg16", "input_size": 32})
PAIRS = [("ab" * 32, 0), ("ab" * 32, 1), ("cd" * 32, 0), ("0f" * 32, 999)]


@pytest.fixture
def embeddings() -> NDArray[np.float16]:
    return np.random.default_rng(3).normal(size=(4, 9, 9, 16)).astype(np.float16)


@pytest.fixture
def shard(tmp_path: Path, embeddings: NDArray[np.float16]) -> Path:
    path = tmp_path / "shard-x.h5"
    write_shard(path, embeddings, RowKeys.of(PAIRS), spec=SPEC)
    return path


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    @pytest.mark.parametrize("compression", [None, "lzf", "gzip"])
    def test_reading_gives_what_was_written(
        self, tmp_path: Path, embeddings: NDArray[Any], dtype: Any, compression: str | None
    ) -> None:
        path, values = tmp_path / "shard-x.h5", embeddings.astype(dtype)
        write_shard(path, values, RowKeys.of(PAIRS), spec=SPEC, compression=compression)
        read = read_embeddings(path)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, values)
        keys, spec = verify_shard(path)
        assert (keys.pairs(), spec) == (PAIRS, SPEC)
        keys, spec = read_keys(path)
        assert (keys.pairs(), spec) == (PAIRS, SPEC)

    def test_rows_come_in_the_order_asked_for(
        self, shard: Path, embeddings: NDArray[np.float16]
    ) -> None:
        for rows in ([2, 0, 3], [1, 2], [3], [0, 0, 2], [0, 3], [3, 0, 0], [1, 0]):
            read = read_embeddings(shard, np.array(rows))
            np.testing.assert_array_equal(read, embeddings[rows])

    def test_plain_h5py_reads_it(self, shard: Path, embeddings: NDArray[np.float16]) -> None:
        with h5py.File(shard, "r") as file:
            np.testing.assert_array_equal(file["embeddings"][...], embeddings)
            assert file["rows/image_sha256"][0] == b"ab" * 32
            assert file["rows/copy"][...].tolist() == [0, 1, 0, 999]
            assert json.loads(file.attrs["spec"].decode())["input_size"] == 32

    @pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
    def test_h5dump_reads_it(self, shard: Path) -> None:
        command = ["h5dump", "-H", "-A", str(shard)]
        header = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert 'DATASET "embeddings"' in header
        assert "( 4, 9, 9, 16 )" in header

    def test_same_content_makes_the_same_bytes(
        self, shard: Path, embeddings: NDArray[np.float16], tmp_path: Path
    ) -> None:
        again = tmp_path / "again.h5"
        write_shard(again, embeddings, RowKeys.of(PAIRS), spec=SPEC)
        assert again.read_bytes() == shard.read_bytes()

    def test_too_few_keys_are_refused_and_nothing_is_written(
        self, tmp_path: Path, embeddings: NDArray[np.float16]
    ) -> None:
        with pytest.raises(ValueError, match="4 embeddings for 3 rows"):
            write_shard(tmp_path / "x.h5", embeddings, RowKeys.of(PAIRS[:3]), spec=SPEC)
        assert list(tmp_path.iterdir()) == []

    def test_full_disk_leaves_nothing_behind(
        self, small_disk: Callable[[str], Path], embeddings: NDArray[np.float16]
    ) -> None:
        folder = small_disk("8k")
        with pytest.raises(StorageError, match="no room left"):
            write_shard(folder / "x.h5", embeddings, RowKeys.of(PAIRS), spec=SPEC)
        assert list(folder.iterdir()) == []


class TestName:
    def test_is_the_same_for_the_same_content_anywhere(self) -> None:
        # Written down, so that a cache of today is found by the featx of tomorrow.
        name = shard_name("fingerprint", RowKeys.of(PAIRS))
        assert name == "shard-edff580e34cfc3854bed.h5"

    def test_differs_by_spec_image_copy_and_order(self) -> None:
        names = {
            shard_name("fingerprint", RowKeys.of(PAIRS)),
            shard_name("another", RowKeys.of(PAIRS)),
            shard_name("fingerprint", RowKeys.of(PAIRS[::-1])),
            shard_name("fingerprint", RowKeys.of(PAIRS[:3])),
            shard_name("fingerprint", RowKeys.of([*PAIRS[:3], ("0f" * 32, 998)])),
            shard_name("fingerprint", RowKeys.of([*PAIRS[:3], ("1f" * 32, 999)])),
        }
        assert len(names) == 6


class TestDamage:
    def test_flipped_byte_in_the_embeddings_is_found(
        self, shard: Path, embeddings: NDArray[np.float16]
    ) -> None:
        content = bytearray(shard.read_bytes())
        content[content.index(embeddings[2].tobytes()) + 100] ^= 1
        shard.write_bytes(content)
        assert not np.array_equal(read_embeddings(shard), embeddings)
        with pytest.raises(DamagedShardError, match=r"shard-x\.h5: its checksum doesn't match"):
            verify_shard(shard)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
    def test_truncated_file_is_found(self, shard: Path, share: float) -> None:
        content = shard.read_bytes()
        shard.write_bytes(content[: int(share * len(content))])
        for read in (verify_shard, read_keys, read_embeddings):
            with pytest.raises(DamagedShardError, match=r"shard-x\.h5"):
                read(shard)

    def test_missing_file_is_found(self, shard: Path) -> None:
        shard.unlink()
        with pytest.raises(DamagedShardError, match="the file is missing"):
            verify_shard(shard)

    def test_another_hdf5_file_is_no_shard(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["embeddings"] = np.zeros((2, 2))
        with pytest.raises(DamagedShardError, match="isn't a featx-shard-1 file"):
            verify_shard(tmp_path / "other.h5")

    @pytest.mark.parametrize("changed", ["rows/copy", "rows/image_sha256", "spec", "length"])
    def test_changed_facts_of_rows_are_found(self, shard: Path, changed: str) -> None:
        with h5py.File(shard, "r+") as file:
            if changed == "spec":
                file.attrs.modify("spec", np.bytes_(SPEC.replace("32", "33").encode()))
            elif changed == "length":
                copies = file["rows/copy"][:3]
                del file["rows/copy"]
                file["rows/copy"] = copies
            else:
                file[changed][1] = 5 if changed == "rows/copy" else b"ee" * 32
        with pytest.raises(DamagedShardError, match=r"differ in length|checksum"):
            verify_shard(shard)

    @pytest.mark.timeout(60)
    def test_any_flipped_byte_is_found_or_harmless_and_never_hangs(
        self, shard: Path, embeddings: NDArray[np.float16]
    ) -> None:
        content = shard.read_bytes()
        random = np.random.default_rng(11)
        found = 0
        # HDF5's own structures lie before and after the embeddings, at both ends of the file.
        places = [*range(0, 600, 3), *range(600, 10_000, 97), *range(10_000, len(content), 3)]
        for place in places:
            damaged = bytearray(content)
            damaged[place] ^= int(random.integers(1, 256))
            shard.write_bytes(damaged)
            try:
                keys, spec = verify_shard(shard)
            except DamagedShardError:
                found += 1
            else:
                assert (keys.pairs(), spec) == (PAIRS, SPEC), place
                np.testing.assert_array_equal(read_embeddings(shard), embeddings, str(place))
        assert found > 0.5 * len(places)
