"""Files appear whole or not at all, and what can't be written is explained."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from featx_cache import StorageError
from featx_cache.files import _atomic as atomic
from featx_cache.files import (
    atomic_folder,
    atomic_path,
    make_folder,
    remove_leftovers_of,
    storage_errors,
)


def write_half_of(target: Path, error: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half of")
        raise error


class TestAtomicPath:
    def test_file_appears_whole_under_its_name(self, tmp_path: Path) -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("all of it")
            assert not (tmp_path / "file").exists()
        assert (tmp_path / "file").read_text() == "all of it"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_temporary_file_lies_in_the_same_folder_hidden(self, tmp_path: Path) -> None:
        with atomic_path(tmp_path / "file.h5") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
            assert temporary.name.endswith(".tmp")
            temporary.touch()

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(143)])
    def test_nothing_is_left_when_the_block_raises(
        self, tmp_path: Path, error: BaseException
    ) -> None:
        with pytest.raises(type(error)):
            write_half_of(tmp_path / "file", error)
        assert list(tmp_path.iterdir()) == []

    def test_old_file_stays_when_the_block_raises(self, tmp_path: Path) -> None:
        target = tmp_path / "file"
        target.write_text("old")
        with pytest.raises(ValueError, match="no"):
            write_half_of(target, ValueError("no"))
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_full_disk_is_a_storage_error_and_leaves_the_old_file(
        self, small_disk: Callable[[str], Path]
    ) -> None:
        folder = small_disk("64k")
        (folder / "file").write_text("old")
        with (
            pytest.raises(StorageError, match=r"no room left on the disk while writing .*file"),
            atomic_path(folder / "file") as temporary,
        ):
            temporary.write_bytes(bytes(200_000))
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("file", "old")]

    def test_read_only_folder_is_a_storage_error(self, read_only_folder: Path) -> None:
        with (
            pytest.raises(StorageError, match="no permission to write"),
            atomic_path(read_only_folder / "file") as temporary,
        ):
            temporary.write_text("x")
        assert list(read_only_folder.iterdir()) == []


class TestStorageErrors:
    @pytest.mark.parametrize(
        ("number", "message"),
        [
            (errno.ENOSPC, "no room"),
            (errno.EDQUOT, "no room"),
            (errno.EROFS, "no permission"),
            (errno.EACCES, "no permission"),
            (errno.ENOTDIR, "a file is in the way"),
            (errno.EEXIST, "a file is in the way"),
        ],
    )
    def test_error_names_the_target_and_has_exit_code_2(self, number: int, message: str) -> None:
        with pytest.raises(StorageError, match=message) as caught, storage_errors(Path("/a/b")):
            raise OSError(number, "text of the system")
        assert "/a/b" in str(caught.value)
        assert caught.value.exit_code == 2

    def test_other_errors_pass(self) -> None:
        with pytest.raises(OSError, match="text of the system"), storage_errors(Path("/a/b")):
            raise OSError(errno.EBADF, "text of the system")

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.EFBIG, "can't write /a/b: the file would be larger than is allowed here"),
            (errno.EIO, "can't write /a/b: the disk reports an input/output error"),
            (errno.ESTALE, "can't write /a/b: the file server no longer knows the folder"),
            (errno.ELOOP, "can't write /a/b: it is a link that leads back to itself"),
        ],
    )
    def test_what_a_disk_or_a_limit_refuses_is_a_storage_error(
        self, number: int, said: str
    ) -> None:
        with pytest.raises(StorageError, match=said), storage_errors(Path("/a/b")):
            raise OSError(number, "text of the system")


class TestMakeFolder:
    def test_says_whether_the_folder_is_new(self, tmp_path: Path) -> None:
        assert make_folder(tmp_path / "a" / "b")
        assert not make_folder(tmp_path / "a" / "b")

    def test_a_file_in_the_way_is_a_storage_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for target in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(StorageError, match="a file is in the way"):
                make_folder(target)

    def test_a_folder_that_cannot_be_written_is_a_storage_error(
        self, read_only_folder: Path
    ) -> None:
        for target in (read_only_folder, read_only_folder / "new"):
            with pytest.raises(StorageError, match="no permission to write"):
                make_folder(target)


def test_leftovers_are_those_of_one_file_and_named_by_featx(tmp_path: Path) -> None:
    kept = ["shard-1.h5", ".lock", "notes.tmp", ".hidden", ".notes.tmp", ".index.h5.mine.tmp"]
    kept += [".shard-2.h5.0a1b2c3d.tmp", ".index.h5.0a1b2c3d4e.tmp"]
    for name in [*kept, ".index.h5.0a1b2c3d.tmp", ".index.h5.ffffffff.tmp"]:
        (tmp_path / name).touch()
    remove_leftovers_of(tmp_path / "index.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


class TestAtomicFolder:
    def test_folder_appears_whole_with_its_parents(self, tmp_path: Path) -> None:
        target = tmp_path / "a" / "run"
        with atomic_folder(target) as temporary:
            (temporary / "file").write_text("all of it")
            assert not target.exists()
        assert [path.name for path in target.parent.iterdir()] == ["run"]
        assert (target / "file").read_text() == "all of it"

    def test_the_old_folder_is_replaced_as_a_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "run"
        target.mkdir()
        (target / "old").write_text("old")
        with atomic_folder(target) as temporary:
            (temporary / "new").write_text("new")
            assert (target / "old").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert [path.name for path in target.iterdir()] == ["new"]

    @pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(143)])
    def test_nothing_is_left_when_the_block_raises(
        self, tmp_path: Path, error: BaseException
    ) -> None:
        def fill(folder: Path) -> None:
            (folder / "file").write_text("half of")
            raise error

        with pytest.raises(type(error)), atomic_folder(tmp_path / "a" / "run") as temporary:
            fill(temporary)
        assert list(tmp_path.iterdir()) == []

    def test_full_disk_is_a_storage_error_and_leaves_the_old_folder(
        self, small_disk: Callable[[str], Path]
    ) -> None:
        folder = small_disk("64k")
        (folder / "run").mkdir()
        (folder / "run" / "old").write_text("old")
        with (
            pytest.raises(StorageError, match="no room left on the disk"),
            atomic_folder(folder / "run") as temporary,
        ):
            (temporary / "file").write_bytes(bytes(200_000))
        assert [path.name for path in folder.iterdir()] == ["run"]
        assert (folder / "run" / "old").read_text() == "old"

    def test_a_folder_that_appeared_meanwhile_stays_where_it_may_not_be_replaced(
        self, tmp_path: Path
    ) -> None:
        target = tmp_path / "run"

        def meanwhile() -> None:
            with atomic_folder(target, replace=False):
                target.mkdir()
                (target / "theirs").touch()

        with pytest.raises(StorageError, match="run is there already"):
            meanwhile()
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert [path.name for path in target.iterdir()] == ["theirs"]

    def test_a_link_to_a_folder_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "old").touch()
        (tmp_path / "run").symlink_to("real")
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / "new").touch()
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "old", "real", "run"]
        assert not (tmp_path / "run").is_symlink()

    @pytest.mark.parametrize("exchanging", [True, False])
    def test_two_that_replace_one_folder_leave_one_whole_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanging: bool
    ) -> None:
        if not exchanging:
            monkeypatch.setattr("featx_cache.files._atomic.swap_paths", lambda *_: False)
        target, gone = tmp_path / "run", 0

        def replace(name: str) -> None:
            for _ in range(40):
                with atomic_folder(target) as temporary:
                    for file in ("a", "b"):
                        (temporary / file).write_text(name)

        replace("first")
        with ThreadPoolExecutor(2) as threads:
            writers = [threads.submit(replace, name) for name in ("one", "other")]
            while not all(writer.done() for writer in writers):
                gone += not target.exists()
        assert [writer.result() for writer in writers] == [None, None]
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert len({(target / file).read_text() for file in ("a", "b")}) == 1
        assert not (exchanging and gone), "there always is a folder of this name"


class TestOnWindows:
    """Windows opens no folders, and flushes no file that is open for reading only."""

    @pytest.fixture
    def windows(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        fcntl = pytest.importorskip("fcntl")
        really_open, really_flush = os.open, os.fsync
        flushed: list[str] = []

        def open_file(path: str | Path, flags: int, *more: int) -> int:
            if Path(path).is_dir():
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            flushed.append(Path(path).name)
            return really_open(path, flags, *more)

        def flush(descriptor: int) -> None:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "Bad file descriptor")
            really_flush(descriptor)

        monkeypatch.setattr(atomic, "WINDOWS", True)
        monkeypatch.setattr(os, "open", open_file)
        monkeypatch.setattr(os, "fsync", flush)
        return flushed

    def test_files_and_folders_are_flushed_and_get_their_names(
        self, tmp_path: Path, windows: list[str]
    ) -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("whole")
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "below").mkdir()
            (temporary / "below" / "inner").write_text("whole")
        assert (tmp_path / "file").read_text() == "whole"
        assert (tmp_path / "folder" / "below" / "inner").read_text() == "whole"
        assert windows[0].startswith(".file.")
        assert windows[1:] == ["inner"]
