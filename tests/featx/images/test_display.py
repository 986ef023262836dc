"""Images as people look at them: at their own aspect ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.images import UnreadableImageError, decode_for_display


@pytest.mark.parametrize(
    ("size", "shown"), [((400, 200), (100, 200)), ((50, 100), (200, 100)), ((9, 9), (200, 200))]
)
def test_the_longer_side_is_as_asked(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    Image.new("L", size, 99).save(tmp_path / "a.png")
    pixels = decode_for_display(tmp_path / "a.png", 200)
    assert pixels.shape == (*shown, 1)
    assert pixels.dtype == np.float32
    assert np.unique(pixels).tolist() == [99]


def test_an_image_that_lies_is_put_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (80, 40), (10, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "a.jpg", exif=exif)
    assert decode_for_display(tmp_path / "a.jpg", 100).shape == (100, 50, 3)


def test_a_dicom_image_has_the_aspect_ratio_of_its_header(tmp_path: Path) -> None:
    from tests.dicoms import dicom

    dicom(tmp_path / "a.dcm", np.zeros((30, 60), np.uint16))
    assert decode_for_display(tmp_path / "a.dcm", 120).shape == (60, 120, 1)


def test_a_row_of_an_npz_file_has_its_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 10, 20), np.uint8))
    assert decode_for_display(tmp_path / "a.npz#train_images/1", 40).shape == (20, 40, 1)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(UnreadableImageError, match="text, not an image"):
        decode_for_display(tmp_path / "a.png", 100)
