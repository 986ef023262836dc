"""HDF5 files made to do harm, as shard and as index: read as they are, or refused in one line."""

from __future__ import annotations

import functools
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from featx_cache import FeatxError, NotACacheError, open_cache
from tests.refusing import refused

if TYPE_CHECKING:
    from tests.cache.conftest import Sample

Change = Callable[[h5py.File, str], None]
COLUMNS = {
    ("shard", "embeddings"): ((6, 3, 3, 8), "f2"),
    ("shard", "rows/copy"): ((6,), "i2"),
    ("shard", "rows/image_sha256"): ((6,), "S64"),
    ("index", "embeddings"): ((14, 3, 3, 8), "f2"),
    ("index", "rows/shard"): ((14,), "i4"),
    ("index", "images/path"): ((6,), "S20"),
    ("index", "shards/name"): ((3,), "S40"),
}
"""Datasets that are replaced: where they are, their shape and type."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    from tests.cache.conftest import make_cache

    return make_cache(tmp_path_factory.mktemp("template") / "cache")


@pytest.fixture
def made(template: Sample, tmp_path: Path) -> Sample:
    """A copy of a cache, which is much quicker than to write one safely."""
    shutil.copytree(template.folder, tmp_path / "cache")
    return template._replace(folder=tmp_path / "cache")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Files that a cache has no business with: ``x`` in an HDF5 file, and a plain one."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "plain").write_bytes(bytes(100_000))
    with h5py.File(folder / "other.h5", "w") as file:
        for shape, dtype in COLUMNS.values():
            file[f"{len(shape)}-{shape[0]}-{dtype}"] = np.zeros(shape, dtype)
        file["of/embeddings"] = 1
    return folder


def use(folder: Path) -> None:
    """Read all there is in a cache, in every way that there is."""
    cache = open_cache(folder)
    assert cache.details.shape[0] == len(cache.images)
    cache.read(np.arange(len(cache.rows)))
    np.asarray(cache.as_arrays(None, copies=None)[0])
    for _, error in cache.verify():
        if error is not None:
            raise error


def replaced(**values: Any) -> Change:
    def change(file: h5py.File, name: str) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **values)

    return change


def linked(link: Any) -> Change:
    def change(file: h5py.File, name: str) -> None:
        del file[name]
        file[name] = link

    return change


def as_group(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name)


def hard_link_to_the_top(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = file["/"]


def foreign_link(outside: Path, key: str) -> Change:
    return linked(h5py.ExternalLink(str(outside / "other.h5"), key))


def soft_link(file: h5py.File, name: str) -> None:
    """To the very data, which only has another name."""
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def virtual(source: str, key: str, shape: tuple[int, ...], dtype: str) -> Change:
    def change(file: h5py.File, name: str) -> None:
        if name in file:
            del file[name]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(source, key, shape)
        file.create_virtual_dataset(name, layout)

    return change


@functools.cache
def packed_zeros() -> bytes:
    return zlib.compress(bytes(2**27), 1)


def chunk_bomb(shape: tuple[int, ...], dtype: str) -> Change:
    """A small dataset in one chunk that unpacks to 128 MiB."""

    def change(file: h5py.File, name: str) -> None:
        del file[name]
        chunks = (2**27 // int(np.prod(shape[1:])) // np.dtype(dtype).itemsize, *shape[1:])
        options = {"maxshape": (None,) * len(shape), "compression": "gzip"}
        held = file.create_dataset(name, shape, dtype, chunks=chunks, **options)
        held.id.write_direct_chunk((0,) * len(shape), packed_zeros())

    return change


def hostile(outside: Path, shape: tuple[int, ...], dtype: str) -> dict[str, Change]:
    """Replacements for one dataset of this shape and type."""
    key = f"{len(shape)}-{shape[0]}-{dtype}"
    plain = [(str(outside / "plain"), 0, h5py.h5f.UNLIMITED)]
    chunks = (1, *shape[1:])
    rows = (10**12, *shape[1:])
    return {
        "external storage": replaced(shape=shape, dtype=dtype, external=plain),
        "external link": foreign_link(outside, key),
        "external link to a group": foreign_link(outside, "of"),
        "virtual": virtual(str(outside / "other.h5"), key, shape, dtype),
        "virtual, relative": virtual("../outside/other.h5", key, shape, dtype),
        "virtual, up from the shards": virtual("shards/../../outside/other.h5", key, shape, dtype),
        "soft link": soft_link,
        "dangling link": linked(h5py.SoftLink("/nowhere")),
        "10^12 rows": replaced(shape=rows, dtype=dtype, chunks=chunks),
        "10^12 rows, gzip": replaced(shape=rows, dtype=dtype, chunks=chunks, compression="gzip"),
        "rows of 10^12": replaced(shape=(shape[0], 10**12), dtype=dtype, chunks=(1, 1000)),
        "nothing allocated": replaced(shape=(2**30, *shape[1:]), dtype=dtype),
        "a chunk that explodes": chunk_bomb(shape, dtype),
        "texts of any length": replaced(data=["a"] * shape[0]),
        "references": replaced(shape=shape, dtype=h5py.ref_dtype),
        "arrays of any length": replaced(shape=shape, dtype=h5py.vlen_dtype("i4")),
        "compound": replaced(data=np.zeros(shape, [("a", "i4"), ("b", "f8")])),
        "complex": replaced(data=np.zeros(shape, "c16")),
        "a number": replaced(data=3),
        "nothing": replaced(data=h5py.Empty("f")),
        "no rows": replaced(data=np.zeros((0, *shape[1:]), dtype)),
        "one row": replaced(data=np.zeros((1, *shape[1:]), dtype)),
        "one dimension more": replaced(data=np.zeros((*shape, 2), dtype)),
        "a group": as_group,
        "a group that holds itself": hard_link_to_the_top,
    }


HARMS = tuple(hostile(Path("/"), (1,), "i4"))
VALUES = {
    "rows/image": [-1, 6, 10**9],
    "rows/shard": [-1, 3, 2**31 - 1],
    "rows/shard_row": [-1, 6, 2**31 - 1],
}
DEEP = "[" * 100_000
ATTRIBUTES = [
    *[("spec", value) for value in ("", "[]", "null", "{", DEEP, 3, h5py.Empty("f"), np.zeros(9))],
    *[("classes", value) for value in ("", "3", '"AB"', "[]", '["A"]', "{}", DEEP, np.zeros(2))],
    *[(name, value) for name in ("format", "weights", "data") for value in (3, np.zeros(3))],
    ("format", "featx-cache-2"),
]
SKIPPED = ["[]", "3", "", DEEP, 3, np.zeros(2), ["a", "b"]]
DETAILS: dict[str, Any] = {
    "a number": 3,
    "too short": np.zeros(2, int),
    "two dimensions": np.zeros((6, 2), int),
    "texts of any length": ["a"] * 6,
}
NAMES = [b"..", b".", b"", b"/etc/passwd", b"../x.h5", b"a/b.h5"]


def refusal(folder: Path) -> str:
    """Return the one line with which a cache is refused."""
    return refused(use, folder)


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("unharmed")
class TestHostileDatasets:
    @pytest.mark.parametrize("harm", HARMS)
    @pytest.mark.parametrize(("kind", "name"), COLUMNS, ids=lambda value: str(value))
    def test_are_refused(
        self, made: Sample, outside: Path, kind: str, name: str, harm: str
    ) -> None:
        path = made.folder / "index.h5"
        if kind == "shard":
            path = made.folder / "shards" / made.shards[0]
        with h5py.File(path, "r+") as file:
            hostile(outside, *COLUMNS[kind, name])[harm](file, name)
        message = refusal(made.folder)
        assert path.name in message or "holds other rows than the index says" in message

    @pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in VALUES.items() for v in vs])
    def test_that_point_nowhere_are_refused(self, made: Sample, name: str, value: int) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            values = file[name][...].astype(np.int64)
            values[-1] = value
            replaced(data=values)(file, name)
        refusal(made.folder)

    def test_that_agree_on_a_shape_that_is_not_the_shards_are_refused(self, made: Sample) -> None:
        """The index says that an embedding is larger than what is in the shards."""
        with h5py.File(made.folder / "index.h5", "r+") as file:
            source = (f"shards/{made.shards[0]}", "embeddings")
            virtual(*source, (14, 300, 300, 2000), "f2")(file, "embeddings")
        assert "holds other rows than the index says" in refusal(made.folder)


@pytest.mark.timeout(60)
class TestHostileTexts:
    @pytest.mark.parametrize(("name", "value"), ATTRIBUTES)
    def test_in_attributes_are_refused(self, made: Sample, name: str, value: Any) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            file.attrs[name] = value
        refusal(made.folder)

    @pytest.mark.parametrize("value", SKIPPED)
    def test_of_skipped_images_are_refused(self, made: Sample, value: Any) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            replaced(data=value)(file, "skipped")
        refusal(made.folder)

    @pytest.mark.parametrize("value", DETAILS)
    def test_of_the_manifest_are_refused(self, made: Sample, value: str) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            file["details/age"] = DETAILS[value]
        refusal(made.folder)

    def test_of_the_manifest_in_another_file_are_refused(self, made: Sample, outside: Path) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            file["details"] = h5py.ExternalLink(str(outside / "other.h5"), "/")
        assert "link to another place" in refusal(made.folder)

    @pytest.mark.parametrize("name", NAMES)
    def test_that_name_no_shard_are_refused(self, made: Sample, name: bytes) -> None:
        with h5py.File(made.folder / "index.h5", "r+") as file:
            replaced(data=np.array([*file["shards/name"][:2], name]))(file, "shards/name")
        assert "outside the cache" in refusal(made.folder)

    @pytest.mark.parametrize("spec", ["", "[]", "{", DEEP])
    def test_of_a_shard_are_refused_with_a_right_checksum(self, made: Sample, spec: str) -> None:
        from featx_cache._shards import RowKeys, write_shard

        path = made.folder / "shards" / made.shards[1]
        rows = [12, 5, 4, 3]
        keys = RowKeys.of([made.pairs[row] for row in rows])
        if len(spec) > 60_000:
            spec = "[" * 60_000
        write_shard(path, made.embeddings[rows], keys, spec=spec)
        assert made.shards[1] in refusal(made.folder)


class TestParts:
    def test_that_lie_outside_are_found_by_verify(
        self, made: Sample, outside: Path, tmp_path: Path
    ) -> None:
        """Only other readers go by way of parts: looking at each takes as long as reading them."""
        with h5py.File(made.folder / "index.h5", "r+") as file:
            key = "4-14-f2"
            virtual(str(outside / "other.h5"), key, (14, 3, 3, 8), "f2")(file, "parts/000000")
            virtual(".", "parts/000000", (14, 3, 3, 8), "f2")(file, "embeddings")
        cache = open_cache(made.folder)
        np.testing.assert_array_equal(cache.read(np.arange(14)), made.embeddings)
        with pytest.raises(NotACacheError, match=r"parts/000000 shows data of another file"):
            list(cache.verify())
        assert str(tmp_path) in refusal(made.folder)


class TestFlippedBytes:
    """HDF5 crashes when a byte of a virtual dataset's mappings is flipped: they are hashed."""

    @pytest.mark.parametrize("offset", [0, 1])
    def test_of_an_index_are_found_or_harmless(self, made: Sample, offset: int) -> None:
        index = made.folder / "index.h5"
        content = index.read_bytes()
        random = np.random.default_rng(offset)
        found = 0
        places = range(offset, len(content), 16)
        for place in places:
            damaged = bytearray(content)
            damaged[place] ^= int(random.integers(1, 256))
            index.write_bytes(damaged)
            try:
                use(made.folder)
            except FeatxError as error:
                found += str(index) in str(error)
        assert found >= len(places) - 5  # those of the signature's own first word are harmless

    def test_an_index_of_an_earlier_version_has_no_checksum_and_is_read(self, made: Sample) -> None:
        index = made.folder / "index.h5"
        content = index.read_bytes()
        index.write_bytes(content[: content.rindex(b"featx-index-sha256 ")])
        use(made.folder)

    def test_other_readers_take_no_notice_of_the_checksum(self, made: Sample) -> None:
        assert (made.folder / "index.h5").read_bytes()[-84:].startswith(b"featx-index-sha256 ")
        with h5py.File(made.folder / "index.h5", "r") as file:
            assert json.loads(file.attrs["spec"])["seed"] == 1
            np.testing.assert_array_equal(file["embeddings"][...], made.embeddings)


def test_a_cache_is_used_here_as_it_should_be(made: Sample, tmp_path: Path) -> None:
    """`use` reads everything: what it doesn't refuse is whole."""
    use(made.folder)
    shutil.copytree(made.folder, tmp_path / "copy")
    use(tmp_path / "copy")
