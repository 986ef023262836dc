"""The watched folder: files are taken once they are whole, stay where they are, and come once."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import InputError
from featx.worklist import Item, Limits, RefusedImageError, WatchedFolder, Worklist, _watch
from featx_cache.files import open_regular
from tests.dicoms import dicom
from tests.featx.worklist.conftest import picture, run_facts, scored
from tests.featx.worklist.test_scoring import until


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(_watch, "FULL_SECONDS", 0.05)


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


NOTED: list[Item | RefusedImageError] = []


@contextmanager
def watching(folder: Path, worklist: Worklist) -> Iterator[tuple[WatchedFolder, list[str]]]:
    said: list[str] = []
    NOTED.clear()
    watched = WatchedFolder(folder, worklist, said.append, NOTED.append)
    watched.start()
    try:
        yield watched, said
    finally:
        watched.stop()


def names(worklist: Worklist) -> set[str]:
    return {item.name for item in worklist.items(limit=10**6)}


def looks(watched: WatchedFolder, number: int = 4) -> None:
    """Wait for so many looks."""
    for _ in range(number):
        before = watched._seen
        until(lambda before=before: watched._seen is not before)  # type: ignore[misc]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_images_in_all_depths_are_taken_and_stay_as_they_are(
    worklist: Worklist, incoming: Path
) -> None:
    (incoming / "a/b/c").mkdir(parents=True)
    (incoming / "one.png").write_bytes(picture(1))
    (incoming / "a/b/c/two.PNG").write_bytes(picture(2))
    before = contents(incoming)
    with watching(incoming, worklist):
        until(lambda: names(worklist) == {"one.png", "two.PNG"})
        (incoming / "later.png").write_bytes(picture(3))
        until(lambda: len(names(worklist)) == 3)
    assert {item.origin for item in worklist.items()} == {"watch"}
    (incoming / "later.png").unlink()
    assert contents(incoming) == before


def test_a_file_that_grows_is_taken_once_it_is_whole(worklist: Worklist, incoming: Path) -> None:
    content = picture(1, 64)
    looking = WatchedFolder(incoming, worklist)
    with (incoming / "slow.png").open("wb") as file:
        for start in range(0, len(content), 500):
            file.write(content[start : start + 500])
            file.flush()
            looking._take(looking._look())
            assert not worklist.items()
    with watching(incoming, worklist) as (watched, said):
        until(lambda: names(worklist) == {"slow.png"})
        (incoming / ".hidden.png").write_bytes(picture(2))
        looks(watched)
        assert len(worklist.items()) == 1
        (incoming / ".hidden.png").rename(incoming / "b.png")
        until(lambda: len(worklist.items()) == 2)
    path = worklist.items()[-1].path
    assert path is not None
    assert path.read_bytes() == content
    assert said == ["watched folder: 1 file left out: 1 hidden"]


def test_a_file_that_is_filled_after_it_was_made_is_taken_once_it_is_whole(
    worklist: Worklist, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_SALT", "of a test")
    pixels = np.random.default_rng(0).integers(1, 256, (128, 128), np.uint8)
    content = dicom(tmp_path / "a.dcm", pixels).read_bytes()
    half = content[: len(content) // 2]
    with watching(incoming, worklist) as (watched, _):
        with (incoming / "a.dcm").open("wb") as file:
            file.truncate(len(content))
            file.write(half)
            file.flush()
            looks(watched)
            assert not worklist.items()
            file.write(content[len(half) :])
        until(lambda: len(worklist.items()) == 1)
        path = worklist.items()[0].path
        assert path is not None
        assert path.read_bytes() == content
        # An X-ray may end in black, so such a file only has to wait.
        (incoming / "b.dcm").write_bytes(half.ljust(len(content), b"\0"))
        looks(watched)
        assert len(worklist.items()) == 1
        monkeypatch.setattr(_watch, "EMPTY_SECONDS", 0.1)
        until(lambda: len(worklist.items()) == 2)


def test_a_file_that_changes_is_another_image(worklist: Worklist, incoming: Path) -> None:
    (incoming / "a.png").write_bytes(picture(1))
    with watching(incoming, worklist):
        until(lambda: len(worklist.items()) == 1)
        (incoming / "a.png").write_bytes(picture(2))
        until(lambda: len(worklist.items()) == 2)


def test_what_isnt_taken_is_counted_and_said_once_without_names(
    worklist: Worklist, incoming: Path
) -> None:
    (incoming / "Doe.txt").write_text("some text")
    (incoming / "Doe.png").write_bytes(b"")
    (incoming / "Doe.jpeg").write_bytes(b"some text")
    (incoming / "Doe_mask.png").write_bytes(picture(1))
    for name in ("dead.png", "dead"):
        (incoming / name).symlink_to(incoming / "nowhere")
    os.mkfifo(incoming / "pipe.png")
    (incoming / "good.png").write_bytes(picture(2))
    with watching(incoming, worklist) as (watched, said):
        until(lambda: len(worklist.items()) == 1)
        looks(watched)
        assert watched.left_out == {
            ".txt (not an image)": 1,
            "named as a mask": 1,
            "a link that leads nowhere": 2,
            "the file is empty": 1,
            "text, not an image": 1,
            "not a regular file": 1,
        }
        assert watched.problems == {
            "Doe.png": "the file is empty",
            "Doe.jpeg": "text, not an image",
            "pipe.png": "not a regular file",
        }
        before = list(said)
        looks(watched)
        assert said == before
        refused = [found.what for found in NOTED if isinstance(found, RefusedImageError)]
        assert sorted(refused) == ["text, not an image", "the file is empty"]
        assert [found.name for found in NOTED if isinstance(found, Item)] == ["good.png"]
        assert not any("Doe" in line for line in said)
        (incoming / "Doe.png").write_bytes(picture(3))
        until(lambda: len(worklist.items()) == 2)
        looks(watched)
        assert "the file is empty" not in watched.left_out


def test_a_file_that_cant_be_read_keeps_no_other_from_its_way(
    worklist: Worklist, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network share fails for one file. The disk of the worklist has no part in it."""

    class Broken(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    def opened(path: Path) -> io.IOBase:
        return Broken() if path.name == "bad.png" else open_regular(path)

    monkeypatch.setattr(_watch, "open_regular", opened)
    (incoming / "good.png").write_bytes(picture(1))
    (incoming / "bad.png").write_bytes(picture(2))  # the newest is taken first
    with watching(incoming, worklist) as (watched, said):
        until(lambda: names(worklist) == {"good.png"})
        looks(watched)
        assert watched.notice == ""
        assert watched.problems == {"bad.png": "input/output error"}
        assert said == ["watched folder: 1 file left out: 1 input/output error"]


def test_a_full_queue_is_waited_for(tmp_path: Path, incoming: Path) -> None:
    for number in range(6):
        (incoming / f"{number}.png").write_bytes(picture(number))
    with Worklist(tmp_path / "state", limits=Limits(waiting=2)) as worklist:
        worklist.use_runs([run_facts()])
        with watching(incoming, worklist) as (watched, said):
            for _ in range(3):
                until(lambda: worklist.count_waiting() == 2)
                until(lambda: watched.notice or len(worklist.items()) == 6)
                worklist.save([(item.id, [scored()]) for item in worklist.waiting(2)])
            until(lambda: len(worklist.items()) == 6 and not watched.notice)
        assert said[0] == "2 images wait for a score, so files of the watched folder wait"


def test_the_folder_may_go_and_come_back(worklist: Worklist, incoming: Path) -> None:
    (incoming / "a.png").write_bytes(picture(1))
    with watching(incoming, worklist) as (watched, said):
        until(lambda: len(worklist.items()) == 1)
        incoming.rename(incoming.with_name("elsewhere"))
        until(lambda: watched.notice == f"the watched folder {incoming} can't be read")
        shutil.copytree(incoming.with_name("elsewhere"), incoming)
        (incoming / "b.png").write_bytes(picture(2))
        until(lambda: len(worklist.items()) == 2 and not watched.notice)
        looks(watched)
    assert len(worklist.items()) == 2
    assert len(said) == 1


def test_a_restart_doubles_nothing_and_brings_back_nothing(tmp_path: Path, incoming: Path) -> None:
    for number in range(3):
        (incoming / f"{number}.png").write_bytes(picture(number))
    for keep_days in (30.0, 0.0, 0.0):
        with Worklist(tmp_path / "state", keep_days=keep_days) as worklist:
            worklist.use_runs([run_facts()])
            with watching(incoming, worklist) as (watched, _):
                until(lambda: len(worklist.items()) == 3)
                looks(watched)
            worklist.save([(item.id, [scored()]) for item in worklist.waiting(9)])
            worklist.expire()
            assert len(worklist.items()) == 3
    assert not [path for path in (tmp_path / "state/images").rglob("*") if path.is_file()]


def test_links_out_of_the_folder_arent_followed(
    worklist: Worklist, incoming: Path, tmp_path: Path
) -> None:
    (outside := tmp_path / "outside").mkdir()
    (outside / "a.png").write_bytes(picture(1))
    (incoming / "link").symlink_to(outside)
    (incoming / "link.png").symlink_to(outside / "a.png")
    (incoming / "loop").symlink_to(incoming)
    with watching(incoming, worklist) as (watched, _):
        until(lambda: names(worklist) == {"link.png"})
        looks(watched)
        assert watched.left_out == {
            "behind a link to a folder elsewhere": 1,
            "behind a link to a folder that is read already": 1,
        }


@pytest.mark.parametrize(
    ("watch", "reason"),
    [
        ("nowhere", "there is no folder"),
        (".", "are one in the other"),
        ("state/images", "are one in the other"),
    ],
)
def test_a_folder_that_cant_be_watched_is_refused(
    worklist: Worklist, tmp_path: Path, watch: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        WatchedFolder(tmp_path / watch, worklist)
    assert refused.value.parameter == "watch"


@pytest.mark.long
def test_thousands_of_files_while_others_vanish(
    worklist: Worklist, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a busy disk takes minutes for so many
    worklist._database.rows("PRAGMA synchronous = OFF")
    worklist.limits = Limits(waiting=10**6)
    for number in range(3000):
        folder = incoming / f"{number % 30}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture(number, 8))
    order: list[str] = []
    add = worklist.add

    def adding(file: Any, name: str, origin: Any) -> tuple[Item, bool]:
        order.append(name)
        if len(order) == 100:
            for number in range(0, 3000, 30):
                (incoming / "0" / f"{number}.png").unlink(missing_ok=True)
            (incoming / "urgent.png").write_bytes(picture(5000))
        return add(file, name, origin)

    monkeypatch.setattr(worklist, "add", adding)
    with watching(incoming, worklist) as (watched, said):
        until(lambda: len(order) >= 2901, 250.0)
        assert "urgent.png" in order[:2800]  # it doesn't wait for those that came before
        looks(watched, 2)
    assert not said
