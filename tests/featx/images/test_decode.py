"""Decoding: every kind of JPEG and PNG, as Keras would, and a reason for every other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from featx.errors import FeatxError
from featx.images import DecodingSpec, UnreadableImageError, decode

SIZE = 24


@pytest.fixture
def grey() -> NDArray[np.uint8]:
    """A slope with a bright corner, 40 rows and 60 columns: no symmetry hides a mistake."""
    values = np.add.outer(np.arange(40) * 2, np.arange(60)).astype(np.uint8)
    values[:10, :15] = 250
    return values


@pytest.fixture
def colour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([grey, grey[::-1], 255 - grey], axis=-1)


def resized(values: NDArray[Any]) -> NDArray[np.float32]:
    """Result of Pillow's bilinear filter on 8-bit channels."""
    image = Image.fromarray(values).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32).reshape(SIZE, SIZE, -1)


class TestModes:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_png_keeps_its_channels(
        self, tmp_path: Path, grey: NDArray[np.uint8], colour: NDArray[np.uint8], channels: int
    ) -> None:
        values = grey if channels == 1 else colour
        Image.fromarray(values).save(tmp_path / "x.png")
        pixels = decode(tmp_path / "x.png", SIZE)
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(pixels, resized(values))

    @pytest.mark.parametrize("channels", [1, 3])
    def test_jpeg_is_close_to_what_was_saved(
        self, tmp_path: Path, grey: NDArray[np.uint8], colour: NDArray[np.uint8], channels: int
    ) -> None:
        values = grey if channels == 1 else colour
        Image.fromarray(values).save(tmp_path / "x.jpeg", quality=95, subsampling=0)
        pixels = decode(tmp_path / "x.jpeg", SIZE)
        assert pixels.shape == (SIZE, SIZE, channels)
        assert np.abs(pixels - resized(values)).mean() < 2

    def test_cmyk_jpeg_becomes_rgb(self, tmp_path: Path, colour: NDArray[np.uint8]) -> None:
        Image.fromarray(colour).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
        pixels = decode(tmp_path / "x.jpg", SIZE)
        assert pixels.shape == (SIZE, SIZE, 3)
        assert np.abs(pixels - resized(colour)).mean() < 6

    def test_rgba_drops_transparency(self, tmp_path: Path, colour: NDArray[np.uint8]) -> None:
        alpha = np.linspace(0, 255, colour[..., 0].size).reshape(colour.shape[:2])
        with_alpha = np.dstack([colour, alpha.astype(np.uint8)])
        Image.fromarray(with_alpha).save(tmp_path / "x.png")
        np.testing.assert_array_equal(decode(tmp_path / "x.png", SIZE), resized(colour))

    def test_la_drops_transparency_and_stays_grey(
        self, tmp_path: Path, grey: NDArray[np.uint8]
    ) -> None:
        image = Image.fromarray(grey).convert("LA")
        image.putalpha(Image.new("L", image.size, 10))
        image.save(tmp_path / "x.png")
        np.testing.assert_array_equal(decode(tmp_path / "x.png", SIZE), resized(grey))

    def test_palette_becomes_its_colours(self, tmp_path: Path) -> None:
        indices = (np.indices((40, 60)).sum(axis=0) // 30).astype(np.uint8)
        image = Image.fromarray(indices).convert("P")
        palette = np.array([[200, 0, 0], [0, 100, 0], [0, 0, 50], [9, 9, 9]], np.uint8)
        image.putpalette(palette.tobytes())
        image.save(tmp_path / "x.png")
        with Image.open(tmp_path / "x.png") as opened:
            assert opened.mode == "P"
        np.testing.assert_array_equal(decode(tmp_path / "x.png", SIZE), resized(palette[indices]))

    def test_one_bit_becomes_black_and_white(self, tmp_path: Path, grey: NDArray[np.uint8]) -> None:
        Image.fromarray(grey > 60).convert("1").save(tmp_path / "x.png")
        expected = resized(((grey > 60) * 255).astype(np.uint8))
        np.testing.assert_array_equal(decode(tmp_path / "x.png", SIZE), expected)


class TestSixteenBits:
    def write(self, path: Path, values: NDArray[np.uint16]) -> Path:
        Image.fromarray(values).save(path)
        with Image.open(path) as opened:
            assert opened.mode.startswith("I")
        return path

    def test_range_of_the_format_becomes_0_to_255(self, tmp_path: Path) -> None:
        for stored, expected in ((0, 0.0), (257, 1.0), (25_700, 100.0), (65_535, 255.0)):
            values = np.full((30, 30), stored, np.uint16)
            pixels = decode(self.write(tmp_path / f"{stored}.png", values), SIZE)
            assert pixels.shape == (SIZE, SIZE, 1)
            np.testing.assert_allclose(pixels, expected, atol=1e-4)

    def test_equals_the_8_bit_image_of_the_same_content(
        self, tmp_path: Path, grey: NDArray[np.uint8]
    ) -> None:
        pixels = decode(self.write(tmp_path / "x.png", grey.astype(np.uint16) * 257), SIZE)
        # Pillow rounds what it resizes in 8 bits, twice.
        np.testing.assert_allclose(pixels, resized(grey), atol=1.01)

    def test_keeps_differences_below_one_grey_level(self, tmp_path: Path) -> None:
        values = np.full((30, 30), 10_000, np.uint16)
        values[:, 15:] = 10_020
        pixels = decode(self.write(tmp_path / "x.png", values), 30)
        assert 0.0 < pixels[0, -1, 0] - pixels[0, 0, 0] < 0.1

    def test_scaling_does_not_depend_on_the_content(self, tmp_path: Path) -> None:
        dark = np.full((30, 30), 1_000, np.uint16)
        mixed = dark.copy()
        mixed[:, 15:] = 60_000
        a = decode(self.write(tmp_path / "a.png", dark), 30)
        b = decode(self.write(tmp_path / "b.png", mixed), 30)
        assert a[0, 0, 0] == b[0, 0, 0]


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["jpeg", "png"])
    @pytest.mark.parametrize(
        ("orientation", "turned"),
        [
            (2, lambda a: a[:, ::-1]),
            (3, lambda a: a[::-1, ::-1]),
            (6, lambda a: np.rot90(a, -1)),
            (8, lambda a: np.rot90(a, 1)),
        ],
    )
    def test_exif_orientation_is_applied(
        self, tmp_path: Path, grey: NDArray[np.uint8], suffix: str, orientation: int, turned: Any
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options: dict[str, Any] = {"quality": 98} if suffix == "jpeg" else {}
        Image.fromarray(grey).save(tmp_path / f"x.{suffix}", exif=exif, **options)
        pixels = decode(tmp_path / f"x.{suffix}", SIZE)
        error = np.abs(pixels - resized(np.ascontiguousarray(turned(grey)))).mean()
        assert error < 2, error

    def test_no_exif_turns_nothing(self, tmp_path: Path, grey: NDArray[np.uint8]) -> None:
        Image.fromarray(grey).save(tmp_path / "x.png", exif=Image.Exif())
        np.testing.assert_array_equal(decode(tmp_path / "x.png", SIZE), resized(grey))


class TestUnreadable:
    def refusal(self, path: Path) -> UnreadableImageError:
        with pytest.raises(UnreadableImageError) as caught:
            decode(path, SIZE)
        error = caught.value
        assert isinstance(error, FeatxError)
        assert error.exit_code == 2
        assert error.path == path
        assert str(error) == f"can't read the image {path}: {error.reason}"
        assert str(path) not in error.reason
        assert "\n" not in str(error)
        return error

    @pytest.mark.parametrize("suffix", ["jpeg", "png"])
    def test_truncated_image(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"x.{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "truncated" in self.refusal(path).reason

    def test_files_that_are_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.jpeg").write_text("Dear doctor,")
        (tmp_path / "folder.png").mkdir()
        for name, reason in (
            ("empty.png", "the file is empty"),
            ("text.jpeg", "text, not an image"),
            ("gone.png", "no such file or directory"),
            ("folder.png", "is a directory"),
        ):
            assert self.refusal(tmp_path / name).reason == reason

    def test_damaged_png(self, tmp_path: Path, colour: NDArray[np.uint8]) -> None:
        path = tmp_path / "x.png"
        Image.fromarray(colour).save(path)
        content = bytearray(path.read_bytes())
        content[content.index(b"IDAT") + 20] ^= 0xFF
        path.write_bytes(content)
        self.refusal(path)

    @pytest.mark.parametrize("suffix", ["png", "jpeg"])
    def test_any_damage_is_a_reason_and_not_a_crash(
        self, tmp_path: Path, colour: NDArray[np.uint8], suffix: str
    ) -> None:
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(colour).save(path)
        content, random = path.read_bytes(), np.random.default_rng(5)
        reasons = []
        for place in random.integers(0, len(content), 300).tolist():
            damaged = bytearray(content)
            damaged[place] ^= int(random.integers(1, 256))
            path.write_bytes(damaged)
            try:
                assert decode(path, SIZE).shape[:2] == (SIZE, SIZE)
            except UnreadableImageError as error:
                reasons.append(error.reason)
        assert reasons
        assert all(reasons)

    def test_decompression_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        Image.new("L", (50, 50)).save(tmp_path / "x.png")
        assert "exceeds limit" in self.refusal(tmp_path / "x.png").reason


class TestKeras:
    @pytest.mark.parametrize("kind", ["grey.jpeg", "colour.jpeg", "grey.png", "colour.png"])
    def test_equals_load_img(
        self,
        tmp_path: Path,
        grey: NDArray[np.uint8],
        colour: NDArray[np.uint8],
        kind: str,
    ) -> None:
        import keras

        path = tmp_path / kind
        Image.fromarray(grey if kind.startswith("grey") else colour).save(path)
        for size in (SIZE, 75):
            image = keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
            expected = keras.utils.img_to_array(image)
            pixels = np.broadcast_to(decode(path, size), (size, size, 3))
            np.testing.assert_array_equal(pixels, expected)

    def test_equals_load_img_on_real_x_rays(self, shared_data: Path) -> None:
        import keras

        paths = sorted((shared_data / "originals").rglob("*.jpeg"))[::9]
        assert len(paths) >= 6
        for path in paths:
            image = keras.utils.load_img(path, target_size=(300, 300), interpolation="bilinear")
            whole = decode(path, 300, spec=DecodingSpec(jpeg_reduction=0))
            pixels = np.broadcast_to(whole, (300, 300, 3))
            np.testing.assert_array_equal(pixels, keras.utils.img_to_array(image))

    def test_reduced_decoding_of_real_x_rays_differs_by_less_than_a_grey_level(
        self, shared_data: Path
    ) -> None:
        reduced = 0
        for path in sorted((shared_data / "originals").rglob("*.jpeg"))[::4]:
            whole = decode(path, 300, spec=DecodingSpec(jpeg_reduction=0))
            difference = np.abs(decode(path, 300) - whole)
            assert difference.mean() < 1.0
            with Image.open(path) as image:
                large = min(image.size) >= 1200
            assert bool(difference.any()) == large
            reduced += large
        assert reduced >= 3
