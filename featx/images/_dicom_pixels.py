"""From the PixelData of a DICOM file to the values that are stored in it.

pydicom decodes. What it takes from the header is made sure of here first: an attribute that is
missing is filled in where the others leave one meaning, and is named where they don't.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featx.data._dicom import NoImageError, raw_value, texts, whole_number
from featx.data._npz import LARGEST_IMAGE
from featx.images._codestreams import (
    MAX_PIXELS_PER_BYTE,
    SMALL_IMAGE,
    Codestream,
    CodestreamError,
    read_codestream,
)

NEEDS_DECODER = "needs a decoder: pip install 'featx[dicom]'"
GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422")
_COLOURS_OF_JPEG_2000 = ("YBR_ICT", "YBR_RCT")
_RLE_HEADER = 64
_JPEG_SYNTAXES = {0xC0: "50", 0xC1: "51", 0xC3: "57", 0xF7: "80", 0: "90"}
"""Last part of the transfer syntax of a codestream, by its marker."""


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Stored values, and what they mean.

    Attributes
    ----------
    values
        Whole numbers of shape (rows, columns), or (rows, columns, 3) for RGB.
    photometric
        Photometric interpretation of the values: one of `GREY`, `PALETTE` or RGB.
    bits
        Number of stored bits.
    signed
        Whether the values may be negative.
    bits_known
        Whether something says how many of 16 or 32 bits are used.
    """

    values: NDArray[Any]
    photometric: str
    bits: int
    signed: bool
    bits_known: bool = True

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that the stored bits can express."""
        if self.signed:
            return -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1
        return 0.0, 2.0**self.bits - 1


def unusable(keyword: str) -> NoImageError:
    """Say which attribute is missing, or can't be used."""
    return NoImageError(f"its DICOM header has no usable {keyword}")


def _contradiction(*keywords: str) -> NoImageError:
    return NoImageError(f"{' and '.join(keywords)} of its DICOM header contradict each other")


def read_pixels(dataset: Any) -> StoredPixels:
    """Decode the pixels of a data set from `featx.data._dicom.read_header`."""
    if dataset.Rows * dataset.Columns > LARGEST_IMAGE:
        raise NoImageError(f"Rows x Columns are more than the limit of {LARGEST_IMAGE} pixels")
    try:
        element = dataset["PixelData"]
    except Exception as error:  # its type isn't bytes
        raise unusable("PixelData") from error
    data = element.value
    if not isinstance(data, bytes):
        raise unusable("PixelData")
    syntax = _transfer_syntax(dataset, data)
    frame = _only_frame(data) if syntax.is_encapsulated else b""
    stream = _codestream(dataset, syntax, frame)
    samples, photometric = _kind(dataset, stream, syntax, len(data))
    allocated = _bits_allocated(dataset, stream, syntax, frame, len(data), samples)
    signed = samples == 1 and photometric != PALETTE and _is_signed(dataset, stream)
    interleaved = syntax.is_encapsulated or samples == 1
    planar = 0 if interleaved else _choice(dataset, "PlanarConfiguration")
    options = {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": samples,
        "photometric_interpretation": photometric,
        "planar_configuration": planar,
        "number_of_frames": 1,
        "bits_allocated": allocated,
        # All bits are decoded. Which of them count is looked at afterwards.
        "bits_stored": stream.precision if stream else allocated,
        "pixel_representation": int(signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": element.VR,
    }
    if not syntax.is_encapsulated:
        _require_length(dataset, len(data), samples * allocated, photometric)
    values = _decoded(syntax, stream, data, options)
    return _with_stored_bits(dataset, values, photometric, allocated, stream, signed)


def _transfer_syntax(dataset: Any, data: bytes) -> Any:
    """Return the transfer syntax. If none is given, it is the one that the file was read by."""
    from pydicom import uid

    if told := texts(getattr(dataset, "file_meta", {}), "TransferSyntaxUID"):
        syntax = uid.UID(told[0])
        if not syntax.is_transfer_syntax or syntax.is_private:
            raise unusable("TransferSyntaxUID")
        return syntax
    if dataset["PixelData"].is_undefined_length:
        try:
            marker = read_codestream(_only_frame(data)).marker
            return uid.UID(f"1.2.840.10008.1.2.4.{_JPEG_SYNTAXES[marker]}")
        except (CodestreamError, KeyError) as error:
            raise unusable("TransferSyntaxUID") from error
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _only_frame(data: bytes) -> bytes:
    """Return the fragments of the frame in encapsulated pixel data, one after the other."""
    from pydicom.encaps import get_frame, parse_basic_offsets

    try:
        several = len(parse_basic_offsets(data)) > 1
        frame = get_frame(data, 0, number_of_frames=1)
    except Exception as error:  # pydicom has many words for damage
        raise _contradiction("TransferSyntaxUID", "PixelData") from error
    if several:
        raise NoImageError("a DICOM file of several images, not one (PixelData)")
    return frame


def _codestream(dataset: Any, syntax: Any, frame: bytes) -> Codestream | None:
    """Read the header of a codestream, which must be what the DICOM header says."""
    from pydicom import uid

    if not syntax.is_encapsulated or syntax == uid.RLELossless:
        return None
    kinds: dict[Literal["JPEG", "JPEG-LS", "JPEG 2000"], list[uid.UID]] = {
        "JPEG": uid.JPEGTransferSyntaxes,
        "JPEG-LS": uid.JPEGLSTransferSyntaxes,
        "JPEG 2000": uid.JPEG2000TransferSyntaxes,
    }
    if not any(syntax in syntaxes for syntaxes in kinds.values()):
        raise NoImageError(f"its compression{_name(syntax)} is none that featx reads")
    try:
        stream = read_codestream(frame)
    except CodestreamError as error:
        reason = f"its PixelData{_name(syntax)} can't be decoded: it is {error}"
        raise NoImageError(reason) from error
    if syntax not in kinds[stream.kind]:
        raise _contradiction("TransferSyntaxUID", "PixelData")
    if (stream.rows, stream.columns) != (dataset.Rows, dataset.Columns):
        raise _contradiction("Rows, Columns", "PixelData")
    if dataset.Rows * dataset.Columns > max(SMALL_IMAGE, MAX_PIXELS_PER_BYTE * len(frame)):
        raise NoImageError(f"its PixelData{_name(syntax)} is too short for Rows x Columns")
    return stream


def _kind(dataset: Any, stream: Codestream | None, syntax: Any, length: int) -> tuple[int, str]:
    """Return the samples of a pixel and the photometric interpretation."""
    told = [text.upper() for text in texts(dataset, "PhotometricInterpretation")]
    photometric = told[0] if told else ""
    samples = whole_number(dataset, "SamplesPerPixel")
    if samples is None and not texts(dataset, "SamplesPerPixel"):
        if photometric:
            samples = 1 if photometric in (*GREY, PALETTE) else 3
        elif stream is not None:
            samples = stream.samples
        elif (bits := whole_number(dataset, "BitsAllocated")) and not syntax.is_encapsulated:
            samples = length * 8 // (dataset.Rows * dataset.Columns * bits)
    if samples not in (1, 3):
        raise unusable("SamplesPerPixel")
    if stream is not None and stream.samples != samples:
        raise _contradiction("SamplesPerPixel", "PixelData")
    colours = _COLOURS + (_COLOURS_OF_JPEG_2000 if stream and stream.kind == "JPEG 2000" else ())
    if not photometric:
        photometric = _usual_kind(dataset, samples, stream)
    elif photometric not in (*GREY, PALETTE, *colours):
        raise unusable("PhotometricInterpretation")
    if (samples == 3) != (photometric in colours):
        raise _contradiction("SamplesPerPixel", "PhotometricInterpretation")
    return samples, photometric


def _usual_kind(dataset: Any, samples: int, stream: Codestream | None) -> str:
    """Return the photometric interpretation that viewers take if the header has none."""
    if samples == 3:
        return "YBR_FULL_422" if stream and stream.marker == 0xC0 else "RGB"
    if raw_value(dataset, "RedPaletteColorLookupTableData"):
        return PALETTE
    # PS3.3 C.11.6: X-rays with INVERSE are MONOCHROME1, and with IDENTITY MONOCHROME2.
    return GREY["INVERSE" not in [text.upper() for text in texts(dataset, "PresentationLUTShape")]]


def _is_signed(dataset: Any, stream: Codestream | None) -> bool:
    if stream is not None and not texts(dataset, "PixelRepresentation"):
        return stream.signed
    return _choice(dataset, "PixelRepresentation") == 1


def _choice(dataset: Any, keyword: str) -> int:
    """Return 0 or 1, and 0 if the header has nothing."""
    value = whole_number(dataset, keyword)
    if value not in (0, 1) and texts(dataset, keyword):
        raise unusable(keyword)
    return value or 0


def _bits_allocated(
    dataset: Any,
    stream: Codestream | None,
    syntax: Any,
    frame: bytes,
    length: int,
    samples: int,
) -> int:
    """Return the bits that a sample takes, decoded."""
    if stream is not None:
        for allocated in (8, 16, 32):
            if stream.precision <= allocated:
                return allocated
        raise _contradiction("BitsAllocated", "PixelData")
    if syntax.is_encapsulated:  # RLE, a segment for each byte (PS3.5 annex G)
        found, rest = divmod(8 * int.from_bytes(frame[:4], "little"), samples)
        if len(frame) < _RLE_HEADER or rest:
            raise _contradiction("SamplesPerPixel", "PixelData")
    else:
        found = 8 * (length // (dataset.Rows * dataset.Columns * samples))
    told = whole_number(dataset, "BitsAllocated")
    if told is None and not texts(dataset, "BitsAllocated"):
        told = found
    elif syntax.is_encapsulated and told != found:
        raise _contradiction("BitsAllocated", "PixelData")
    if told not in (1, 8, 16, 32):
        raise unusable("BitsAllocated")
    return told


def _require_length(dataset: Any, length: int, pixel_bits: int, photometric: str) -> None:
    """Refuse uncompressed pixels that are too few or too many. A little padding may follow."""
    bits = dataset.Rows * dataset.Columns * pixel_bits
    expected = -(-bits // 8) if photometric != "YBR_FULL_422" else bits // 24 * 2
    if length < expected:
        raise NoImageError("its PixelData is shorter than Rows, Columns and BitsAllocated say")
    most = expected * (1.5 if photometric == "YBR_FULL_422" else 2)
    if length >= most + expected % 2:
        raise NoImageError("its PixelData is longer than Rows, Columns and BitsAllocated say")


def _decoded(
    syntax: Any, stream: Codestream | None, data: bytes, options: dict[str, Any]
) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit, RLELossless

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise NoImageError(f"its compression{_name(syntax)} is none that featx reads") from error
    plugins = set(decoder.available_plugins)
    if stream and syntax == JPEGExtended12Bit and stream.precision > 8:
        plugins -= {"pillow"}  # which reads 8 bits
    if syntax.is_encapsulated and not plugins:
        raise NoImageError(f"its compression{_name(syntax)} {NEEDS_DECODER}")
    # pydicom's own decoder of RLE has no bound.
    plugin = "pylibjpeg" if syntax == RLELossless and "pylibjpeg" in plugins else ""
    try:
        values, _ = decoder.as_array(data, index=0, decoding_plugin=plugin, **options)
    except MemoryError:
        raise
    except Exception as error:  # pydicom and its decoders have many words for damage
        raise NoImageError(f"its PixelData{_name(syntax)} can't be decoded") from error
    return np.asarray(values)


def _with_stored_bits(
    dataset: Any,
    values: NDArray[Any],
    photometric: str,
    allocated: int,
    stream: Codestream | None,
    signed: bool,
) -> StoredPixels:
    """Take the bits that count out of those that were decoded (PS3.5 8.1.1)."""
    stored, high, known = _bits_stored(dataset, allocated, stream)
    if photometric not in (*GREY, PALETTE):
        photometric = "RGB"  # pydicom has turned the others into it
    if allocated == 1:
        return StoredPixels(values, photometric, 1, False)
    if stored < allocated and (stream is None or stored < stream.precision):
        decoded, values = values, _moved(values, allocated, stored, high)
        if np.ptp(values) == 0 < np.ptp(decoded):
            raise _contradiction("BitsStored, HighBit", "PixelData")
        if stream is None and _uses_bits_above(dataset, decoded, high):
            raise _contradiction("BitsStored", "PixelData")
        if high != stored - 1:
            # Something below the lowest bit, and nothing in the highest: High Bit is wrong.
            below = (decoded & (2 ** (high + 1 - stored) - 1)).any()
            reach = max(stored, high - 3)
            if below and np.array_equal(decoded, _moved(decoded, allocated, reach, reach - 1)):
                raise _contradiction("HighBit", "PixelData")
        elif stream is not None and not np.array_equal(decoded, values):
            raise _contradiction("BitsStored", "PixelData")
    return StoredPixels(values, photometric, stored, signed, known)


def _uses_bits_above(dataset: Any, decoded: NDArray[Any], high: int) -> bool:
    """Say whether bits above the stored ones hold something that isn't overlay, sign or padding."""
    above = np.right_shift(decoded, high + 1)
    odd = (
        decoded[(above != 0) & (above != -1)] if decoded.dtype.kind == "i" else decoded[above != 0]
    )
    if odd.size == 0 or odd.min() == odd.max():  # one value, for padding
        return False
    # Overlays lie in the pixels' own bits where they have a position (retired in 2004).
    tags = dataset.keys()
    return not any(0x6000 <= tag >> 16 <= 0x60FF and tag & 0xFFFF == 0x0102 for tag in tags)


def _moved(values: NDArray[Any], allocated: int, stored: int, high: int) -> NDArray[Any]:
    moved: NDArray[Any] = np.left_shift(values, allocated - 1 - high)
    np.right_shift(moved, allocated - stored, out=moved)
    return moved


def _bits_stored(dataset: Any, allocated: int, stream: Codestream | None) -> tuple[int, int, bool]:
    """Return the stored bits, the highest of them, and whether their number is known."""
    stored, high = whole_number(dataset, "BitsStored"), whole_number(dataset, "HighBit")
    widest = stream.precision if stream else allocated
    known = True
    if stored is None or not 0 < stored <= 64:
        known = bool(high) or widest <= 8 or stream is not None
        stored = high + 1 if high else widest
    if stream is not None and stored > widest:
        return widest, widest - 1, True
    if stored > allocated:
        raise _contradiction("BitsStored", "BitsAllocated")
    if not high or stored == 8 == allocated:
        return stored, stored - 1, known
    if stream is not None and high >= widest:
        return stored, stored - 1, known
    if not stored - 1 <= high < allocated:
        raise _contradiction("BitsStored", "HighBit")
    return stored, high, known


def _name(syntax: Any) -> str:
    """Return DICOM's name of a transfer syntax, or nothing if it has none."""
    return "" if syntax.name == syntax else f" ({syntax.name})"
