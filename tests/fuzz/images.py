"""Small whole images of every kind that featx reads, to be damaged."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEG2000Lossless, RLELossless

from tests.dicoms import dicom

_RANDOM = np.random.default_rng(0)
_PIXELS = _RANDOM.integers(0, 256, (48, 64, 3), dtype=np.uint8)
_WIDE = _RANDOM.integers(0, 4096, (48, 64), dtype=np.uint16)


def grey(count: int) -> NDArray[np.uint8]:
    return np.stack([_PIXELS[..., 0]] * count)


def colour(count: int) -> NDArray[np.uint8]:
    return np.stack([_PIXELS] * count)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    image.save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def _dicom(pixels: NDArray[Any], syntax: str | None = None, **elements: Any) -> bytes:
    from pydicom import dcmread

    with tempfile.TemporaryDirectory() as folder:
        path = dicom(Path(folder) / "x.dcm", pixels, **elements)
        if syntax is not None:
            dataset = dcmread(path)
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(path)
        return path.read_bytes()


_RGB = Image.fromarray(_PIXELS)
_WINDOW: dict[str, Any] = {
    "WindowCenter": 2000,
    "WindowWidth": 3000,
    "RescaleSlope": 2,
    "RescaleIntercept": -9,
}

JPEG = [
    _saved(_RGB.convert("L"), "JPEG"),
    _saved(_RGB, "JPEG", exif=_turned(), progressive=True),
    _saved(_RGB.convert("CMYK"), "JPEG"),
]
PNG = [
    _saved(_RGB.convert("L"), "PNG"),
    _saved(_RGB.convert("RGBA"), "PNG"),
    _saved(_RGB.convert("P"), "PNG", transparency=0),
    _saved(Image.fromarray(_WIDE), "PNG"),
]
TIFF = [
    _saved(_RGB.convert("L"), "TIFF"),
    _saved(_RGB, "TIFF", compression="tiff_lzw"),
    _saved(_RGB.convert("CMYK"), "TIFF", compression="tiff_deflate"),
    _saved(Image.fromarray(_WIDE), "TIFF", tiffinfo={340: 0.0, 341: 4095.0}),
    _saved(_RGB.convert("P"), "TIFF", compression="packbits"),
]
BMP = [_saved(_RGB.convert("L"), "BMP"), _saved(_RGB, "BMP")]
WEBP = [_saved(_RGB, "WEBP"), _saved(_RGB.convert("RGBA"), "WEBP", lossless=True)]


def all_dicom() -> list[bytes]:
    return [
        _dicom(_WIDE, BitsStored=12, HighBit=11, **_WINDOW),
        _dicom(_PIXELS),
        _dicom(_PIXELS[..., 0], RLELossless),
        _dicom(_PIXELS[..., 0], JPEG2000Lossless),
        _dicom(_PIXELS[..., 0], PhotometricInterpretation="MONOCHROME1"),
    ]


def with_crcs(png: bytes) -> bytes:
    """Make the checksums of a PNG's chunks right, as long as there are chunks."""
    result, at = bytearray(png), 8
    while at + 12 <= len(result):
        (length,) = struct.unpack_from(">I", result, at)
        end = at + 8 + length
        if end + 4 > len(result):
            break
        struct.pack_into(">I", result, end, zlib.crc32(result[at + 4 : end]))
        at = end + 4
    return bytes(result)


def npy(array: NDArray[Any]) -> bytes:
    np.save(buffer := io.BytesIO(), array, allow_pickle=False)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
