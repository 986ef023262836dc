"""Every file under a data folder is used, or is left out with a reason that is counted."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from featx.data import Manifest, in_words, load_manifest, walk_images
from featx.errors import InputError
from featx.scoring import find_images
from featx_cache.files import open_regular
from tests.dicoms import dicom
from tests.featx.data.test_folders import draw


def grey(path: Path, value: int = 0, kind: str = "PNG") -> Path:
    """Write a small image of any format under any name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path, kind)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of two images."""
    for number, name in enumerate(("NORMAL/1.png", "NORMAL/2.png", "SICK/1.png", "SICK/2.png")):
        draw(tmp_path / "data" / name, number)
    return tmp_path / "data"


def splits(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.table["path"], manifest.table["split"], strict=True))


class TestContent:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("x.tif", "TIFF"), ("x.TIFF", "TIFF"), ("x.jfif", "JPEG"), ("x.jpe", "JPEG"),
            ("x.bmp", "BMP"), ("x.webp", "WEBP"), ("x", "JPEG"), ("IM0001", "PNG"),
            ("x.1", "TIFF"), ("x.gif", "PNG"), ("x.jpg", "PNG"), ("x.dat", "BMP"),
        ],
    )  # fmt: skip
    def test_says_what_an_image_is(self, data: Path, name: str, kind: str) -> None:
        grey(data / "SICK" / name, 99, kind)
        manifest = load_manifest(data)
        source = dict(zip(manifest.table["path"], manifest.table["source"], strict=True))
        assert source[f"SICK/{name}"] == kind
        assert not manifest.left_out
        assert data / "SICK" / name in list(walk_images(data))

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("x.gif", b"GIF89a", "GIF (an image format that featx doesn't read)"),
            ("x", b"%!PS-Adobe-3.0 EPSF-3.0", "EPS (an image format that featx doesn't read)"),
            ("x.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 (an image format that featx doesn't"),
            ("x.nii.gz", b"\x1f\x8b\x08", "NIfTI (an image format that featx doesn't read)"),
            ("x.heic", b"\0\0\0\x18ftypheic", "HEIC (an image format that featx doesn't read)"),
            ("notes.txt", b"BMI: 23", ".txt (not an image)"),
            ("README", b"hello", "text (not an image)"),
            ("x.pdf", b"%PDF-1.7", "PDF (not an image)"),
            ("x.bin", b"\0\1\2\3", ".bin (not an image)"),
            ("x.zip", b"PK\3\4", "ZIP (not an image)"),
            ("empty", b"", "unknown format (not an image)"),
            ("Dr. Miller", b"hello", "text (not an image)"),
        ],
    )
    def test_says_what_another_file_is(
        self, data: Path, name: str, content: bytes, reason: str
    ) -> None:
        (data / "SICK" / name).write_bytes(content)
        manifest = load_manifest(data)
        assert list(manifest.left_out) == [f"SICK/{name}"]
        assert manifest.left_out[f"SICK/{name}"].startswith(reason)
        assert not manifest.unreadable
        left_out: Counter[str] = Counter()
        assert len(list(walk_images(data, left_out))) == 4
        assert list(left_out) == list(manifest.left_out.values())

    @pytest.mark.timeout(60)
    def test_a_pipe_and_a_broken_link_are_left_out(self, data: Path) -> None:
        os.mkfifo(data / "SICK" / "pipe")
        (data / "SICK" / "link").symlink_to(data / "gone")
        assert dict(load_manifest(data).left_out) == {
            "SICK/pipe": "not a regular file",
            "SICK/link": "a link that leads nowhere",
        }

    def test_a_dicom_object_that_is_no_image_is_left_out(self, data: Path) -> None:
        from featx.data import _walk as walk
        from featx.data._dicom import NotAnImageError, read_header

        dicom(data / "SICK" / "SR0001", np.zeros((8, 8), np.uint8), PatientID="SR")
        dicom(data / "SICK" / "IM0001", np.zeros((8, 8), np.uint8))

        def read(file: BinaryIO) -> object:
            header = read_header(file)
            if header.PatientID == "SR":
                raise NotAnImageError("a DICOM report, not an image")
            return header

        from featx.data import _file_facts as file_facts

        with pytest.MonkeyPatch.context() as patch:
            for module in (file_facts, walk):
                patch.setattr(module, "read_header", read)
            manifest = load_manifest(data)
            left_out: Counter[str] = Counter()
            walked = list(walk_images(data, left_out))
        assert dict(manifest.left_out) == {"SICK/SR0001": "a DICOM report, not an image"}
        assert not manifest.unreadable
        assert len(manifest) == len(walked) == 5
        assert left_out == {"a DICOM report, not an image": 1}

    def test_hidden_images_are_counted_and_system_files_are_not(self, data: Path) -> None:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png"):
            (data / "SICK" / name).write_bytes(b"\0\5\x16\7")
        draw(data / "SICK" / ".thumbnails" / "1.png")
        draw(data / "__MACOSX" / "SICK" / "1.png")
        draw(data / ".git" / "1.png")
        assert dict(load_manifest(data).left_out) == {
            "SICK/.thumbnails/1.png": "hidden",
            "__MACOSX/SICK/1.png": "hidden",
        }

    def test_only_files_of_other_names_are_opened(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from featx.data import _walk as walk

        (data / "SICK" / "notes.txt").write_text("x" * 100_000)
        opened: list[str] = []

        def noted(path: Path) -> object:
            opened.append(path.name)
            return open_regular(path)

        monkeypatch.setattr(walk, "open_regular", noted)
        assert len(list(walk.walk(data))) == 5
        assert opened == ["notes.txt"]


class TestWords:
    def test_kinds_come_with_their_counts(self) -> None:
        reasons = ["GIF (x)"] * 20 + ["named as a mask"] * 4
        assert in_words(reasons) == "24 files left out: 20 GIF (x), 4 named as a mask"
        assert in_words(Counter({"hidden": 1})) == "1 file left out: 1 hidden"
        assert in_words([]) == ""

    def test_many_kinds_are_cut_short(self) -> None:
        said = in_words([f"kind {number}" for number in range(20)])
        assert said.startswith("20 files left out: 1 kind 0, ")
        assert said.endswith(", 10 for other reasons")


class TestSplits:
    @pytest.mark.parametrize(
        ("train", "val", "test"),
        [
            ("Training", "Validation", "Testing"),
            ("training", "dev", "holdout"),
            ("TRAIN_SET", "valid", "hold-out"),
            ("train", "Val Set", "test_data"),
            ("trn", "tuning", "Evaluation"),
            ("train_images", "val-images", "Test Imgs"),
        ],
    )
    def test_have_many_names(self, tmp_path: Path, train: str, val: str, test: str) -> None:
        for number, split in enumerate((train, val, test)):
            for label in ("NORMAL", "SICK"):
                draw(tmp_path / split / label / "1.png", number)
        manifest = load_manifest(tmp_path)
        assert manifest.classes == ("NORMAL", "SICK")
        assert splits(manifest) == {
            f"{folder}/{label}/1.png": split
            for folder, split in ((train, "train"), (val, "val"), (test, "test"))
            for label in ("NORMAL", "SICK")
        }
        assert not manifest.left_out

    def test_may_be_below_the_classes(self, tmp_path: Path) -> None:
        for label in ("NORMAL", "SICK"):
            for number, split in enumerate(("Train", "test")):
                draw(tmp_path / label / split / "patient1" / "1.png", number)
        assert set(splits(load_manifest(tmp_path)).values()) == {"train", "test"}

    def test_what_is_beside_them_is_counted(self, tmp_path: Path) -> None:
        for folder in ("train", "test", "external"):
            for label in ("NORMAL", "SICK"):
                draw(tmp_path / folder / label / "1.png")
        draw(tmp_path / "loose.png")
        draw(tmp_path / "test" / "unlabelled.png")
        manifest = load_manifest(tmp_path)
        assert len(manifest) == 4
        assert dict(manifest.left_out) == {
            "external/NORMAL/1.png": "in the folder external, which names no split",
            "external/SICK/1.png": "in the folder external, which names no split",
            "loose.png": "beside the split folders",
            "test/unlabelled.png": "in no class folder",
        }

    def test_other_classes_are_counted(self, data: Path) -> None:
        draw(data / "COVID" / "1.png")
        manifest = load_manifest(data, classes=["NORMAL", "SICK"])
        assert dict(manifest.left_out) == {"COVID/1.png": "of class COVID, which was not chosen"}


class TestClassNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("Sick", "SICK"), ("sick", "Sick "), (unicodedata.normalize("NFD", "Grün"), "GRÜN")],
    )
    def test_that_differ_in_case_or_unicode_form_are_one(
        self, tmp_path: Path, one: str, other: str
    ) -> None:
        for split, sick, normal in (("train", one, "Normal"), ("test", other, "NORMAL")):
            draw(tmp_path / split / sick / "1.png")
            draw(tmp_path / split / normal / "2.png")
        manifest = load_manifest(tmp_path)
        assert set(manifest.classes) == {one, "Normal"}  # as train has them
        assert manifest.counts().to_numpy().tolist() == [[1, 1], [1, 1]]
        assert load_manifest(tmp_path, positive=other).classes[1] == other

    def test_that_differ_otherwise_are_told_with_all_splits(self, tmp_path: Path) -> None:
        for split, sick in (("train", "SICK"), ("test", "PNEUMONIA")):
            draw(tmp_path / split / sick / "1.png")
            draw(tmp_path / split / "NORMAL" / "2.png")
        with pytest.raises(
            InputError, match=r"train has NORMAL, SICK; test has NORMAL, PNEUMONIA\. Name them"
        ):
            load_manifest(tmp_path)


class TestMasks:
    @pytest.mark.parametrize(
        "name", ["masks/1.png", "lung masks/1.png", "Infection_Mask/a/1.png", "1_mask.png"]
    )
    def test_beside_images_are_left_out(self, tmp_path: Path, name: str) -> None:
        for number, label in enumerate(("COVID", "Normal")):
            draw(tmp_path / label / "images" / "1.png", number)
            draw(tmp_path / label / name, 255)
        manifest = load_manifest(tmp_path)
        assert sorted(manifest.table["path"]) == ["COVID/images/1.png", "Normal/images/1.png"]
        assert dict(manifest.left_out) == {
            f"{label}/{name}": "named as a mask" for label in ("COVID", "Normal")
        }
        left_out: Counter[str] = Counter()
        assert len(list(find_images([tmp_path], left_out))) == 2
        assert left_out == {"named as a mask": 2}
        assert list(find_images([tmp_path / "COVID" / name])) == [tmp_path / "COVID" / name]

    def test_may_be_a_class(self, tmp_path: Path) -> None:
        for label in ("mask", "no_mask"):
            draw(tmp_path / label / "unmasked.png")
        assert len(load_manifest(tmp_path)) == 2


class TestHints:
    def hint(self, folder: Path) -> str:
        with pytest.raises(InputError) as caught:
            load_manifest(folder)
        assert "\n" not in str(caught.value)
        return caught.value.hint

    def test_one_folder_too_high_of_the_kaggle_archive(self, tmp_path: Path) -> None:
        for folder in ("chest_xray", "chest_xray/chest_xray", "chest_xray/__MACOSX"):
            for label in ("NORMAL", "SICK"):
                draw(tmp_path / folder / "train" / label / "1.png")
        assert self.hint(tmp_path) == f"Did you mean {tmp_path / 'chest_xray'}?"
        assert dict(load_manifest(tmp_path / "chest_xray").left_out) == {
            **dict.fromkeys(
                (f"chest_xray/train/{label}/1.png" for label in ("NORMAL", "SICK")),
                "in the folder chest_xray, which names no split",
            ),
            **dict.fromkeys(
                (f"__MACOSX/train/{label}/1.png" for label in ("NORMAL", "SICK")), "hidden"
            ),
        }

    @pytest.mark.parametrize(
        ("images", "given", "hint"),
        [
            ("x/{train,test}/{A,B}/1.png", "", "Did you mean ROOT/x?"),
            ("y/x/{train,test}/{A,B}/1.png", "", "Did you mean ROOT/y/x?"),
            ("x/{A,B}/1.png", "", "If the classes are A, B, give ROOT/x."),
            ("{A,B}/1.png", "A", "give the folder above, ROOT. Else make a folder of each class"),
            ("A/{images,masks}/1.png", "A", "give the one above, ROOT."),
            ("{train,test}/1.png", "", "make a folder of each class in each split folder"),
            ("{x,y}/train/{A,B}/1.png", "", "Give one of them, for example ROOT/x"),
        ],
    )
    def test_point_to_the_folder(self, tmp_path: Path, images: str, given: str, hint: str) -> None:
        names = [re.findall(r"\{(.*?),(.*?)\}|([^/]+)", part)[0] for part in images.split("/")]
        for parts in itertools.product(*([n for n in each if n] for each in names)):
            draw(tmp_path.joinpath(*parts))
        assert hint.replace("ROOT", str(tmp_path)) in self.hint(tmp_path / given)

    def test_what_is_there_is_told_where_there_are_no_images(self, tmp_path: Path) -> None:
        (tmp_path / "SICK").mkdir()
        (tmp_path / "SICK" / "x.gif").write_bytes(b"GIF89a")
        with pytest.raises(InputError, match=r"no images .*\(1 file left out: 1 GIF"):
            load_manifest(tmp_path)
        with pytest.raises(InputError, match=r"no images in .*\(1 file left out: 1 GIF"):
            find_images([tmp_path])


class TestLinks:
    def test_into_the_folder_are_followed_once(self, data: Path) -> None:
        draw(data / "train" / "NORMAL" / "1.png", 1)
        draw(data / "train" / "SICK" / "1.png", 2)
        draw(data / "pool" / "more" / "9.png", 9)
        (data / "train" / "SICK" / "pool").symlink_to(data / "pool")
        (data / "train" / "SICK" / "again").symlink_to(data / "train" / "NORMAL")
        (data / "train" / "SICK" / "round").symlink_to(data)
        manifest = load_manifest(data)
        assert "train/SICK/pool/more/9.png" in set(manifest.table["path"])
        assert len(manifest) == 3
        again = "behind a link to a folder that is read already"
        assert manifest.left_out["train/SICK/again"] == again
        assert manifest.left_out["train/SICK/round"] == again

    def test_out_of_the_folder_are_followed_for_classes_alone(
        self, data: Path, tmp_path: Path
    ) -> None:
        draw(tmp_path / "elsewhere" / "1.png", 7)
        (data / "COVID").symlink_to(tmp_path / "elsewhere")
        (data / "SICK" / "more").symlink_to(tmp_path / "elsewhere")
        (data / "up").symlink_to(tmp_path)
        manifest = load_manifest(data, classes=["NORMAL", "COVID"])
        assert "COVID/1.png" in set(manifest.table["path"])
        assert manifest.left_out["SICK/more"] == "behind a link to a folder elsewhere"
        assert manifest.left_out["up"] == "behind a link to a folder elsewhere"
        left_out: Counter[str] = Counter()
        assert len(list(walk_images(data, left_out))) == 4
        assert left_out == {"behind a link to a folder elsewhere": 3}

    def test_to_a_split_or_a_class_inside_don_t_double_it(self, data: Path) -> None:
        (data / "latest").symlink_to(data / "SICK")
        manifest = load_manifest(data)
        assert manifest.classes == ("NORMAL", "SICK")
        assert list(manifest.left_out) == ["latest"]


@contextlib.contextmanager
def deep(folder: Path, name: str) -> Iterator[None]:
    """Make 1,200 folders in one another: deeper than pytest can take away afterwards."""
    before = Path.cwd()
    try:
        os.chdir(folder)  # the whole path may be longer than any call takes
        for _ in range(1200):
            os.mkdir(name)  # noqa: PTH102
            os.chdir(name)
        Image.new("L", (8, 8), 77).save("deep.png")
        os.chdir(before)
        yield
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", str(folder / name)], check=True)


def test_a_deep_tree_is_walked_without_recursion(data: Path) -> None:
    with deep(data / "SICK", "d"):
        manifest = load_manifest(data)
        walked = list(walk_images(data))
    assert len(manifest) == 5
    assert not manifest.left_out
    assert len(walked) == 5


def test_a_tree_deeper_than_paths_may_be_is_one_reason(data: Path) -> None:
    with deep(data / "SICK", "deeper"):
        manifest = load_manifest(data)
    assert len(manifest) == 4
    assert list(manifest.unreadable.values()) == ["file name too long"]


def test_paths_of_files_left_out_are_seen_from_elsewhere(data: Path) -> None:
    (data / "SICK" / "x.txt").write_text("no")
    seen = load_manifest(data).seen_from(data.parent)
    assert dict(seen.left_out) == {"data/SICK/x.txt": ".txt (not an image)"}


class TestSeveralSets:
    def test_without_splits_are_refused(self, tmp_path: Path) -> None:
        for fold, healthy in (("fold1", "NORMAL"), ("fold2", "Normal")):
            for label in (healthy, "PNEUMONIA"):
                draw(tmp_path / fold / label / "1.png")
        with pytest.raises(InputError, match="several data sets in it: fold1, fold2"):
            load_manifest(tmp_path)

    def test_classes_with_the_same_folders_in_them_are_none(self, tmp_path: Path) -> None:
        for label in ("NORMAL", "PNEUMONIA"):
            for hospital in ("north", "south", "clear", "blurred"):
                draw(tmp_path / label / hospital / "1.png")
        assert load_manifest(tmp_path).classes == ("NORMAL", "PNEUMONIA")
