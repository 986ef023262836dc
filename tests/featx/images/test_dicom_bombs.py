"""DICOM files that ask for more than they hold are refused before they are decoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from featx.images import UnreadableImageError, decode
from featx.images._codestreams import CodestreamError, read_codestream
from tests.dicoms import dicom
from tests.fuzz.conftest import at_most

SIDE = 64
PIXELS = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
BITS = {"BitsStored": 12, "HighBit": 11}
HUGE = 40_000
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"

pytestmark = pytest.mark.timeout(60)


def refused(path: Path, *, megabytes: int = 64) -> str:
    with at_most(megabytes * 2**20), pytest.raises(UnreadableImageError) as caught:
        decode(path, 8)
    return caught.value.reason


def wide_jpeg2000() -> bytes:
    from openjpeg.utils import encode_array

    return bytes(encode_array(PIXELS, bits_stored=12))


def resized(stream: bytes, side: int, tile: int | None = None) -> bytes:
    """Say another size in a JPEG 2000 codestream."""
    changed = bytearray(stream)
    struct.pack_into(">2L", changed, 8, side, side)
    struct.pack_into(">2L", changed, 24, *[tile or side] * 2)
    return bytes(changed)


def coded(stream: bytes, *, precincts: int = 0, blocks: int | None = None) -> bytes:
    """Say other sizes of precincts and code blocks."""
    segment = bytearray(coding(stream))
    if precincts:
        segment[4] |= 1
        segment += bytes([precincts] * (segment[9] + 1))
        struct.pack_into(">H", segment, 2, len(segment) - 2)
    if blocks is not None:
        segment[10:12] = bytes([blocks, blocks])
    return stream.replace(coding(stream), bytes(segment))


def coding(stream: bytes) -> bytes:
    at = stream.index(b"\xff\x52")
    (length,) = struct.unpack_from(">H", stream, at + 2)
    return stream[at : at + 2 + length]


def in_tile(stream: bytes, **changes: Any) -> bytes:
    """Say them in the header of the first tile, where they go before those of the image."""
    at = stream.index(b"\xff\x90") + 12
    segment = coding(coded(stream, **changes))
    changed = bytearray(stream[:at] + segment + stream[at:])
    (part,) = struct.unpack_from(">L", changed, at - 6)
    struct.pack_into(">L", changed, at - 6, part + len(segment))
    return bytes(changed)


def jpeg(side: int, marker: int = 0xC0) -> bytes:
    """Make a JPEG of 64x64 pixels that says another size."""
    Image.fromarray(PIXELS.astype(np.uint8)).save(buffer := io.BytesIO(), "JPEG")
    changed = bytearray(buffer.getvalue())
    at = changed.index(b"\xff\xc0")
    changed[at + 1] = marker
    struct.pack_into(">2H", changed, at + 5, side, side)
    return bytes(changed)


class TestSize:
    @pytest.mark.parametrize(
        ("syntax", "stream"),
        [
            (uid.JPEG2000Lossless, lambda: resized(wide_jpeg2000(), HUGE)),
            (uid.HTJ2K, lambda: resized(wide_jpeg2000(), HUGE)),
            (uid.JPEG2000, lambda: resized(wide_jpeg2000(), SIDE + 1)),
            (uid.JPEGBaseline8Bit, lambda: jpeg(HUGE)),
            (uid.JPEGExtended12Bit, lambda: jpeg(HUGE, 0xC1)),
            (uid.JPEGLosslessSV1, lambda: jpeg(HUGE, 0xC3)),
            (uid.JPEGLSLossless, lambda: jpeg(HUGE, 0xF7)),
            (uid.JPEGLSNearLossless, lambda: jpeg(0, 0xF7)),
        ],
    )
    def test_of_the_codestream_is_not_that_of_the_header(
        self, tmp_path: Path, syntax: uid.UID, stream: Callable[[], bytes]
    ) -> None:
        path = dicom(tmp_path / "x.dcm", PIXELS, syntax=syntax, frame=stream(), **BITS)
        assert path.stat().st_size < 20_000
        reason = "Rows, Columns and PixelData of its DICOM header contradict each other"
        assert refused(path) == reason

    @pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGBaseline8Bit])
    def test_that_the_bytes_are_too_few_for(self, tmp_path: Path, syntax: uid.UID) -> None:
        side = 12_000
        stream = jpeg(side) if syntax == uid.JPEGBaseline8Bit else resized(wide_jpeg2000(), side)
        path = dicom(
            tmp_path / "x.dcm", PIXELS, syntax=syntax, frame=stream, Rows=side, Columns=side
        )
        assert refused(path).endswith("is too short for Rows x Columns")

    def test_of_a_file_around_the_codestream_does_not_count(self, tmp_path: Path) -> None:
        """A JP2 file says the size twice."""
        stream = resized(wide_jpeg2000(), HUGE)
        box = struct.pack(">L4s", 22, b"ihdr") + struct.pack(">2LHBBBB", SIDE, SIDE, 1, 11, 7, 0, 0)
        boxes = struct.pack(">L4s", 30, b"jp2h") + box + struct.pack(">L4s", 0, b"jp2c")
        path = dicom(
            tmp_path / "x.dcm", PIXELS, syntax=uid.JPEG2000, frame=_JP2 + boxes + stream, **BITS
        )
        assert "Rows, Columns and PixelData" in refused(path)

    def test_another_codestream_than_the_transfer_syntax_says(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", PIXELS, syntax=uid.JPEG2000, frame=jpeg(HUGE))
        assert "TransferSyntaxUID and PixelData" in refused(path)


class TestCodestreams:
    def test_headers(self) -> None:
        found = read_codestream(wide_jpeg2000())
        assert (found.kind, found.rows, found.columns) == ("JPEG 2000", SIDE, SIDE)
        assert (found.samples, found.precision, found.signed) == (1, 12, False)
        found = read_codestream(jpeg(300))
        assert (found.kind, found.rows, found.columns) == ("JPEG", 300, 300)
        assert (found.samples, found.precision, found.marker) == (1, 8, 0xC0)
        assert read_codestream(jpeg(300, 0xF7)).kind == "JPEG-LS"

    @pytest.mark.parametrize(
        "change",
        [
            lambda stream: resized(stream, 255, tile=1),
            lambda stream: resized(stream, 2000, tile=30),
            lambda stream: coded(resized(stream, 2000), precincts=0x33),
            lambda stream: coded(resized(stream, 2000), precincts=0x11),
            lambda stream: in_tile(resized(stream, 2000), precincts=0x11),
            lambda stream: in_tile(resized(stream, 2000), blocks=0),
            lambda stream: coded(stream, blocks=0),
            lambda stream: resized(stream, 0),
            lambda stream: stream[:60],
            lambda stream: stream[:20],
            lambda stream: _JP2 + struct.pack(">L4s", 0, b"free") + stream,
            lambda stream: stream[:0],
            lambda stream: b"GIF89a" + stream,
        ],
    )
    def test_that_take_more_memory_than_pixels_do_are_damaged(
        self, change: Callable[[bytes], bytes]
    ) -> None:
        with at_most(2**26), pytest.raises(CodestreamError):
            read_codestream(change(wide_jpeg2000()))

    @pytest.mark.parametrize(
        "change",
        [
            lambda stream: stream,
            lambda stream: resized(stream, 2000, tile=256),
            lambda stream: coded(resized(stream, 2000), precincts=0x77),
            lambda stream: in_tile(resized(stream, 2000), precincts=0x66, blocks=3),
            lambda stream: _JP2 + struct.pack(">L4s", 0, b"jp2c") + stream,
        ],
    )
    def test_that_encoders_write_are_read(self, change: Callable[[bytes], bytes]) -> None:
        assert read_codestream(change(wide_jpeg2000())).precision == 12

    @pytest.mark.parametrize(
        "stream",
        [
            jpeg(60)[:40],
            b"\xff\xd8\xff\xda\0\x02",
            b"\xff\xd8\xff\xe0\0\0",
            b"\xff\xd8\0\0",
            b"\xff\xd8\xff\xd8" + jpeg(60)[2:],
            jpeg(60)[:2] + b"\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\1\x11\0" + jpeg(60)[2:],
            jpeg(60)[:2] + b"\xff\xeb\0\x0aJP\0\0\0\0\0\0" + jpeg(60)[2:],
        ],
        ids=["cut", "no size", "no length", "no marker", "two starts", "two sizes", "two images"],
    )
    def test_jpeg_that_is_damaged(self, stream: bytes) -> None:
        with pytest.raises(CodestreamError):
            read_codestream(stream)


class TestRuns:
    def test_longer_than_the_image(self, tmp_path: Path) -> None:
        """Two bytes of RLE are up to 128 pixels. These would be 1.3 GB."""
        run = b"\x81\x05" * 10_000_000
        frame = struct.pack("<16L", 1, 64, *[0] * 14) + run
        pixels = np.zeros((SIDE, SIDE), np.uint8)
        path = dicom(tmp_path / "x.dcm", pixels, syntax=uid.RLELossless, frame=frame)
        with at_most(2**28):
            np.testing.assert_allclose(decode(path, 8), 5, atol=1e-3)

    @pytest.mark.parametrize("segments", [0, 2, 3, 15, 2**31])
    def test_of_another_number_of_bytes(self, tmp_path: Path, segments: int) -> None:
        frame = struct.pack("<16L", segments, *[64] * 15) + b"\x81\x05" * 40
        pixels = np.zeros((SIDE, SIDE), np.uint8)
        path = dicom(tmp_path / "x.dcm", pixels, syntax=uid.RLELossless, frame=frame)
        assert "BitsAllocated and PixelData" in refused(path)


def deflated(folder: Path, zeros: int, pixels: NDArray[Any] = PIXELS) -> Path:
    """Write a deflated file with so many MiB of zeros behind its data set."""
    path = dicom(folder / "whole.dcm", pixels, syntax=uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    (group_length,) = struct.unpack_from("<L", content, 140)
    at = 144 + group_length
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = [packer.compress(zlib.decompress(content[at:], -zlib.MAX_WBITS))]
    packed += [packer.compress(bytes(2**20)) for _ in range(zeros)]
    path.write_bytes(b"".join([content[:at], *packed, packer.flush()]))
    return path


class TestDeflated:
    def test_more_than_an_image_takes(self, tmp_path: Path) -> None:
        path = deflated(tmp_path, 300)
        assert path.stat().st_size < 400_000
        assert refused(path, megabytes=600) == "a deflated DICOM file of more than 256 MiB"

    def test_what_is_cut_off(self, tmp_path: Path) -> None:
        path = deflated(tmp_path, 0)
        path.write_bytes(path.read_bytes()[:-30])
        assert refused(path) == "not a readable DICOM file"

    def test_that_says_so_in_another_form(self, tmp_path: Path) -> None:
        """pydicom reads the meta information once more, by implicit VR, where it must."""
        path = deflated(tmp_path, 300)
        content = path.read_bytes()
        (group_length,) = struct.unpack_from("<L", content, 140)
        name = uid.DeflatedExplicitVRLittleEndian.encode()
        implicit = struct.pack("<2HL", 2, 0x10, len(name)) + name
        path.write_bytes(content[:132] + implicit + content[144 + group_length :])
        reason = refused(path, megabytes=600)
        assert reason in ("not a readable DICOM file", "a deflated DICOM file of more than 256 MiB")
