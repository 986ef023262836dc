"""DICOM pixels: what is stored becomes what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from featx.images import UnreadableImageError, decode
from tests.dicoms import dicom

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)


def shown(tmp_path: Path, pixels: NDArray[Any], **elements: Any) -> NDArray[np.float32]:
    """Write, decode without resizing."""
    decoded = decode(dicom(tmp_path / "x.dcm", pixels, **elements), SIDE)
    assert decoded.dtype == np.float32
    assert decoded.min() >= 0.0
    assert decoded.max() <= 255.0
    return decoded[..., 0] if decoded.shape[-1] == 1 else decoded


def table(values: NDArray[Any], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = values.astype(np.uint16).tolist()
    item["LUTData"].VR = "US"
    item.ModalityLUTType = "US"
    return Sequence([item])


class TestRange:
    def test_eight_bits_are_shown_as_they_are(self, tmp_path: Path) -> None:
        np.testing.assert_allclose(shown(tmp_path, RAMP.astype(np.uint8)), RAMP, atol=1e-3)

    @pytest.mark.parametrize("bits", [10, 12, 14, 16])
    def test_more_bits_by_what_they_can_express_not_by_the_content(
        self, tmp_path: Path, bits: int
    ) -> None:
        expected = RAMP * (255.0 / (2**bits - 1))
        decoded = shown(tmp_path, RAMP, BitsStored=bits, HighBit=bits - 1)
        np.testing.assert_allclose(decoded, expected, atol=1e-3)

    def test_signed(self, tmp_path: Path) -> None:
        stored = RAMP.astype(np.int16) * 100 - 12_000
        expected = (stored.astype(float) + 32768) * 255 / 65535
        np.testing.assert_allclose(shown(tmp_path, stored), expected, atol=1e-3)

    def test_slope_and_intercept_alone_change_nothing(self, tmp_path: Path) -> None:
        plain = shown(tmp_path, RAMP)
        scaled = shown(tmp_path, RAMP, RescaleSlope=2.5, RescaleIntercept=-1000)
        np.testing.assert_allclose(scaled, plain, atol=1e-3)

    def test_a_negative_slope_turns_dark_and_bright_round(self, tmp_path: Path) -> None:
        plain = shown(tmp_path, RAMP)
        turned = shown(tmp_path, RAMP, RescaleSlope=-1, RescaleIntercept=0)
        np.testing.assert_allclose(turned, 255.0 - plain, atol=1e-3)

    def test_colour(self, tmp_path: Path) -> None:
        colour = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        np.testing.assert_allclose(shown(tmp_path, colour), colour, atol=1e-3)


class TestWindow:
    """See DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""

    def linear(self, values: NDArray[Any], centre: float, width: float) -> NDArray[np.float64]:
        return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255

    @pytest.mark.parametrize(("centre", "width"), [(128, 100), (60, 41), (200, 300)])
    def test_linear(self, tmp_path: Path, centre: float, width: float) -> None:
        decoded = shown(tmp_path, RAMP, WindowCenter=centre, WindowWidth=width)
        np.testing.assert_allclose(decoded, self.linear(RAMP, centre, width), atol=1e-3)

    def test_linear_is_of_rescaled_values(self, tmp_path: Path) -> None:
        decoded = shown(
            tmp_path,
            RAMP,
            RescaleSlope=2,
            RescaleIntercept=-100,
            WindowCenter=150,
            WindowWidth=120,
        )
        expected = self.linear(RAMP * 2.0 - 100, 150, 120)
        np.testing.assert_allclose(decoded, expected, atol=1e-3)

    def test_linear_with_a_negative_slope(self, tmp_path: Path) -> None:
        decoded = shown(
            tmp_path,
            RAMP,
            RescaleSlope=-1,
            RescaleIntercept=300,
            WindowCenter=150,
            WindowWidth=120,
        )
        np.testing.assert_allclose(decoded, self.linear(300.0 - RAMP, 150, 120), atol=1e-3)

    def test_exact_and_sigmoid(self, tmp_path: Path) -> None:
        window = {"WindowCenter": 120, "WindowWidth": 80}
        exact = shown(tmp_path, RAMP, VOILUTFunction="LINEAR_EXACT", **window)
        expected = np.clip((RAMP - 120.0) / 80 + 0.5, 0, 1) * 255
        np.testing.assert_allclose(exact, expected, atol=1e-3)
        sigmoid = shown(tmp_path, RAMP, VOILUTFunction="SIGMOID", **window)
        np.testing.assert_allclose(sigmoid, 255 / (1 + np.exp(-4 * (RAMP - 120.0) / 80)), atol=1e-2)

    def test_the_first_of_several(self, tmp_path: Path) -> None:
        decoded = shown(tmp_path, RAMP, WindowCenter=[128, 10], WindowWidth=[100, 20])
        np.testing.assert_allclose(decoded, self.linear(RAMP, 128, 100), atol=1e-3)

    def test_a_table_goes_before_a_window(self, tmp_path: Path) -> None:
        curve = np.rint(np.linspace(0, 1, 256) ** 2 * 1023)
        decoded = shown(
            tmp_path,
            RAMP,
            VOILUTSequence=table(curve, 0, 10),
            WindowCenter=10,
            WindowWidth=20,
        )
        np.testing.assert_allclose(decoded, curve[RAMP] * 255 / 1023, atol=1e-3)

    def test_a_modality_table(self, tmp_path: Path) -> None:
        curve = np.rint(np.linspace(1, 0, 256) * 65535)
        decoded = shown(tmp_path, RAMP, ModalityLUTSequence=table(curve, 0, 16))
        np.testing.assert_allclose(decoded, curve[RAMP] * 255 / 65535, atol=1e-3)


class TestMonochrome1:
    @pytest.mark.parametrize("side", [SIDE, 7, 40])
    @pytest.mark.parametrize(
        "window", [{}, {"WindowCenter": 100, "WindowWidth": 77}], ids=["plain", "window"]
    )
    def test_is_the_exact_negative(self, tmp_path: Path, side: int, window: dict[str, Any]) -> None:
        one, two = (
            decode(
                dicom(tmp_path / f"{name}.dcm", RAMP, PhotometricInterpretation=name, **window),
                side,
            )
            for name in ("MONOCHROME1", "MONOCHROME2")
        )
        np.testing.assert_array_equal(one, 255 - two)
        np.testing.assert_array_equal(two, 255 - one)
        assert two.std() > 0

    @pytest.mark.parametrize("side", [224, 300, 1024])
    def test_of_a_real_pair(self, shared_data: Path, side: int) -> None:
        from pydicom import dcmread

        files = sorted((shared_data / "dicom").glob("*.dcm"))
        found = {dcmread(f).PhotometricInterpretation: decode(f, side) for f in files}
        assert sorted(found) == ["MONOCHROME1", "MONOCHROME2"]
        np.testing.assert_array_equal(found["MONOCHROME1"], 255 - found["MONOCHROME2"])


class TestCompression:
    @pytest.mark.parametrize(
        "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name[:9]
    )
    def test_lossless_gives_the_same_pixels(self, tmp_path: Path, syntax: Any) -> None:
        from pydicom import dcmread

        plain = dicom(tmp_path / "plain.dcm", RAMP)
        dataset = dcmread(plain)
        try:
            dataset.compress(syntax, generate_instance_uid=False)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            pytest.skip(f"no encoder here: {error}")
        dataset.save_as(tmp_path / "packed.dcm")
        np.testing.assert_array_equal(decode(tmp_path / "packed.dcm", 9), decode(plain, 9))


class TestPydicomsOwnFiles:
    """Files of many makers, some broken on purpose, that come with pydicom."""

    def test_every_one_is_shown_or_refused_with_a_reason(self) -> None:
        import pydicom

        folder = Path(pydicom.__file__).parent / "data" / "test_files"
        shown, refused = [], {}
        for path in sorted(folder.glob("*.dcm")):
            try:
                pixels = decode(path, 32)
            except UnreadableImageError as error:
                refused[path.name] = error.reason
            else:
                assert pixels.shape[:2] == (32, 32)
                assert np.isfinite(pixels).all()
                assert 0.0 <= pixels.min() <= pixels.max() <= 255.0
                shown.append(path.name)
        assert not any("\n" in reason for reason in refused.values())
        if not shown:
            pytest.skip("this pydicom comes without its test files")
        assert {"CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle.dcm"} <= set(shown)
        assert {"rtplan.dcm", "MR_truncated.dcm", "badVR.dcm"} <= set(refused)


class TestErrors:
    def test_too_few_pixels(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", RAMP, Rows=2000)
        with pytest.raises(
            UnreadableImageError,
            match="its PixelData is shorter than Rows, Columns and BitsAllocated say",
        ):
            decode(path, 8)

    def test_too_many_pixels(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", RAMP, Rows=30_000, Columns=30_000)
        with pytest.raises(
            UnreadableImageError, match="Rows x Columns are more than the limit of 178956970"
        ):
            decode(path, 8)

    def test_without_pixels(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", RAMP, PixelData=None)
        with pytest.raises(UnreadableImageError, match="a DICOM file without pixels"):
            decode(path, 8)

    def test_its_content_is_checked(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", RAMP)
        with pytest.raises(UnreadableImageError, match="it changed"):
            decode(path, 8, sha256="0" * 64)
