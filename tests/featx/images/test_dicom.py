"""DICOM pixels: what is stored becomes what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from featx.images import UnreadableImageError, decode
from tests.dicoms import dicom
from tests.featx.images.test_dicom_headers import (
    COLOUR,
    RAMP,
    SIDE,
    linear,
    same,
    shown,
    table,
    whole,
)


class TestRange:
    def test_eight_bits_are_shown_as_they_are(self, tmp_path: Path) -> None:
        same(shown(tmp_path, RAMP.astype(np.uint8)), RAMP)
        same(shown(tmp_path, COLOUR), COLOUR)

    @pytest.mark.parametrize("bits", [10, 12, 14, 16])
    def test_more_bits_by_what_they_can_express_not_by_the_content(
        self, tmp_path: Path, bits: int
    ) -> None:
        same(shown(tmp_path, RAMP, BitsStored=bits, HighBit=bits - 1), whole(RAMP, bits))

    def test_signed(self, tmp_path: Path) -> None:
        stored = RAMP.astype(np.int16) * 100 - 12_000
        same(shown(tmp_path, stored), whole(stored + 32768.0, 16))

    def test_slope_and_intercept_alone_change_nothing(self, tmp_path: Path) -> None:
        found = shown(tmp_path, RAMP, RescaleSlope=2.5, RescaleIntercept=-1000)
        same(found, shown(tmp_path, RAMP))

    def test_a_negative_slope_turns_dark_and_bright_round(self, tmp_path: Path) -> None:
        turned = shown(tmp_path, RAMP, RescaleSlope=-1, RescaleIntercept=0)
        same(turned, 255.0 - shown(tmp_path, RAMP))


class TestWindow:
    """See DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""

    @pytest.mark.parametrize(("centre", "width"), [(128, 100), (60, 41), (200, 300)])
    @pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -100), (-1, 300)])
    def test_linear_shows_rescaled_values(
        self, tmp_path: Path, centre: float, width: float, slope: float, intercept: float
    ) -> None:
        elements = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        decoded = shown(tmp_path, RAMP, WindowCenter=centre, WindowWidth=width, **elements)
        same(decoded, linear(RAMP * float(slope) + intercept, centre, width))

    def test_exact_and_sigmoid(self, tmp_path: Path) -> None:
        window = {"WindowCenter": 120, "WindowWidth": 80}
        exact = shown(tmp_path, RAMP, VOILUTFunction="LINEAR_EXACT", **window)
        same(exact, np.clip((RAMP - 120.0) / 80 + 0.5, 0, 1) * 255)
        sigmoid = shown(tmp_path, RAMP, VOILUTFunction="SIGMOID", **window)
        np.testing.assert_allclose(sigmoid, 255 / (1 + np.exp(-4 * (RAMP - 120.0) / 80)), atol=1e-2)

    def test_the_first_of_several(self, tmp_path: Path) -> None:
        decoded = shown(tmp_path, RAMP, WindowCenter=[128, 10], WindowWidth=[100, 20])
        same(decoded, linear(RAMP, 128, 100))

    def test_a_table_goes_before_a_window(self, tmp_path: Path) -> None:
        curve = np.rint(np.linspace(0, 1, 256) ** 2 * 1023)
        lut = table(curve.astype(int).tolist(), 256, 0, 10)
        decoded = shown(tmp_path, RAMP, VOILUTSequence=lut, WindowCenter=10, WindowWidth=20)
        same(decoded, whole(curve[RAMP], 10))

    def test_a_modality_table(self, tmp_path: Path) -> None:
        curve = np.rint(np.linspace(1, 0, 256) * 65535)
        lut = table(curve.astype(int).tolist(), 256, 0, 16)
        same(shown(tmp_path, RAMP, ModalityLUTSequence=lut), whole(curve[RAMP], 16))


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


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 2000}, "its PixelData is shorter than Rows, Columns and BitsAllocated say"),
        ({"Rows": 30_000, "Columns": 30_000}, "are more than the limit of 178956970 pixels"),
        ({"PixelData": None}, "a DICOM file without pixels"),
    ],
)
def test_pixels_that_are_not_what_the_header_says(
    tmp_path: Path, elements: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnreadableImageError, match=said):
        decode(dicom(tmp_path / "x.dcm", RAMP, **elements), 8)


def test_content_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="it changed"):
        decode(dicom(tmp_path / "x.dcm", RAMP), 8, sha256="0" * 64)
