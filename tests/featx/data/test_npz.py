"""Arrays in MedMNIST's layout: listed and read one image at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import _npz as npz
from featx.data import load_manifest
from featx.errors import InputError
from featx.images import UnreadableImageError, decode

RANDOM = np.random.default_rng(3)
TRAIN = RANDOM.integers(0, 256, (7, 28, 28), dtype=np.uint8)
TEST = RANDOM.integers(0, 256, (4, 28, 28), dtype=np.uint8)


def write(path: Path, save: Any = np.savez_compressed, **arrays: Any) -> Path:
    known = {
        "train_images": TRAIN,
        "train_labels": np.array([[0], [1], [0], [1], [1], [0], [1]]),
        "test_images": TEST,
        "test_labels": np.array([0, 1, 1, 0]),
    }
    save(path, **{k: v for k, v in (known | arrays).items() if v is not None})
    return path


class TestListing:
    def test_has_every_image_with_its_label_and_split(self, tmp_path: Path) -> None:
        manifest = load_manifest(write(tmp_path / "set.npz"))
        table = manifest.table
        assert manifest.root == tmp_path
        assert manifest.classes == ("0", "1")
        assert table["path"].tolist()[6:8] == ["set.npz#train_images/6", "set.npz#test_images/0"]
        assert table["label"].tolist() == list("01011010110")
        assert table["split"].tolist() == ["train"] * 7 + ["test"] * 4
        assert table["sha256"].iloc[8] == hashlib.sha256(TEST[1].tobytes()).hexdigest()
        assert set(table["source"]) == {"NPZ"}
        assert set(table["width"]) == {28}
        assert table["group"].nunique() == 11

    def test_the_pneumonia_set_has_the_names_of_its_classes(self, tmp_path: Path) -> None:
        manifest = load_manifest(write(tmp_path / "pneumoniamnist_224.npz"))
        assert manifest.classes == ("NORMAL", "PNEUMONIA")
        assert manifest.table["label"].tolist()[:2] == ["NORMAL", "PNEUMONIA"]

    def test_colour(self, tmp_path: Path) -> None:
        colour = RANDOM.integers(0, 256, (7, 9, 8, 3), dtype=np.uint8)
        manifest = load_manifest(write(tmp_path / "set.npz", train_images=colour))
        row = manifest.table.iloc[2]
        assert (row["width"], row["height"], row["mode"]) == (8, 9, "RGB")

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"train_images": None, "test_images": None}, "no train_images, val_images or test"),
            ({"train_labels": None}, "has train_images and no train_labels"),
            ({"train_labels": np.zeros((7, 3), int)}, r"train_labels .* shape \(7, 3\)"),
            ({"train_labels": np.zeros(6, int)}, r"train_labels .* shape \(6,\)"),
            ({"train_labels": np.zeros(7)}, "train_labels .* is float64"),
            ({"train_labels": np.zeros(7, int), "test_labels": np.zeros(4, int)}, "exactly two"),
            ({"train_images": TRAIN.astype(float), "test_images": None}, "not an array of 8-bit"),
        ],
    )
    def test_other_layouts_are_refused(
        self, tmp_path: Path, arrays: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InputError, match=said):
            load_manifest(write(tmp_path / "set.npz", **arrays))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
    def test_what_is_no_archive_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "set.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"set\.npz can't be read as an \.npz file"):
            load_manifest(tmp_path / "set.npz")

    def test_pickles_are_never_read(self, tmp_path: Path) -> None:
        labels = np.array([Evil()] * 7, dtype=object)
        np.savez(tmp_path / "set.npz", train_images=TRAIN, train_labels=labels)
        with pytest.raises(InputError, match=r"train_labels .* is object"):
            load_manifest(tmp_path / "set.npz")


class Evil:
    """Would end the test if it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exit, (3,))


class TestReading:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_any_row_in_any_order(self, tmp_path: Path, save: Any) -> None:
        write(tmp_path / "set.npz", save)
        for row in (3, 0, 6, 1, 1):
            pixels = npz.read_image(tmp_path / f"set.npz#train_images/{row}")
            np.testing.assert_array_equal(pixels, TRAIN[row])

    def test_decoding_is_that_of_an_image_file(self, tmp_path: Path) -> None:
        from PIL import Image

        write(tmp_path / "set.npz")
        Image.fromarray(TRAIN[4]).save(tmp_path / "x.png")
        np.testing.assert_array_equal(
            decode(tmp_path / "set.npz#train_images/4", 20), decode(tmp_path / "x.png", 20)
        )

    @pytest.mark.parametrize("place", ["train_images/7", "val_images/0"])
    def test_what_is_not_there(self, tmp_path: Path, place: str) -> None:
        write(tmp_path / "set.npz")
        with pytest.raises(UnreadableImageError, match=r"there (are 7 images|is no array)"):
            decode(tmp_path / f"set.npz#{place}", 20)

    def test_its_content_is_checked(self, tmp_path: Path) -> None:
        write(tmp_path / "set.npz")
        with pytest.raises(UnreadableImageError, match="it changed"):
            decode(tmp_path / "set.npz#train_images/0", 20, sha256="0" * 64)

    def test_images_before_and_behind_are_not_kept_in_memory(self, tmp_path: Path) -> None:
        import tracemalloc

        images = np.zeros((400, 256, 256), np.uint8)  # 26 MB
        np.savez_compressed(tmp_path / "big.npz", train_images=images)
        tracemalloc.start()
        npz.read_image(tmp_path / "big.npz#train_images/399")
        npz.read_image(tmp_path / "big.npz#train_images/10")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6e6
