"""Folder trees: what counts as an image, and what it is labelled."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.data import load_manifest, walk_images
from featx.data._file_facts import reason_of
from featx.data._walk import is_image_name
from featx.errors import InputError
from tests.dicoms import dicom
from tests.featx.data.conftest import Recorder


def draw(path: Path, value: int = 0, size: int = 8) -> Path:
    """Write a small grey image, PNG or JPEG by its suffix, unlike those of other values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    Image.new("L", (size, size), value).save(path, kind)
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two classes without splits."""
    draw(tmp_path / "data" / "SICK" / "b.jpeg", 10)
    draw(tmp_path / "data" / "SICK" / "a.png", 20)
    draw(tmp_path / "data" / "HEALTHY" / "c.JPG", 30)
    return tmp_path / "data"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two classes in three splits."""
    for number, folder in enumerate(("train", "val", "test")):
        for label in ("NORMAL", "PNEUMONIA"):
            for image in range(3 - number):
                draw(tmp_path / "data" / folder / label / f"{image}.png", 40 * number + image)
    return tmp_path / "data"


class TestLayout:
    def test_without_split_folders_every_image_is_for_training(self, flat: Path) -> None:
        manifest = load_manifest(flat)
        assert manifest.table["path"].tolist() == ["HEALTHY/c.JPG", "SICK/a.png", "SICK/b.jpeg"]
        assert manifest.table["label"].tolist() == ["HEALTHY", "SICK", "SICK"]
        assert set(manifest.table["split"]) == {"train"}
        assert manifest.root == flat
        assert len(manifest) == 3

    def test_split_folders_are_the_splits(self, split: Path) -> None:
        counts = load_manifest(split).counts()
        assert counts.to_dict() == {
            "NORMAL": {"test": 1, "train": 3, "val": 2},
            "PNEUMONIA": {"test": 1, "train": 3, "val": 2},
        }

    def test_class_folders_may_have_folders_in_them(self, flat: Path) -> None:
        draw(flat / "SICK" / "2019" / "may" / "d.png", 77)
        manifest = load_manifest(flat)
        assert "SICK/2019/may/d.png" in set(manifest.table["path"])
        assert manifest.table["label"].tolist() == ["HEALTHY", "SICK", "SICK", "SICK"]

    def test_the_row_has_the_sha256_of_the_file(self, flat: Path) -> None:
        table = load_manifest(flat).table.set_index("path")
        expected = hashlib.sha256((flat / "SICK" / "b.jpeg").read_bytes()).hexdigest()
        assert table.loc["SICK/b.jpeg", "sha256"] == expected

    def test_the_order_does_not_depend_on_the_file_system(self, split: Path) -> None:
        before = load_manifest(split).table
        moved = split / "train" / "NORMAL" / "0.png"
        content = moved.read_bytes()
        moved.unlink()
        moved.write_bytes(content)
        assert load_manifest(split).table.equals(before)

    def test_a_name_that_is_not_unicode_is_kept(self, flat: Path) -> None:
        strange = Path(
            str(flat / "SICK" / "x") + b"\xff\xe9.png".decode("utf-8", "surrogateescape")
        )
        draw(flat / "SICK" / "plain.png", 99).rename(strange)
        paths = load_manifest(flat).table["path"].tolist()
        assert strange.relative_to(flat).as_posix() in paths


class TestIgnored:
    def test_other_files_are_ignored_without_noise(
        self, split: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = load_manifest(split)
        for name in (".DS_Store", "Thumbs.db", "._0.png", "._0.jpeg", ".hidden.png", "notes.txt"):
            for folder in (split, split / "train", split / "train" / "NORMAL"):
                (folder / name).write_text("no image")
        draw(split / "__MACOSX" / "train" / "NORMAL" / "0.png")
        draw(split / "train" / "__MACOSX" / "0.png")
        draw(split / "train" / "NORMAL" / "__MACOSX" / "0.png")
        draw(split / "train" / ".thumbnails" / "0.png")
        draw(split / "train" / "NORMAL" / ".thumbnails" / "0.png")
        after = load_manifest(split)
        assert after.table.equals(before.table)
        assert dict(after.unreadable) == {}
        assert capfd.readouterr() == ("", "")

    def test_empty_class_folder_is_no_class(self, flat: Path) -> None:
        (flat / "empty").mkdir()
        assert load_manifest(flat).classes == ("HEALTHY", "SICK")

    def test_suffix_tells_an_image(self) -> None:
        images = [
            "a.png",
            "a.jpg",
            "A.JPEG",
            "a.b.Png",
            "a.tif",
            "a.JFIF",
            "a.jpe",
            "a.bmp",
            "a.webp",
            "a.dcm",
        ]
        others = ["._a.png", "a.gif", "a", "png", ".png"]
        names = [name for name in images + others if is_image_name(Path("folder", name))]
        assert names == images


class TestClasses:
    def test_chosen_ones_leave_the_others_out(self, flat: Path) -> None:
        draw(flat / "COVID" / "x.png")
        manifest = load_manifest(flat, classes=["HEALTHY", "COVID"])
        assert sorted(manifest.table["label"]) == ["COVID", "HEALTHY"]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (
                {"classes": ["A", "B"], "positive": "C"},
                "`positive` 'C' is not one of `classes`",
            ),
            ({}, r"are 3: A, B, C.*`classes`, the neg"),
            ({"classes": ["A", "A"]}, "exactly two classes, and here there is 1: A.*Add"),
        ],
    )
    def test_other_than_two_are_an_error(
        self, tmp_path: Path, options: dict[str, Any], said: str
    ) -> None:
        for label in "ABC":
            draw(tmp_path / label / "x.png")
        with pytest.raises(InputError, match=said):
            load_manifest(tmp_path, **options)

    @pytest.mark.parametrize("name", ["sick", "SICK ", "MISSING"])
    def test_unknown_one_is_quoted_beside_those_there_are(self, flat: Path, name: str) -> None:
        with pytest.raises(InputError, match=rf"no class '{name}'.*HEALTHY, SICK"):
            load_manifest(flat, classes=["HEALTHY", name])
        with pytest.raises(InputError, match=rf"no class '{name}'.*HEALTHY, SICK"):
            load_manifest(flat, positive=name)


class TestNothingToRead:
    def test_missing_and_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere does not exist"):
            load_manifest(tmp_path / "nowhere")
        with pytest.raises(InputError, match=r"no images in.*ROOT/CLASS/image"):
            load_manifest(tmp_path)

    def test_folder_named_like_an_image(self, flat: Path) -> None:
        (flat / "SICK" / "deeper" / "x.jpeg").mkdir(parents=True)
        with pytest.raises(InputError, match=r"x\.jpeg is a folder with the name of an image"):
            load_manifest(flat)

    def test_folder_that_may_not_be_read(self, flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        scandir = os.scandir

        def forbidden(path: Path) -> Any:
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        # Root may read everything, so a folder's permissions prove nothing here.
        monkeypatch.setattr(os, "scandir", forbidden)
        closed = flat
        with pytest.raises(InputError, match="no permission to read"):
            load_manifest(flat)
        closed = flat / "SICK"
        with pytest.raises(InputError, match=r"no permission to read .*SICK"):
            load_manifest(flat)
        draw(flat / "SICK" / "closed" / "1.png")
        closed = flat / "SICK" / "closed"
        assert list(load_manifest(flat).unreadable) == ["SICK/closed"]


class TestUnreadable:
    def test_is_listed_with_its_reason_and_not_in_the_table(self, flat: Path) -> None:
        (flat / "SICK" / "empty.png").touch()
        (flat / "SICK" / "text.jpeg").write_text("not a picture")
        manifest = load_manifest(flat)
        assert dict(manifest.unreadable) == {
            "SICK/empty.png": "the file is empty",
            "SICK/text.jpeg": "text, not an image",
        }
        assert len(manifest) == 3

    def test_a_class_of_them_is_an_error_with_an_example(self, flat: Path) -> None:
        (flat / "HEALTHY" / "c.JPG").write_text("not a picture")
        (flat / "SICK" / "bad.png").touch()
        with pytest.raises(
            InputError, match=r"class 'HEALTHY' has no readable image.*HEALTHY/c\.JPG': text, not"
        ):
            load_manifest(flat)

    @pytest.mark.timeout(60)
    def test_a_pipe_is_not_waited_for(self, flat: Path) -> None:
        os.mkfifo(flat / "SICK" / "pipe.png")
        os.mkfifo(flat / "SICK" / "pipe")
        assert dict(load_manifest(flat).unreadable) == {"SICK/pipe.png": "not a regular file"}

    def test_a_broken_link_is_unreadable(self, flat: Path) -> None:
        (flat / "SICK" / "link.png").symlink_to(flat / "gone.png")
        assert list(load_manifest(flat).unreadable) == ["SICK/link.png"]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (PermissionError(13, "Permission denied", "/a/b.png"), "no permission to read it"),
            (OSError(5, "Input/output error", "/a/b.png"), "input/output error"),
            (SyntaxError("broken PNG file\nin line 2"), "broken PNG file"),
            (ValueError(), "ValueError"),
        ],
    )
    def test_has_a_short_reason_without_its_path(self, error: Exception, reason: str) -> None:
        assert reason_of(error) == reason

    def test_an_image_too_large_to_be_one_is_unreadable(
        self, flat: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        draw(flat / "SICK" / "bomb.png", 1, size=40)
        assert "exceeds limit" in load_manifest(flat).unreadable["SICK/bomb.png"]


class TestGroups:
    def test_come_from_the_regular_expression(self, flat: Path) -> None:
        manifest = load_manifest(flat, group_regex=r"(\w)\.\w+$")
        assert manifest.table["group"].tolist() == ["c", "a", "b"]

    def test_bad_regular_expression_is_quoted(self, flat: Path) -> None:
        with pytest.raises(InputError, match=r"`group_regex` '\(' is not a regular expression"):
            load_manifest(flat, group_regex="(")

    def test_an_image_without_one_is_named(self, flat: Path) -> None:
        with pytest.raises(InputError, match=r"doesn't match 'HEALTHY/c\.JPG'"):
            load_manifest(flat, group_regex=r"SICK/(\w)")


def test_progress_counts_every_image(flat: Path) -> None:
    progress = Recorder()
    load_manifest(flat, progress=progress)
    assert (progress.tasks, progress.done) == ([("Reading files", "image", 3)], 3)


def test_the_kaggle_set_is_counted_as_published(shared_data: Path) -> None:
    manifest = load_manifest(shared_data / "chest_xray")
    assert len(manifest) == 5232
    assert manifest.counts().to_dict() == {
        "NORMAL": {"train": 1341, "val": 8},
        "PNEUMONIA": {"train": 3875, "val": 8},
    }
    assert dict(manifest.unreadable) == {}
    # Every file of the set has a name that tells the patient.
    assert not manifest.table["group"].str.contains("/").any()
    per_group = manifest.table.groupby("group")["label"].nunique()
    assert per_group.max() == 1


def test_hash_is_of_the_bytes_not_of_the_pixels(flat: Path) -> None:
    buffer = io.BytesIO()
    Image.open(flat / "SICK" / "a.png").save(buffer, "PNG", compress_level=0)
    (flat / "SICK" / "same-pixels.png").write_bytes(buffer.getvalue())
    table = load_manifest(flat).table.set_index("path")["sha256"]
    assert table["SICK/a.png"] != table["SICK/same-pixels.png"]


class TestWalking:
    def test_images_come_in_the_order_of_their_paths(self, tmp_path: Path) -> None:
        for name in ("b/2.png", "b/c/1.JPG", "b.png", "a.png", "b-a/3.png", "b/notes.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = list(walk_images(tmp_path))
        assert found == sorted(found)
        assert len(found) == 5

    def test_hidden_files_and_linked_folders_are_left_out(self, tmp_path: Path) -> None:
        for name in (".hidden/1.png", "__MACOSX/2.png", ".DS_Store", "a/._3.png", "a/4.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "round").symlink_to(tmp_path)
        assert list(walk_images(tmp_path)) == [tmp_path / "a/4.png"]

    def test_dicom_without_a_suffix_is_found(self, tmp_path: Path) -> None:
        dicom(tmp_path / "IM000001", np.zeros((8, 8), np.uint8))
        (tmp_path / "README").write_text("hello")
        assert list(walk_images(tmp_path)) == [tmp_path / "IM000001"]

    def test_a_folder_that_can_t_be_read_is_met_by_whoever_reads_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        draw(tmp_path / "a" / "1.png")
        draw(tmp_path / "b" / "2.png")
        scandir = os.scandir

        def refused(path: Path) -> Any:
            if Path(path).name == "a":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refused)
        assert list(walk_images(tmp_path)) == [tmp_path / "a", tmp_path / "b" / "2.png"]
