"""TIFF, BMP and WebP: numbers are shown as their file says, or are refused with their kind."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import featx
from featx.data._dicom import Pseudonyms
from featx.data._file_facts import read_facts
from featx.images import UnreadableImageError, decode, decode_for_display
from tests.tiffs import CMYK, LAB, MIN_IS_WHITE, PALETTE, RGB, tiff

SIZE = 8
LOWEST, HIGHEST = 340, 341


def flat(value: float, dtype: Any) -> NDArray[Any]:
    return np.full((SIZE, SIZE), value, dtype)


def shown(path: Path) -> float:
    """The one value of an image that has the same everywhere. Its header must agree."""
    assert not read_facts(path, Pseudonyms(None)).problem
    pixels = decode(path, SIZE)
    assert pixels.shape == (SIZE, SIZE, 1)
    assert np.ptp(pixels) < 1e-3
    return float(pixels.mean())


def refused(path: Path) -> str:
    """Return why an image is refused, by its header and when it is decoded."""
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, SIZE)
    assert "\n" not in str(caught.value)
    assert read_facts(path, Pseudonyms(None)).problem == caught.value.reason
    return caught.value.reason


class TestRanges:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(
        ("dtype", "value", "expected"),
        [
            (np.uint8, 100, 100.0),
            (np.uint16, 0, 0.0),
            (np.uint16, 25_700, 100.0),
            (np.uint16, 65_535, 255.0),
            (np.int16, -32_768, 0.0),
            (np.int16, 0, 127.502),  # 32,768 of 65,535
            (np.int16, 32_767, 255.0),
            (np.int32, -(2**31), 0.0),
            (np.int32, 2**31 - 1, 255.0),
        ],
    )
    def test_is_that_of_the_samples(
        self, tmp_path: Path, order: str, dtype: Any, value: int, expected: float
    ) -> None:
        path = tiff(tmp_path / "x.tif", flat(value, dtype), order=order)
        assert shown(path) == pytest.approx(expected, abs=1e-2)

    @pytest.mark.parametrize("value", [0, 2**31 - 1, 2**31, 2**32 - 1])
    def test_of_unsigned_32_bits_does_not_wrap(self, tmp_path: Path, value: int) -> None:
        path = tiff(tmp_path / "x.tif", flat(value, np.uint32))
        assert shown(path) == pytest.approx(255.0 * value / (2**32 - 1), abs=1e-2)

    @pytest.mark.parametrize(("value", "expected"), [(-128, 0.0), (-1, 127.0), (127, 255.0)])
    def test_of_signed_8_bits_does_not_wrap(
        self, tmp_path: Path, value: int, expected: float
    ) -> None:
        assert shown(tiff(tmp_path / "x.tif", flat(value, np.int8))) == pytest.approx(expected)

    @pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (2_048, 127.53), (4_095, 255.0)])
    def test_of_12_bits_is_not_black(self, tmp_path: Path, value: int, expected: float) -> None:
        path = tiff(tmp_path / "x.tif", flat(value, np.uint16), bits=12)
        assert shown(path) == pytest.approx(expected, abs=1e-2)

    @pytest.mark.parametrize(
        ("dtype", "value", "low", "high", "expected"),
        [
            (np.uint16, 2_048, 0, 4_095, 127.53),
            (np.int16, 0, -1_000, 1_000, 127.5),
            (np.uint32, 4_095, 0, 4_095, 255.0),
            (np.float32, 0.5, 0.0, 1.0, 127.5),
            (np.float32, 1_023.75, 0.0, 4_095.0, 63.75),
            (np.float32, 9_999.0, 0.0, 4_095.0, 255.0),
        ],
    )
    def test_is_what_the_file_declares(
        self, tmp_path: Path, dtype: Any, value: float, low: float, high: float, expected: float
    ) -> None:
        tags = {LOWEST: ("d", low), HIGHEST: ("d", high)}
        path = tiff(tmp_path / "x.tif", flat(value, dtype), tags=tags)
        assert shown(path) == pytest.approx(expected, abs=1e-2)

    @pytest.mark.parametrize("value", [0.5, 4_095.0])
    def test_of_floats_is_never_guessed(self, tmp_path: Path, value: float) -> None:
        reason = refused(tiff(tmp_path / "x.tif", flat(value, np.float32)))
        assert "32-bit floats (mode F)" in reason
        assert "save it as 16-bit grey, or with SMinSampleValue and SMaxSampleValue" in reason

    @pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (5.0, -5.0), (0.0, np.inf)])
    def test_that_is_none_is_refused(self, tmp_path: Path, low: float, high: float) -> None:
        tags = {LOWEST: ("d", low), HIGHEST: ("d", high)}
        assert "values go from" in refused(tiff(tmp_path / "x.tif", flat(1, np.uint16), tags=tags))

    def test_pixels_that_are_not_numbers_are_refused(self, tmp_path: Path) -> None:
        tags = {LOWEST: ("d", 0.0), HIGHEST: ("d", 1.0)}
        tiff(tmp_path / "x.tif", flat(np.nan, np.float32), tags=tags)
        with pytest.raises(UnreadableImageError, match="pixels that are not numbers"):
            decode(tmp_path / "x.tif", SIZE)


class TestMinIsWhite:
    @pytest.mark.parametrize(
        ("dtype", "value", "expected"),
        [(np.uint8, 0, 255.0), (np.uint8, 200, 55.0), (np.uint16, 0, 255.0), (np.uint16, 257, 254)],
    )
    def test_is_not_a_negative(
        self, tmp_path: Path, dtype: Any, value: int, expected: float
    ) -> None:
        path = tiff(tmp_path / "x.tif", flat(value, dtype), photometric=MIN_IS_WHITE)
        assert shown(path) == pytest.approx(expected, abs=1e-3)

    def test_of_floats_is_not_a_negative(self, tmp_path: Path) -> None:
        tags = {LOWEST: ("d", 0.0), HIGHEST: ("d", 1.0)}
        path = tiff(tmp_path / "x.tif", flat(0.2, np.float32), photometric=MIN_IS_WHITE, tags=tags)
        assert shown(path) == pytest.approx(204.0, abs=1e-2)

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
    def test_of_a_compressed_file_is_not_a_negative(
        self, tmp_path: Path, compression: str | None
    ) -> None:
        for mode in ("1", "L"):
            image = Image.new(mode, (SIZE, SIZE), 255)
            image.save(tmp_path / "x.tif", compression=compression, tiffinfo={262: MIN_IS_WHITE})
            assert shown(tmp_path / "x.tif") == 255.0

    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
    def test_of_16_bits_compressed(self, tmp_path: Path, compression: str) -> None:
        image = Image.fromarray(flat(257, np.uint16))
        image.save(tmp_path / "x.tif", compression=compression)
        assert shown(tmp_path / "x.tif") == pytest.approx(1.0, abs=1e-3)

    def test_of_16_bits_in_the_other_byte_order_is_refused_by_name(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "x.tif", flat(1, np.uint16), photometric=MIN_IS_WHITE, order=">")
        assert refused(path) == (
            "a TIFF image of a kind that can't be read (16 bits, unsigned, MinIsWhite, "
            "big-endian): save it as 8- or 16-bit grey"
        )


class TestColour:
    def rgb(self, path: Path) -> list[int]:
        pixels = decode(path, SIZE)
        assert pixels.shape == (SIZE, SIZE, 3)
        return [round(float(value)) for value in pixels[0, 0]]

    def test_of_16_bits(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([257, 25_700, 65_535], np.uint16), (SIZE, SIZE, 3))
        assert self.rgb(tiff(tmp_path / "x.tif", values, photometric=RGB)) == [1, 100, 255]

    def test_of_ink(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([255, 0, 0, 0], np.uint8), (SIZE, SIZE, 4))
        assert self.rgb(tiff(tmp_path / "x.tif", values, photometric=CMYK)) == [0, 255, 255]

    def test_of_cielab(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([255, 0, 0], np.uint8), (SIZE, SIZE, 3))
        assert min(self.rgb(tiff(tmp_path / "x.tif", values, photometric=LAB))) >= 254

    def test_of_ycbcr(self, tmp_path: Path) -> None:
        Image.new("YCbCr", (SIZE, SIZE), (100, 128, 128)).save(tmp_path / "x.tif")
        assert self.rgb(tmp_path / "x.tif") == [100, 100, 100]

    def test_of_floats_is_refused_by_name(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "x.tif", np.zeros((SIZE, SIZE, 3), np.float32), photometric=RGB)
        assert "(32+32+32 bits, float, RGB, little-endian)" in refused(path)

    def test_of_a_palette_with_transparency(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([2, 9], np.uint8), (SIZE, SIZE, 2))
        palette = np.zeros((3, 256), int)
        palette[:, 2] = 257 * np.array([10, 20, 30])
        tags = {320: ("H", palette), 338: ("H", 2)}
        path = tiff(tmp_path / "x.tif", values, photometric=PALETTE, tags=tags)
        with Image.open(path) as image:
            assert image.mode == "PA"
        assert self.rgb(path) == [10, 20, 30]

    def test_grey_with_transparency(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([90, 9], np.uint8), (SIZE, SIZE, 2))
        assert shown(tiff(tmp_path / "x.tif", values, tags={338: ("H", 2)})) == 90.0

    def test_grey_multiplied_by_its_transparency(self, tmp_path: Path) -> None:
        values = np.broadcast_to(np.array([90, 255], np.uint8), (SIZE, SIZE, 2))
        assert shown(tiff(tmp_path / "x.tif", values, tags={338: ("H", 1)})) == 90.0


@pytest.mark.parametrize(
    ("kind", "suffix"), [("BMP", "bmp"), ("WEBP", "webp"), ("TIFF", "tif"), ("PNG", "")]
)
def test_other_formats_give_the_same_pixels(tmp_path: Path, kind: str, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    other = tmp_path / (f"y.{suffix}" if suffix else "y")
    Image.fromarray(values).save(other, kind, **options)
    np.testing.assert_array_equal(decode(other, SIZE), decode(tmp_path / "x.png", SIZE))
    assert read_facts(other, Pseudonyms(None)).source == kind


class TestPages:
    def test_of_a_tiff_file_are_counted(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "x.tif", *(flat(n, np.uint8) for n in range(3)))
        assert refused(path) == "a TIFF file of 3 pages, not one image"

    def test_many_are_not_counted_to_the_end(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "x.tif", *(flat(0, np.uint8) for _ in range(500)))
        assert refused(path) == "a TIFF file of more than 64 pages, not one image"

    def test_smaller_copies_are_not_pages(self, tmp_path: Path) -> None:
        subfile = [{}, {254: ("I", 1.0)}, {254: ("I", 4.0)}]
        path = tiff(
            tmp_path / "x.tif",
            flat(70, np.uint8), flat(1, np.uint8), flat(2, np.uint8),
            page_tags=[{tag: (k, int(v)) for tag, (k, v) in page.items()} for page in subfile],
        )  # fmt: skip
        assert shown(path) == 70.0

    def test_of_an_animation_are_refused(self, tmp_path: Path) -> None:
        pages = [Image.new("L", (SIZE, SIZE), value) for value in (0, 200)]
        pages[0].save(tmp_path / "x.webp", save_all=True, append_images=pages[1:])
        assert refused(tmp_path / "x.webp") == "a WEBP file of 2 pages, not one image"

    def test_the_first_of_several_jpeg_pictures_is_the_image(self, tmp_path: Path) -> None:
        pages = [Image.new("L", (SIZE, SIZE), value) for value in (60, 200)]
        pages[0].save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=pages[1:])
        assert read_facts(tmp_path / "x.jpg", Pseudonyms(None)).source == "MPO"
        assert shown(tmp_path / "x.jpg") == pytest.approx(60.0, abs=1)


def test_a_tiff_that_lies_is_turned_once(tmp_path: Path) -> None:
    values = np.zeros((20, 40), np.uint8)
    values[:, :20] = 255  # white on the left: turned by 90 degrees, on top
    tiff(tmp_path / "x.tif", values, tags={274: ("H", 6)})
    pixels = decode_for_display(tmp_path / "x.tif", 40)
    assert pixels.shape == (40, 20, 1)
    assert pixels[:15].mean() > 240
    assert pixels[-15:].mean() < 15


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "EPS, an image format that"),
            (b"GIF89a\x08\0\x08\0\0\0\0;", "GIF, an image format that featx doesn't read"),
            (b"%PDF-1.7\n", "a PDF file, not an image"),
            (b"Dear doctor,", "text, not an image"),
            (b"\0\1\2\3" * 9, "not an image that featx reads"),
            (b"\x89PNG\r\n\x1a\n", "a damaged PNG image"),
            (b"II*\0\x08\0\0\0", "a damaged TIFF image"),
        ],
    )
    def test_named_like_an_image_are_called_what_they_are(
        self, tmp_path: Path, content: bytes, reason: str
    ) -> None:
        (tmp_path / "xray.png").write_bytes(content)
        assert refused(tmp_path / "xray.png").startswith(reason)

    def test_eps_named_like_an_image_starts_no_ghostscript(self, tmp_path: Path) -> None:
        content = io.BytesIO()
        Image.new("RGB", (SIZE, SIZE), "red").save(content, "EPS")
        (tmp_path / "xray.png").write_bytes(content.getvalue())
        (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
        (tmp_path / "gs").chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        program = (
            "import sys; from PIL import Image, EpsImagePlugin\n"
            "from pathlib import Path; from featx.images import decode, decode_for_display\n"
            "from featx.data._file_facts import read_facts\n"
            "from featx.data._dicom import Pseudonyms\n"
            "image = Path(sys.argv[1])\n"
            "print(read_facts(image, Pseudonyms(None)).problem)\n"
            "for read in (decode, decode_for_display):\n"
            "    try: read(image, 8)\n"
            "    except Exception as error: print(error)\n"
        )
        run = [sys.executable, "-c", program, str(tmp_path / "xray.png")]
        said = subprocess.run(
            run, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        )
        assert said.stdout.count("EPS, an image format that featx doesn't read") == 3
        assert not (tmp_path / "started").exists()
        # Pillow on its own would.
        run[2] = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"
        subprocess.run(
            run, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert (tmp_path / "started").exists()

    @pytest.mark.timeout(60)
    def test_pipes_are_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x.png")
        assert refused(tmp_path / "x.png") == "not a regular file"
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            decode_for_display(tmp_path / "x.png", SIZE)
        os.mkfifo(tmp_path / "x.npz")
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            decode(tmp_path / "x.npz#train_images/0", SIZE)


def test_every_opening_of_an_image_names_the_formats() -> None:
    found = 0
    for path in Path(featx.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                found += 1
                assert "formats" in {keyword.arg for keyword in node.keywords}, path
                assert isinstance(node.func, ast.Attribute)
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            assert "imread(" not in text, path
            assert "load_img(" not in text, path
    assert found >= 3


def test_numbers_far_out_of_range_are_white_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    image = Image.fromarray(np.full((4, 4), 3e38, np.float32))
    image.save(
        tmp_path / "x.tif", tiffinfo={340: 0.0, 341: 1.0}
    )  # SMinSampleValue, SMaxSampleValue
    assert (decode(tmp_path / "x.tif", 8) == 255).all()
    assert not [each for each in recwarn if each.category is RuntimeWarning]
