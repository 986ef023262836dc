"""Compressed DICOM: decoders that are missing, and codestreams that know better than the header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from tests.featx.images.test_dicom_headers import BITS12, RAMP, refused, same, shown

LARGE = (np.arange(64 * 64, dtype=np.uint16)).reshape(64, 64)
"""Twelve bits, large enough for JPEG 2000."""


class TestDecoders:
    """Lossless JPEG and JPEG of 12 bits take a decoder that isn't in the plain installation."""

    @pytest.mark.parametrize(
        ("syntax", "marker", "bits"),
        [
            (uid.JPEGExtended12Bit, 0xC1, 12),
            (uid.JPEGLosslessSV1, 0xC3, 12),
            (uid.JPEGLSLossless, 0xF7, 12),
        ],
    )
    def test_that_is_missing_is_told(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        syntax: uid.UID,
        marker: int,
        bits: int,
    ) -> None:
        decoder = get_decoder(syntax)
        extras = ("pylibjpeg", "pyjpegls")  # highdicom brings the second
        kept = {n: plugin for n, plugin in decoder._available.items() if n not in extras}
        header = b"\xff\xc0".replace(b"\xc0", bytes([marker])) + b"\0\x0b" + bytes([bits])
        stream = b"\xff\xd8" + header + b"\0\x10\0\x10\x01\x01\x11\0\xff\xda\0\x02"
        damaged = refused(tmp_path, RAMP, syntax=syntax, frame=stream, **BITS12)
        assert damaged == f"its PixelData ({syntax.name}) can't be decoded"
        monkeypatch.setattr(decoder, "_available", kept)
        missing = refused(tmp_path, RAMP, syntax=syntax, frame=stream, **BITS12)
        expected = f"its compression ({syntax.name}) needs a decoder: pip install 'featx[dicom]'"
        assert missing == expected


class TestPrecision:
    """The codestream knows how many bits it has."""

    def test_of_fewer_bits_than_the_header_says(self, tmp_path: Path) -> None:
        stream = bytes(encode_array(LARGE, bits_stored=12))
        for elements in ({}, {"BitsStored": None, "HighBit": None, "BitsAllocated": None}):
            found = shown(tmp_path, LARGE, syntax=uid.JPEG2000Lossless, frame=stream, **elements)
            same(found, shown(tmp_path, LARGE, **BITS12))

    def test_of_more_bits_than_the_header_says(self, tmp_path: Path) -> None:
        stream = bytes(encode_array(LARGE, bits_stored=16))
        found = shown(tmp_path, LARGE, syntax=uid.JPEG2000Lossless, frame=stream, **BITS12)
        same(found, shown(tmp_path, LARGE, **BITS12))
        reason = refused(
            tmp_path, LARGE, syntax=uid.JPEG2000Lossless, frame=stream, BitsStored=8, HighBit=7
        )
        assert reason == "BitsStored and PixelData of its DICOM header contradict each other"

    def test_of_high_bit(self, tmp_path: Path) -> None:
        stream = bytes(encode_array(LARGE * 16, bits_stored=16))
        high = {"BitsStored": 12, "HighBit": 15}
        found = shown(tmp_path, LARGE, syntax=uid.JPEG2000Lossless, frame=stream, **high)
        same(found, shown(tmp_path, LARGE, **BITS12))

    def test_of_signed_values(self, tmp_path: Path) -> None:
        values = (LARGE.astype(np.int16) - 2048).astype(np.int16)
        stream = bytes(encode_array(values, bits_stored=12))
        for sign in (1, None):
            elements = {"PixelRepresentation": sign, **BITS12}
            found = shown(tmp_path, values, syntax=uid.JPEG2000Lossless, frame=stream, **elements)
            same(found, shown(tmp_path, LARGE, **BITS12))

    def test_without_transfer_syntax_the_codestream_tells_it(self, tmp_path: Path) -> None:
        stream = bytes(encode_array(LARGE, bits_stored=12))
        found = shown(tmp_path, LARGE, syntax=None, frame=stream, **BITS12)
        same(found, shown(tmp_path, LARGE, **BITS12))
        reason = refused(tmp_path, LARGE, syntax=None, frame=b"\0" * 100, **BITS12)
        assert reason == "its DICOM header has no usable TransferSyntaxUID"
