"""Files that a user named: links, pipes and devices stay what they are."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featx_cache import InputError, StorageError
from featx_cache.files import is_stream, output_path
from featx_cache.files._outputs import ReaderLeftError


def write(target: Path, content: str = "new", *, replace: bool = True) -> None:
    with output_path(target, replace=replace) as temporary:
        temporary.write_text(content)


def device(path: Path) -> Path:
    """Make a node like /dev/null, which may be harmed."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_text("")
    except PermissionError:
        pytest.skip("making device nodes, or opening them, isn't allowed here")
    return path


def test_a_file_appears_with_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"


def test_nothing_is_left_when_the_block_raises(tmp_path: Path) -> None:
    def fail() -> None:
        with output_path(tmp_path / "a" / "file") as temporary:
            temporary.write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("old")
    for name, leads_to in (("one", "there/file"), ("two", str(tmp_path / "there" / "file"))):
        (tmp_path / name).symlink_to(leads_to)
        write(tmp_path / name, name)
        assert (tmp_path / name).readlink() == Path(leads_to)
        assert (tmp_path / "there" / "file").read_text() == name
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_a_link_to_nothing_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new/file")
    write(tmp_path / "link", replace=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "file").read_text() == "new"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(StorageError, match="leads back to itself"):
        write(tmp_path / "link")


def test_a_file_that_has_come_meanwhile_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        write(tmp_path / "file", replace=False)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_so_it_is_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    write(tmp_path / "file", replace=False)
    assert (tmp_path / "file").read_text() == "new"
    with pytest.raises(StorageError):
        write(tmp_path / "file", "newer", replace=False)
    assert (tmp_path / "file").read_text() == "new"


def test_a_pipe_gets_the_content_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe", replace=False)
    reader.join(30)
    assert got == ["new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_reader_of_a_pipe_that_has_enough_is_told_of(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: (tmp_path / "pipe").open("rb").close())
    reader.start()
    with pytest.raises(ReaderLeftError):
        write(tmp_path / "pipe", "new" * 100_000)
    reader.join(30)


def test_a_device_stays(tmp_path: Path) -> None:
    node = device(tmp_path / "null")
    (tmp_path / "link").symlink_to("null")
    for path in (node, tmp_path / "link"):
        write(path, replace=False)
        assert stat.S_ISCHR(node.lstat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "null"]


def test_a_socket_and_a_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        with pytest.raises(InputError, match="it is a socket"):
            write(Path("socket"))
    with pytest.raises(InputError, match="it is a folder"):
        write(tmp_path)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "out.txt"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_written_to_by_any_name(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "pipe" and name == "out.txt":
        pytest.skip("a pipe has no such name")
    program = (
        "import sys\nfrom pathlib import Path\nfrom featx_cache.files import output_path\n"
        "print('before')\n"
        "with output_path(Path(sys.argv[1]), replace=False) as temporary:\n"
        "    temporary.write_text('new\\n')\n"
        "print('after')\n"
    )
    command = [sys.executable, "-c", program, name]
    if kind == "pipe":
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=tmp_path).stdout
    else:
        with (tmp_path / "out.txt").open("wb") as file:
            subprocess.run(command, stdout=file, check=True, cwd=tmp_path)
        said = (tmp_path / "out.txt").read_bytes()
    assert said == b"before\nnew\nafter\n"


def test_a_file_is_no_stream_and_nor_is_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_stream(tmp_path / "file")
    assert not is_stream(tmp_path / "nothing" / "here")
