"""Tables that people and other computers write: paths and columns whose meaning is plain."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest

from featx.data import load_manifest
from tests.featx.data.test_folders import draw
from tests.featx.data.test_listing import complaint, listing

NAME = "Lungenentzündung é.png"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    draw(tmp_path / "images" / "sub" / "a.png", 1)
    draw(tmp_path / "images" / "sub" / "b.png", 2)
    draw(tmp_path / "outside.png", 3)
    return tmp_path / "images"


Form = Literal["NFC", "NFD"]


def paths(images: Path, text: str, **options: Any) -> list[str]:
    manifest = load_manifest(listing(images, text), **options)
    assert manifest.unreadable == {}
    return manifest.table["path"].tolist()


def test_backslashes(images: Path) -> None:
    text = "path,label\nsub\\a.png,A\n.\\sub\\b.png,B\n"
    assert paths(images, text) == ["sub/a.png", "sub/b.png"]
    twice = "path,label\nsub\\a.png,A\nsub/a.png,B\n"
    assert "the path 'sub/a.png' was there before (line 2)" in complaint(images, twice)
    out = "path,label\nsub\\a.png,A\n..\\outside.png,B\n"
    assert "line 3: the path '../outside.png' leads out of" in complaint(images, out)


def test_a_backslash_may_be_part_of_a_name(images: Path) -> None:
    draw(images / "sub\\a.png", 4)
    text = "path,label\nsub\\a.png,A\nsub/a.png,B\n"
    assert paths(images, text) == ["sub\\a.png", "sub/a.png"]


def test_a_path_of_a_windows_computer_is_named(images: Path) -> None:
    said = complaint(images, "path,label\nsub/a.png,A\nC:\\data\\b.png,B\n")
    assert "line 3: the path 'C:\\\\data\\\\b.png' is of a Windows computer. Write it rel" in said


def test_home(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(images))
    text = "path,label\n~/sub/a.png,A\nsub/b.png,B\n"
    assert paths(images, text) == ["sub/a.png", "sub/b.png"]
    monkeypatch.setenv("HOME", str(images.parent))
    out = "path,label\n~/outside.png,A\nsub/b.png,B\n"
    assert "outside.png' leads out of" in complaint(images, out)


@pytest.mark.parametrize(("disk", "table"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_as_the_disk_has_them(images: Path, disk: Form, table: Form) -> None:
    there = f"{unicodedata.normalize(disk, 'fünf')}/{unicodedata.normalize(disk, NAME)}"
    draw(images / there, 5)
    written = unicodedata.normalize(table, f"fünf/{NAME}")
    assert paths(images, f"path,label\n{written},A\nsub/a.png,B\n")[0] == there


def test_accents_that_fit_two_files_are_not_guessed(images: Path) -> None:
    mixed = unicodedata.normalize("NFD", "é") + "é"  # neither of these two
    for kind in ("NFC", "NFD"):
        draw(images / f"{unicodedata.normalize(kind, 'éé')}.png", len(kind))
    manifest = load_manifest(
        listing(images, f"path,label\n{mixed}.png,A\nsub/a.png,A\nsub/b.png,B\n")
    )
    assert manifest.unreadable == {f"{mixed}.png": "no such file or directory"}


@pytest.mark.parametrize("header", [",path,label", "Unnamed: 0,path,label"])
def test_row_numbers_of_pandas(images: Path, header: str) -> None:
    text = f"{header}\n0,sub/a.png,A\n1,sub/b.png,B\n"
    for keep in ((), None):
        table = load_manifest(listing(images, text), keep=keep).table
        assert not any(name == "" or name.startswith("Unnamed") for name in table.columns)
        assert len(table) == 2


def test_row_numbers_of_pandas_twice(images: Path) -> None:
    text = ",Unnamed: 0,path,label\n0,0,sub/a.png,A\n1,1,sub/b.png,B\n"
    assert paths(images, text) == ["sub/a.png", "sub/b.png"]


def test_labels_that_differ_in_their_accents_alone(images: Path) -> None:
    text = "path,label\nsub/a.png,\u00e9\nsub/b.png,e\u0301\n"
    assert "is almost" in complaint(images, text)
