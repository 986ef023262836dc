"""From a DICOM file to pixels that are windowed as its header says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.data._dicom import NoImageError, numbers, raw_value, read_header, texts
from featx.images._dicom_pixels import PALETTE, StoredPixels, read_pixels, unusable
from featx.images._lookup_tables import LookupTable, read_table, shows_something

_STEPS = 2**16
_ONE_GREY = 0.01
_CHANNELS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True)
class _Values:
    """Values in the modality's units.

    `limits` are the values of black and white. If the slope is negative, the first is the larger.
    """

    values: NDArray[Any]
    limits: tuple[float, float]
    bits: int
    signed: bool
    slope: float
    intercept: float
    limits_known: bool


def decode_dicom(file: IO[bytes], size: int) -> NDArray[np.float32]:
    """Read, window and resize a DICOM image to shape (size, size, 1 or 3), values 0..255.

    Stored values go through the modality LUT or rescale slope and intercept. After that come the
    first usable VOI LUT, or the first usable window, or the range that the stored bits can express.
    A table or window is usable if it is whole and leaves more than one grey, both of the possible
    values and of those in the image. MONOCHROME1 is inverted. See DICOM PS3.3 C.11.1, C.11.2 and
    C.7.6.3.1.2.

    A NoImageError says that there is no image, or that the header leaves open what it looks like.
    It names the attribute, and not its value.
    """
    dataset = read_header(file)
    try:
        stored = read_pixels(dataset)
        shown = _shown(dataset, stored)
    except (NoImageError, MemoryError):
        raise
    except Exception as error:  # pydicom's words may have values of the header in them
        raise NoImageError("its PixelData can't be shown") from error
    channels = [_resize(shown[..., c], size) for c in range(shown.shape[-1])]
    pixels = np.stack(channels, axis=-1).clip(0.0, 255.0)
    # Inverted after resizing, and in steps that leave nothing to round, so that it is the exact
    # negative of the same pixels in MONOCHROME2, both ways.
    pixels = (np.rint(pixels * _STEPS) / _STEPS).astype(np.float32)
    if stored.photometric == "MONOCHROME1":
        return np.asarray(np.float32(255.0) - pixels, np.float32)
    return np.asarray(pixels, np.float32)


def _shown(dataset: Any, stored: StoredPixels) -> NDArray[np.float32]:
    """Return the values to show, 0..255, before any inversion."""
    if stored.photometric == PALETTE:
        return _through_palette(dataset, stored)
    if stored.values.ndim == 3:
        return _scaled(stored.values, *stored.limits)
    grey = _in_modality_units(dataset, stored)
    low, high = min(grey.limits), max(grey.limits)
    little_endian = _is_little_endian(dataset)
    for item in _items(dataset, "VOILUTSequence"):
        table = read_table(item, (low, high), little_endian)
        if table is not None and table.shows((low, high)):
            shown = _scaled(table.apply(grey.values), *table.limits)
            if not _is_blotted_out(grey.values, shown):
                return shown[..., None]
    for window in _windows(dataset, grey):
        # pydicom spreads the window from one end of the range to the other, also if a negative
        # slope turns the range round.
        shown = _scaled(_windowed(grey.values, window), *grey.limits)
        if not _is_blotted_out(grey.values, shown):
            return shown[..., None]
    if not grey.limits_known:
        raise unusable("BitsStored")
    return _scaled(grey.values, low, high)[..., None]


def _is_blotted_out(values: NDArray[Any], shown: NDArray[np.float32]) -> bool:
    """Say whether an image of several values is shown in one grey."""
    return bool(np.ptp(shown) < _ONE_GREY and values.min() != values.max())


def _in_modality_units(dataset: Any, stored: StoredPixels) -> _Values:
    """Apply the modality LUT, or else rescale slope and intercept."""
    low, high = stored.limits
    if items := [item for item in _items(dataset, "ModalityLUTSequence") if len(item)]:
        table = read_table(items[0], (low, high), _is_little_endian(dataset))
        if table is None or not table.shows((low, high)):
            raise unusable("ModalityLUTSequence")
        return _Values(table.apply(stored.values), table.limits, table.bits, False, 1.0, 0.0, True)
    slope = next(iter(numbers(dataset, "RescaleSlope")), None) or 1.0
    intercept = next(iter(numbers(dataset, "RescaleIntercept")), None) or 0.0
    spread = (high * slope + intercept) - (low * slope + intercept)
    if not math.isclose(spread, (high - low) * slope, rel_tol=1e-3):
        slope, intercept = 1.0, 0.0  # an intercept in which the values would be lost
    rescaled: NDArray[Any] = stored.values
    if (slope, intercept) != (1.0, 0.0):
        rescaled = rescaled.astype(np.float64)
        rescaled *= slope
        rescaled += intercept
    limits = low * slope + intercept, high * slope + intercept
    known = stored.bits_known
    return _Values(rescaled, limits, stored.bits, stored.signed, slope, intercept, known)


def _items(dataset: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence, none if it is absent, empty or no sequence."""
    from pydicom.sequence import Sequence

    value = raw_value(dataset, keyword)
    return list(value) if isinstance(value, Sequence) else []


def _is_little_endian(dataset: Any) -> bool:
    return bool(dataset.original_encoding[1])


def _windows(dataset: Any, grey: _Values) -> Iterator[Any]:
    """Give the usable windows, as data sets of their own for pydicom."""
    from pydicom.dataset import Dataset

    told = "".join(texts(dataset, "VOILUTFunction")[:1]).upper().replace(" ", "_")
    function = told if told in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if centre is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
            continue
        window = Dataset()
        window.PhotometricInterpretation = "MONOCHROME2"
        window.BitsStored, window.PixelRepresentation = grey.bits, int(grey.signed)
        window.RescaleSlope, window.RescaleIntercept = grey.slope, grey.intercept
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, width, function
        black, white = grey.limits
        ends = _windowed(np.array(grey.limits), window)
        if shows_something(float(np.ptp(ends)), white - black):
            yield window


def _windowed(values: NDArray[Any], window: Any) -> NDArray[np.float64]:
    from pydicom.pixels.processing import apply_windowing

    return np.asarray(apply_windowing(values, window), np.float64)


def _through_palette(dataset: Any, stored: StoredPixels) -> NDArray[np.float32]:
    """Look up colours."""
    tables: list[LookupTable] = []
    for channel in _CHANNELS:
        name = f"{channel}PaletteColorLookupTable"
        table = read_table(dataset, stored.limits, _is_little_endian(dataset), name)
        if table is None:
            return _through_segmented_palette(dataset, stored)
        tables.append(table)
    if not any(table.shows(stored.limits) for table in tables):
        raise unusable("RedPaletteColorLookupTableData")
    wide = any(table.bits > 8 for table in tables)
    colours = np.stack([table.apply(stored.values) for table in tables], axis=-1)
    return _scaled(colours, 0.0, 65535.0 if wide else 255.0)


def _through_segmented_palette(dataset: Any, stored: StoredPixels) -> NDArray[np.float32]:
    from pydicom.pixels.processing import apply_color_lut

    try:
        colours = apply_color_lut(stored.values, dataset)[..., :3]
    except Exception as error:  # pydicom has many words for damage
        raise unusable("RedPaletteColorLookupTableDescriptor") from error
    return _scaled(colours, 0.0, float(np.iinfo(colours.dtype).max))


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    scaled = (np.asarray(values, np.float64) - low) * (255.0 / (high - low))
    return scaled.astype(np.float32)


def _resize(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(values))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)
