"""The cache folder is featx's, or it is left alone: nothing of somebody else is deleted in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featx.errors import InputError
from featx.extraction._cache_folder import discard, filling, index_lock


@pytest.fixture
def cache(tiny_cache: Path, tmp_path: Path) -> Path:
    """A cache that may be changed."""
    return Path(shutil.copytree(tiny_cache, tmp_path / "cache"))


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def fill(folder: Path) -> None:
    with filling(folder), index_lock(folder):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "letter.txt",
        ".letter.tmp",
        ".index.h5.mine.tmp",
        "index.h5",
        "shards/letter.txt",
        "shards/shard-mine.h5",
        "shards/shard-0123456789abcdef0123.h5",
        "spec.json",
    ],
)
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"openapi": "3.1"}')
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"not a featx cache .it has {file.name}"):
        fill(tmp_path / "mine")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("lost", ["spec.json", "index.h5", "shards"])
def test_a_cache_that_lost_a_part_is_one_still(cache: Path, lost: str) -> None:
    shutil.rmtree(cache / lost) if lost == "shards" else (cache / lost).unlink()
    (cache / "README.txt").write_text("mine")
    fill(cache)
    assert (cache / "README.txt").read_text() == "mine"
    assert (cache / "spec.json").exists() == (lost != "spec.json")


def test_what_a_run_that_was_killed_at_once_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "cache" / "shards").mkdir(parents=True)
    (tmp_path / "cache" / ".lock").touch()
    (tmp_path / "cache" / ".spec.json.0123abcd.tmp").touch()
    with filling(tmp_path / "cache"), index_lock(tmp_path / "cache"):
        found = {path.name for path in (tmp_path / "cache").iterdir()}
        assert found == {".lock", ".index.h5.lock", "shards"}


def test_leftovers_go_by_the_names_that_featx_gives(cache: Path) -> None:
    kept = {".notes.tmp", ".index.h5.mine.tmp", ".paper.h5.0123abcd.tmp"}
    for folder in (cache, cache / "shards"):
        for name in (*kept, ".shard-mine.tmp", ".shard-x.h5.bak.tmp"):
            (folder / name).write_text("mine")
    (cache / ".index.h5.0123abcd.tmp").write_text("half")
    before = tree(cache)
    fill(cache)
    assert set(before) - set(tree(cache)) == {".index.h5.0123abcd.tmp"}


def test_shards_that_are_a_link_are_not_followed(cache: Path, tmp_path: Path) -> None:
    (cache / "shards").rename(tmp_path / "there")
    (cache / "shards").symlink_to(tmp_path / "there")
    (tmp_path / "there" / ".shard-0123456789abcdef0123.h5.0123abcd.tmp").write_text("mine")
    before = tree(tmp_path / "there")
    with pytest.raises(InputError, match="shards is a link"):
        fill(cache)
    assert tree(tmp_path / "there") == before


@pytest.mark.parametrize("damage", ["cut", "empty", "filled with zeros"])
def test_a_damaged_shard_is_deleted(cache: Path, damage: str) -> None:
    shard = next((cache / "shards").glob("shard-*.h5"))
    size = shard.stat().st_size
    content = {"cut": shard.read_bytes()[:-9], "empty": b"", "filled with zeros": bytes(size)}
    shard.write_bytes(content[damage])
    assert discard([shard]) == 1
    assert not shard.exists()


@pytest.mark.parametrize("kind", ["name", "content", "link"])
def test_what_is_no_shard_of_featx_is_not_deleted(cache: Path, tmp_path: Path, kind: str) -> None:
    shard = next((cache / "shards").glob("shard-*.h5"))
    other = cache / "shards" / "shard-0123456789abcdef0123.h5"
    if kind == "name":
        other = other.with_name("shard-mine.h5")
        other.write_bytes(shard.read_bytes()[:-9])
    elif kind == "content":
        other.write_text("mine")
    else:
        (tmp_path / "there.h5").write_bytes(shard.read_bytes()[:-9])
        other.symlink_to(tmp_path / "there.h5")
    shard.write_bytes(b"")
    with pytest.raises(InputError, match=f"{other.name} isn't a shard that featx wrote"):
        discard([shard, other])
    assert other.is_symlink() == (kind == "link")
    assert other.exists()
    assert shard.exists()
