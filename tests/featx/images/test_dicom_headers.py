"""DICOM headers in which something is missing, empty or odd: the picture is what viewers show.

What is expected is written out as arithmetic, because pydicom fails or wraps round on most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from featx.images import UnreadableImageError, decode
from tests.dicoms import Raw, dicom, put, text

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
TWELVE = RAMP * 16
"""Uses twelve bits."""
BITS12: dict[str, Any] = {"BitsStored": 12, "HighBit": 11}
COLOUR = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def shown(tmp_path: Path, pixels: NDArray[Any], **elements: Any) -> NDArray[np.float32]:
    """Write, and decode without resizing."""
    decoded = decode(dicom(tmp_path / "x.dcm", pixels, **elements), SIDE)
    assert decoded.dtype == np.float32
    assert 0.0 <= decoded.min() <= decoded.max() <= 255.0
    return decoded[..., 0] if decoded.shape[-1] == 1 else decoded


def refused(tmp_path: Path, pixels: NDArray[Any], **elements: Any) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        shown(tmp_path, pixels, **elements)
    return caught.value.reason


def linear(values: NDArray[Any], centre: float, width: float) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2.1."""
    return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def whole(values: NDArray[Any], bits: int) -> NDArray[np.float64]:
    return np.asarray(values * (255.0 / (2**bits - 1)))


def same(found: NDArray[Any], expected: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-3)


def table(data: Raw | list[int], count: int, first: int, bits: int) -> Sequence:
    item = Dataset()
    descriptor = np.array([count, first, bits], "<i4").astype("<u2").tobytes()
    put(item, "LUTDescriptor", Raw("US", descriptor))
    if not isinstance(data, Raw):
        data = Raw("US", np.array(data, "<u2").tobytes())
    put(item, "LUTData", data)
    return Sequence([item])


class TestRescale:
    @pytest.mark.parametrize(
        ("elements", "slope", "intercept"),
        [
            *(({"RescaleSlope": s, "RescaleIntercept": -100}, 1, -100)
              for s in (text(""), None, text("0"), text("none"))),
            *(({"RescaleSlope": 2, "RescaleIntercept": i}, 2, 0)
              for i in (text(""), None, text("none"))),
        ],
    )  # fmt: skip
    def test_that_is_empty_absent_zero_or_a_word_is_none(
        self, tmp_path: Path, elements: dict[str, Any], slope: int, intercept: int
    ) -> None:
        same(shown(tmp_path, RAMP, **elements), whole(RAMP, 16))
        found = shown(tmp_path, RAMP, WindowCenter=120, WindowWidth=181, **elements)
        same(found, linear(RAMP * float(slope) + intercept, 120, 181))

    def test_an_intercept_in_which_every_value_would_be_lost(self, tmp_path: Path) -> None:
        found = shown(tmp_path, RAMP, RescaleSlope=1, RescaleIntercept=text("1e300"))
        same(found, whole(RAMP, 16))


class TestWindows:
    @pytest.mark.parametrize(
        ("centres", "widths"),
        [
            (text("\\128"), text("\\100")),
            (text("9\\128"), text("\\100")),
            (text("9\\128"), text("0\\100")),
            (text("128,9"), text("100,20")),
            (text("128 "), text("100\0")),
            (text("level\\128"), text("width\\100")),
            (text("1e99\\128"), text("20\\100")),
            (text("128\\9\\7"), text("100")),
            (Raw("LO", b"128 "), Raw("LO", b"100 ")),
            (Raw("UN", b"128 "), Raw("UN", b"100 ")),
            (text("128"), text("+1.0E2")),
        ],
    )
    def test_the_first_that_is_usable(self, tmp_path: Path, centres: Raw, widths: Raw) -> None:
        found = shown(tmp_path, RAMP, WindowCenter=centres, WindowWidth=widths)
        same(found, linear(RAMP, 128, 100))

    @pytest.mark.parametrize(
        "window",
        [
            *({"WindowWidth": text(width)} for width in ("0", "-50", "0.5", "", "wide", "1e300")),
            *({"WindowCenter": text(centre)} for centre in ("", "nan", "900000", "-900")),
            {"WindowWidth": None},
            {"WindowCenter": None},
            {"WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            {"WindowWidth": -1, "VOILUTFunction": "LINEAR_EXACT"},
        ],
        ids=str,
    )
    def test_without_one_the_range_of_the_bits(
        self, tmp_path: Path, window: dict[str, Any]
    ) -> None:
        found = shown(
            tmp_path, TWELVE, **BITS12, **({"WindowCenter": 9, "WindowWidth": 9} | window)
        )
        same(found, whole(TWELVE, 12))

    @pytest.mark.parametrize("function", ["", "LINEAR", "linear", "UNKNOWN"])
    def test_function_that_is_empty_or_unknown_is_linear(
        self, tmp_path: Path, function: str
    ) -> None:
        found = shown(tmp_path, RAMP, WindowCenter=128, WindowWidth=99, VOILUTFunction=function)
        same(found, linear(RAMP, 128, 99))

    def test_exact_may_be_narrower_than_one(self, tmp_path: Path) -> None:
        window = {"WindowCenter": 128, "WindowWidth": text("0.5")}
        found = shown(tmp_path, RAMP, VOILUTFunction="LINEAR EXACT", **window)
        same(found, np.clip((RAMP - 128.0) / 0.5 + 0.5, 0, 1) * 255)


class TestLookupTables:
    curve = np.rint(np.linspace(0, 1, 256) ** 2 * 1023).astype(int).tolist()
    window: ClassVar = {"WindowCenter": 128, "WindowWidth": 100}

    @pytest.mark.parametrize(
        "item",
        [
            Dataset(),
            *table([], 256, 0, 10),
            *table([1], 256, 0, 10),
            *table(curve[:100], 256, 0, 10),
            *table([7] * 256, 256, 0, 10),
        ],
        ids=["empty", "no data", "one entry", "cut off", "one grey"],
    )
    def test_one_that_is_not_usable_goes_behind_the_window(
        self, tmp_path: Path, item: Dataset
    ) -> None:
        signed = (RAMP - 60).astype(np.int16)
        found = shown(tmp_path, signed, VOILUTSequence=Sequence([item]), **self.window)
        same(found, linear(signed.astype(float), 128, 100))
        second = Sequence([item, *table(self.curve, 256, -60 & 0xFFFF, 10)])
        same(shown(tmp_path, signed, VOILUTSequence=second), whole(np.array(self.curve)[RAMP], 10))

    def test_one_for_values_that_the_bits_cannot_express(self, tmp_path: Path) -> None:
        lut = table(self.curve, 256, 40_000, 10)
        found = shown(tmp_path, RAMP, **BITS12, VOILUTSequence=lut, **self.window)
        same(found, linear(RAMP, 128, 100))

    def test_of_8_bits_with_more_than_256_entries(self, tmp_path: Path) -> None:
        entries = np.rint(np.linspace(0, 255, 4096)).astype(int)
        found = shown(
            tmp_path, TWELVE, **BITS12, VOILUTSequence=table(entries.tolist(), 4096, 0, 8)
        )
        same(found, entries[TWELVE].astype(float))

    def test_of_8_bits_two_in_a_word(self, tmp_path: Path) -> None:
        entries = np.rint(np.linspace(0, 255, 4096)).astype(np.uint8)
        for vr in ("OW", "US"):
            lut = table(Raw(vr, entries.tobytes()), 4096, 0, 8)
            found = shown(tmp_path, TWELVE, **BITS12, VOILUTSequence=lut)
            same(found, entries[TWELVE].astype(float))

    @pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
    @pytest.mark.parametrize("told", [8, 12, 16, 0, 99])
    def test_of_12_bits_whatever_it_says(self, tmp_path: Path, keyword: str, told: int) -> None:
        entries = np.rint(np.linspace(0, 1, 4096) ** 2 * 4095).astype(int)
        lut = table(entries.tolist(), 4096, 0, told)
        found = shown(tmp_path, TWELVE, **BITS12, **{keyword: lut})
        same(found, whole(entries[TWELVE], 12))

    def test_shorter_than_it_says(self, tmp_path: Path) -> None:
        entries = np.arange(4000)
        found = shown(
            tmp_path, TWELVE, **BITS12, VOILUTSequence=table(entries.tolist(), 4096, 0, 12)
        )
        same(found, whole(np.minimum(TWELVE, 3999), 12))
        # 0 stands for 65,536 entries; these are as many as there are values.
        full = table(np.arange(4096).tolist(), 0, 0, 12)
        same(shown(tmp_path, TWELVE, **BITS12, VOILUTSequence=full), whole(TWELVE, 12))

    def test_after_a_rescale_that_leaves_the_bits(self, tmp_path: Path) -> None:
        """pydicom wraps values round that lie beyond the table."""
        lut, rescale = table(self.curve, 256, 100, 10), {"RescaleSlope": 1000}
        found = shown(tmp_path, RAMP, VOILUTSequence=lut, RescaleIntercept=0, **rescale)
        places = np.clip(RAMP.astype(int) * 1000 - 100, 0, 255)
        same(found, whole(np.array(self.curve)[places], 10))

    @pytest.mark.parametrize("item", [*table([1], 256, 0, 10), *table([7] * 256, 256, 0, 10)])
    def test_a_modality_table_that_is_not_usable_leaves_no_meaning(
        self, tmp_path: Path, item: Dataset
    ) -> None:
        reason = refused(tmp_path, RAMP, ModalityLUTSequence=Sequence([item]), **self.window)
        assert reason == "its DICOM header has no usable ModalityLUTSequence"

    def test_an_empty_modality_table_is_none(self, tmp_path: Path) -> None:
        found = shown(tmp_path, RAMP, ModalityLUTSequence=Sequence([Dataset()]), **self.window)
        same(found, linear(RAMP, 128, 100))

    def test_palette_of_8_bits_with_more_than_256_entries(self, tmp_path: Path) -> None:
        entries = np.rint(np.linspace(0, 255, 1024)).astype(np.uint8)
        tables = {}
        for channel, data in (("Red", entries), ("Green", entries[::-1]), ("Blue", entries * 0)):
            name = f"{channel}PaletteColorLookupTable"
            tables[f"{name}Descriptor"] = Raw("US", np.array([1024, 0, 8], "<u2").tobytes())
            tables[f"{name}Data"] = Raw("OW", data.tobytes())
        found = shown(tmp_path, RAMP * 4, PhotometricInterpretation="PALETTE COLOR", **tables)
        lit = entries[RAMP * 4].astype(float)
        same(found, np.stack([lit, entries[::-1][RAMP * 4], lit * 0], axis=-1))


class TestBits:
    @pytest.mark.parametrize("sign", [0, 1])
    def test_high_bit_tells_where_the_stored_bits_are(self, tmp_path: Path, sign: int) -> None:
        values = TWELVE.astype(np.int16) - 2048 * sign
        left = (values.astype(np.int32) << 4).astype(np.int16 if sign else np.uint16)
        left |= RAMP.astype(left.dtype) & 15  # of the bits below nothing is shown
        found = shown(tmp_path, left, BitsStored=12, HighBit=15)
        same(found, whole(values + 2048.0 * sign, 12))

    def test_high_bit_that_the_pixels_contradict(self, tmp_path: Path) -> None:
        reason = refused(tmp_path, RAMP, BitsStored=12, HighBit=15)
        assert reason == "HighBit and PixelData of its DICOM header contradict each other"

    @pytest.mark.parametrize("high", [None, Raw("US", b""), 0])
    def test_without_high_bit(self, tmp_path: Path, high: Any) -> None:
        same(shown(tmp_path, TWELVE, BitsStored=12, HighBit=high), whole(TWELVE, 12))

    @pytest.mark.parametrize("high", [3, 16, 99])
    def test_high_bit_that_cannot_be(self, tmp_path: Path, high: int) -> None:
        reason = refused(tmp_path, TWELVE, BitsStored=12, HighBit=high)
        assert reason == "BitsStored and HighBit of its DICOM header contradict each other"

    def test_without_bits_stored_high_bit_tells(self, tmp_path: Path) -> None:
        same(shown(tmp_path, TWELVE, BitsStored=None, HighBit=11), whole(TWELVE, 12))

    def test_without_both_a_window_tells(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path, TWELVE, BitsStored=None, HighBit=None, WindowCenter=2048, WindowWidth=4096
        )
        same(found, linear(TWELVE, 2048, 4096))
        reason = refused(tmp_path, TWELVE, BitsStored=None, HighBit=None)
        assert reason == "its DICOM header has no usable BitsStored"

    @pytest.mark.parametrize("pixels", [RAMP.astype(np.uint8), TWELVE], ids=["8", "16"])
    def test_without_bits_allocated_the_length_tells(
        self, tmp_path: Path, pixels: NDArray[Any]
    ) -> None:
        bits = 8 * pixels.dtype.itemsize
        same(shown(tmp_path, pixels, BitsAllocated=None), whole(pixels, bits))

    @pytest.mark.parametrize(
        ("elements", "named"),
        [
            ({"BitsAllocated": 12}, "BitsAllocated"),
            ({"BitsStored": 20}, "BitsStored and BitsAllocated"),
            ({"PixelRepresentation": 7}, "PixelRepresentation"),
            ({"SamplesPerPixel": 2}, "SamplesPerPixel"),
            ({"SamplesPerPixel": 3}, "SamplesPerPixel and PhotometricInterpretation"),
            ({"PhotometricInterpretation": "DOE JANE"}, "PhotometricInterpretation"),
            ({"PhotometricInterpretation": "RGB"}, "SamplesPerPixel and PhotometricInter"),
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "RedPaletteColorLookupTable"),
            ({"PixelData": RAMP.tobytes()[:-2]}, "PixelData is shorter"),
            ({"PixelData": RAMP.tobytes() * 2}, "PixelData is longer"),
            ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "PixelData is longer"),
            ({"Rows": None}, "Rows"),
            ({"Columns": Raw("US", b"")}, "Columns"),
            ({"Rows": Raw("LO", b"many")}, "Rows"),
        ],
        ids=str,
    )
    def test_what_leaves_no_meaning_is_named(
        self, tmp_path: Path, elements: dict[str, Any], named: str
    ) -> None:
        reason = refused(tmp_path, RAMP, **elements)
        assert named in reason
        assert "DOE" not in reason
        assert "Error" not in reason


class TestKindOfPixels:
    @pytest.mark.parametrize("absent", [None, Raw("CS", b"")])
    def test_without_photometric_interpretation(self, tmp_path: Path, absent: Any) -> None:
        plain = {"PhotometricInterpretation": absent}
        same(shown(tmp_path, RAMP, **plain), whole(RAMP, 16))
        negative = shown(tmp_path, RAMP, PresentationLUTShape="INVERSE", **plain)
        same(negative, 255 - whole(RAMP, 16))
        same(shown(tmp_path, COLOUR, **plain), COLOUR)

    @pytest.mark.parametrize(
        "absent",
        ["SamplesPerPixel", "PixelRepresentation", "PlanarConfiguration", "HighBit", "BitsStored"],
    )
    @pytest.mark.parametrize("pixels", [RAMP.astype(np.uint8), COLOUR], ids=["grey", "colour"])
    def test_without_another(self, tmp_path: Path, pixels: NDArray[Any], absent: str) -> None:
        same(shown(tmp_path, pixels, **{absent: None}), pixels)

    def test_without_all_of_them(self, tmp_path: Path) -> None:
        names = "SamplesPerPixel PhotometricInterpretation PixelRepresentation BitsStored HighBit"
        absent = dict.fromkeys(names.split())
        same(shown(tmp_path, RAMP.astype(np.uint8), **absent), RAMP)

    def test_in_small_letters(self, tmp_path: Path) -> None:
        found = shown(tmp_path, RAMP, PhotometricInterpretation=Raw("CS", b"monochrome1 "))
        same(found, 255 - whole(RAMP, 16))

    @pytest.mark.parametrize("frames", [text(""), text("0"), text("x")])
    def test_number_of_frames_that_says_nothing(self, tmp_path: Path, frames: Raw) -> None:
        found = shown(tmp_path, RAMP, NumberOfFrames=Raw("IS", frames.value))
        same(found, whole(RAMP, 16))


class TestTransferSyntax:
    def test_that_is_missing_is_the_one_that_the_file_is_in(self, tmp_path: Path) -> None:
        same(shown(tmp_path, TWELVE, syntax=None, **BITS12), whole(TWELVE, 12))

    @pytest.mark.parametrize("implicit", [True, False])
    def test_without_any_meta_information(self, tmp_path: Path, implicit: bool) -> None:
        from pydicom import dcmread

        dataset = dcmread(dicom(tmp_path / "whole.dcm", TWELVE, **BITS12))
        bare = Dataset()
        bare.update(dataset)
        bare.save_as(tmp_path / "x.dcm", implicit_vr=implicit, little_endian=True)
        same(decode(tmp_path / "x.dcm", SIDE)[..., 0], whole(TWELVE, 12))

    def test_deflated(self, tmp_path: Path) -> None:
        found = shown(tmp_path, TWELVE, syntax=uid.DeflatedExplicitVRLittleEndian, **BITS12)
        same(found, whole(TWELVE, 12))

    def test_that_is_none_is_named(self, tmp_path: Path) -> None:
        reason = refused(tmp_path, RAMP, syntax=uid.UID("1.2.3.4.5"))
        assert reason == "its DICOM header has no usable TransferSyntaxUID"

    def test_that_pydicom_does_not_decode_is_named(self, tmp_path: Path) -> None:
        reason = refused(tmp_path, RAMP, syntax=uid.MPEG2MPML, frame=b"\0" * 100)
        assert reason.startswith("its compression (MPEG2 Main Profile")

    def test_of_compression_without_compressed_pixels(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", RAMP, syntax=uid.JPEG2000, frame=b"\0" * 100)
        content = path.read_bytes()
        assert b"\xfe\xff\x00\xe0" in content
        path.write_bytes(content.replace(b"\xfe\xff\x00\xe0", b"\xfe\xfe\x00\xe0"))
        with pytest.raises(UnreadableImageError, match=r"PixelData|not a readable DICOM file"):
            decode(path, SIDE)
