"""DICOM headers of many kinds at once, against arithmetic that knows nothing of featx's code."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from featx.images import UnreadableImageError, decode
from tests.dicoms import Raw, dicom, text
from tests.featx.images.test_dicom_headers import table
from tests.fuzz.conftest import FORMS

SIDE = 16
EMPTY = Raw("US", b"")
WORD = "many"
TABLES = ("none", "flat", "short", "packed", "right", "wide")

KINDS = {
    "8 bits": (8, 8, 0),
    "12 bits": (16, 12, 0),
    "12 bits, signed": (16, 12, 1),
    "16 bits": (16, 16, 0),
    "16 bits, signed": (16, 16, 1),
}
"""Bits allocated, bits stored, pixel representation."""

windows = st.lists(
    st.tuples(
        st.sampled_from(["", WORD, "100", "2000.5", "-50", "0", "30000", "1e9", "nan"]),
        st.sampled_from(["", WORD, "0", "-1", "0.5", "1", "50.5", "300", "4000", "1e12"]),
    ),
    max_size=3,
)

headers = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(sorted(KINDS)),
        "absent": st.sets(
            st.sampled_from(
                ["BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel", "PlanarConfiguration"]
            )
        ),
        "as": st.sampled_from([None, EMPTY]),
        "photometric": st.sampled_from(["MONOCHROME1", "MONOCHROME2", None, ""]),
        "slope": st.sampled_from([None, "", WORD, "0", "1", "2.5", "-1"]),
        "intercept": st.sampled_from([None, "", WORD, "0", "-100", "1024.5"]),
        "windows": windows,
        "comma": st.booleans(),
        "function": st.sampled_from([None, "", "LINEAR", "LINEAR_EXACT", "SIGMOID", "ODD"]),
        "modality": st.sampled_from(["none", "none", "none", "right", "short"]),
        "voi": st.lists(st.sampled_from(TABLES), max_size=2),
        "syntax": st.sampled_from([uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, None]),
    }
)


def entries(kind: str, bits: int) -> tuple[list[int], int, int, Any]:
    """Return a table's entries, as many as it says, the bits that it says, and what is written."""
    curve = np.rint((np.arange(1000) / 999) ** 1.5 * (2**bits - 1)).astype(int)
    if kind == "packed":
        bytes_ = np.rint(np.arange(1000) / 999 * 255).astype(np.uint8)
        return bytes_.tolist(), 1000, 8, Raw("OW", bytes_.tobytes())
    if kind == "flat":
        return [9] * 1000, 1000, bits, [9] * 1000
    if kind == "short":
        return curve[:300].tolist(), 1000, bits, curve[:300].tolist()
    if kind == "wide":
        return curve.tolist(), 1000, 16, curve.tolist()
    return curve.tolist(), 1000, bits, curve.tolist()


def lut(kind: str) -> Dataset:
    if kind == "none":
        return Dataset()
    _, count, told, data = entries(kind, 12)
    (item,) = table(data, count, 0, told)
    return item


class Model:
    """Image in a viewer: each value that the bits can express, in grey levels."""

    def __init__(self, header: dict[str, Any], seed: int) -> None:
        self.header = header
        allocated, bits, sign = KINDS[header["kind"]]
        self.unknown = {"BitsStored", "HighBit"} <= header["absent"] and allocated == 16
        if self.unknown:
            bits = allocated
        low = -(2 ** (bits - 1)) if sign else 0
        self.stored = np.arange(low, low + 2**bits)
        self.places = np.random.default_rng(seed).integers(0, 2**bits, (SIDE, SIDE))

    def shown(self) -> NDArray[np.float64] | str:
        """Return the grey levels of all values, or the attribute that is named instead."""
        header = self.header
        if header["absent"] >= {"SamplesPerPixel", "BitsAllocated"} and not header["photometric"]:
            return "SamplesPerPixel"
        values, reach = self.modality()
        if isinstance(values, str):
            return values
        for kind in header["voi"]:
            if kind == "none":
                continue
            found, count, _, _ = entries(kind, 12)
            if len(found) < count // 2 and len(found) <= values.max():
                continue
            grey = self.looked_up(values, found) * (255 / (255 if kind == "packed" else 4095))
            if self.is_usable(grey):
                return grey
        for centre, width in header["windows"]:
            seen = self.windowed(values, centre, width)
            if seen is not None and self.is_usable(seen):
                return seen
        if self.unknown and header["modality"] == "none":
            return "BitsStored"
        low, high = reach
        return (values - low) * (255 / (high - low))

    def is_usable(self, grey: NDArray[np.float64]) -> bool:
        return bool(np.ptp(grey) >= 1 and np.ptp(grey[self.places]) >= 0.01)

    def modality(self) -> tuple[NDArray[np.float64] | str, tuple[float, float]]:
        header, values = self.header, self.stored.astype(float)
        if header["modality"] == "right":
            found, *_ = entries("right", 12)
            return self.looked_up(values, found), (0, 4095)
        if header["modality"] == "short":
            found, *_ = entries("short", 12)
            if len(found) > values.max():
                return self.looked_up(values, found), (0, 4095)
            return "ModalityLUTSequence", (0, 0)
        slope = float(header["slope"]) if header["slope"] not in (None, "", WORD) else 1
        intercept = float(header["intercept"]) if header["intercept"] not in (None, "", WORD) else 0
        values = values * (slope or 1) + intercept
        return values, (values.min(), values.max())

    @staticmethod
    def looked_up(values: NDArray[np.float64], found: list[int]) -> NDArray[np.float64]:
        places = np.minimum(np.maximum(np.floor(values), 0), len(found) - 1)
        looked_up: NDArray[np.float64] = np.array(found, float)[places.astype(int)]
        return looked_up

    def windowed(
        self, values: NDArray[np.float64], centre: str, width: str
    ) -> NDArray[np.float64] | None:
        if centre in ("", WORD, "nan") or width in ("", WORD):
            return None
        c, w, function = float(centre), float(width), self.header["function"]
        if function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 255 / (1 + np.exp(-4 * (values - c) / w)) if w > 0 else None
        if function == "LINEAR_EXACT":
            return np.clip((values - c) / w + 0.5, 0, 1) * 255 if w > 0 else None
        if w < 1:
            return None
        if w == 1:
            return np.where(values <= c - 0.5, 0.0, 255.0)
        return np.clip((values - (c - 0.5)) / (w - 1) + 0.5, 0, 1) * 255


def write(path: Path, header: dict[str, Any], model: Model) -> Path:
    allocated, bits, sign = KINDS[header["kind"]]
    pixels = model.stored[model.places].astype(f"{'i' if sign else 'u'}{allocated // 8}")
    elements: dict[str, Any] = {
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PhotometricInterpretation": header["photometric"],
        "VOILUTFunction": header["function"],
        "RescaleSlope": None if header["slope"] is None else text(header["slope"]),
        "RescaleIntercept": None if header["intercept"] is None else text(header["intercept"]),
    }
    if header["windows"]:
        comma = "," if header["comma"] else "\\"
        for name, values in zip(
            ("WindowCenter", "WindowWidth"), zip(*header["windows"], strict=True), strict=True
        ):
            elements[name] = text(comma.join(values))
    if header["modality"] != "none":
        elements["ModalityLUTSequence"] = Sequence([lut(header["modality"])])
    if header["voi"]:
        elements["VOILUTSequence"] = Sequence([lut(kind) for kind in header["voi"]])
    elements |= dict.fromkeys(header["absent"], header["as"])
    return dicom(path, pixels, syntax=header["syntax"], **elements)


@FORMS
def test_headers_are_shown_as_arithmetic_says(tmp_path: Path, how: settings) -> None:
    @how
    @given(headers, st.integers(0, 2**32 - 1))
    def check(header: dict[str, Any], seed: int) -> None:
        model = Model(header, seed)
        path = write(tmp_path / "x.dcm", header, model)
        expected = model.shown()
        if isinstance(expected, str):
            with pytest.raises(UnreadableImageError, match=f"no usable {expected}$"):
                decode(path, SIDE)
            return
        grey = expected[model.places]
        if header["photometric"] == "MONOCHROME1":
            grey = 255 - grey
        np.testing.assert_allclose(decode(path, SIDE)[..., 0], grey, atol=0.02)

    check()


KEYWORDS = [
    "BitsAllocated", "BitsStored", "BurnedInAnnotation", "Columns", "HighBit",
    "ModalityLUTSequence", "NumberOfFrames", "PatientID", "PhotometricInterpretation",
    "PixelData", "PixelRepresentation",
    "PlanarConfiguration", "PresentationLUTShape", "RedPaletteColorLookupTableData",
    "RedPaletteColorLookupTableDescriptor", "RescaleIntercept", "RescaleSlope", "Rows",
    "SOPClassUID", "SamplesPerPixel", "StudyInstanceUID", "VOILUTFunction", "VOILUTSequence",
    "WindowCenter", "WindowWidth",
]  # fmt: skip
VALUES = [
    b"", b"\0\0", b"\1\0", b"\7\0", b"\xff\xff", b"\0" * 4, b"SECRET", b"7\\SECRET", b"1.5 ",
    b"-1\\-1 ", b"9" * 400, b"\\" * 30, b",,,,", b"1e400 ", b"nan ", bytes(range(256)),
]  # fmt: skip
VRS = ["US", "SS", "FD", "UL", "DS", "IS", "LO", "UN", "OB", "OW", "CS", "UI", "LT"]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.torture)])
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_an_odd_value_ends_in_a_picture_or_in_the_name_of_an_attribute(
    tmp_path: Path, keyword: str, step: int
) -> None:
    random = np.random.default_rng(3)
    pixels = random.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
    colour = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    plain: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096}
    without = [
        around(dicom(tmp_path / "x.dcm", image, **(elements | {keyword: None})), keyword)
        for image, elements in (
            (pixels, {"BitsStored": 12, "HighBit": 11}),
            (pixels, plain),
            (colour, {}),
        )
    ]
    cases = itertools.product(without, VRS, VALUES)
    for (before, after), vr, value in itertools.islice(cases, 0, None, step):
        path = tmp_path / "x.dcm"
        path.write_bytes(before + element(keyword, vr, value) + after)
        shown, reason = outcome(path)
        if shown is not None:
            assert shown.shape in ((SIDE, SIDE, 1), (SIDE, SIDE, 3))
            assert np.isfinite(shown).all()
            assert 0 <= shown.min() <= shown.max() <= 255
            assert shown.std() > 1, (vr, value)
            continue
        assert any(name in reason for name in KEYWORDS) or "no image" in reason, (reason, vr, value)
        assert "SECRET" not in reason
        assert "Error" not in reason


def outcome(path: Path) -> tuple[NDArray[np.float32] | None, str]:
    try:
        return decode(path, SIDE), ""
    except UnreadableImageError as error:
        return None, error.reason


def element(keyword: str, vr: str, value: bytes) -> bytes:
    """Write an element, whatever its bytes mean."""
    tag = tag_for_keyword(keyword) or 0
    value += b" " * (len(value) % 2)
    long = vr in ("OB", "OW", "UN")
    length = struct.pack("<HL", 0, len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<2H", tag >> 16, tag & 0xFFFF) + vr.encode() + length + value


def around(path: Path, keyword: str) -> tuple[bytes, bytes]:
    """Return what of a file is before and behind an element that it doesn't have."""
    content, tag = path.read_bytes(), tag_for_keyword(keyword) or 0
    following = [other.tag for other in dcmread(path) if other.tag > tag]
    if not following:
        return content, b""
    at = content.index(struct.pack("<2H", following[0] >> 16, following[0] & 0xFFFF), 132)
    return content[:at], content[at:]
