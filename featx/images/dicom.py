"""From a DICOM file to pixels as its maker wants them shown."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.data.dicom import NoPictureError, read_header
from featx.data.npz import LARGEST_IMAGE

_STEPS = 2**16
NEEDS_DECODER = "needs a decoder: pip install 'featx[dicom]'"


def decode_dicom(file: IO[bytes], size: int) -> NDArray[np.float32]:
    """Read, window and resize a DICOM image.

    Stored values go through the modality LUT or rescale slope and intercept, then through the VOI
    LUT or the first window; without either, the range that the stored bits can express is shown.
    MONOCHROME1 is inverted. See DICOM PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2.

    Parameters
    ----------
    file
        The file, at its start.
    size
        Side of the square, in pixels.

    Returns
    -------
    ndarray of shape (size, size, 1) or (size, size, 3), dtype float32
        Values 0..255.

    Raises
    ------
    NoPictureError
        When there is no picture that featx reads.
    """
    dataset = read_header(file)
    if int(dataset.Rows) * int(dataset.Columns) > LARGEST_IMAGE:
        raise NoPictureError(
            f"{dataset.Columns}x{dataset.Rows} pixels are more than the limit of {LARGEST_IMAGE}"
        )
    try:
        shown = _shown(dataset)
    except ValueError as error:
        # Other texts of pydicom may have values of the header in them.
        text = str(error).split(" - ")[0]
        reason = text if text.startswith("The number of bytes") else type(error).__name__
        raise NoPictureError(f"its DICOM pixels can't be decoded ({reason})") from error
    except NotImplementedError as error:  # which is a RuntimeError
        raise NoPictureError("its DICOM pixels can't be decoded (NotImplementedError)") from error
    except RuntimeError as error:
        syntax = dataset.file_meta.TransferSyntaxUID.name
        if "missing" in str(error):
            raise NoPictureError(f"its compression ({syntax}) {NEEDS_DECODER}") from error
        raise NoPictureError(f"its DICOM pixels ({syntax}) can't be decoded") from error
    except Exception as error:  # pydicom and its decoders have many words for damage
        raise NoPictureError(
            f"its DICOM pixels can't be decoded ({type(error).__name__})"
        ) from error
    channels = [_resize(shown[..., c], size) for c in range(shown.shape[-1])]
    pixels = np.stack(channels, axis=-1).clip(0.0, 255.0)
    # Inverted after resizing, and in steps that leave nothing to round, so that it is the exact
    # negative of the same pixels in MONOCHROME2, both ways.
    pixels = (np.rint(pixels * _STEPS) / _STEPS).astype(np.float32)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        return np.asarray(np.float32(255.0) - pixels, np.float32)
    return np.asarray(pixels, np.float32)


def _shown(dataset: Any) -> NDArray[np.float32]:
    """Return the values to show, 0..255, before any inversion."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
    from pydicom.pixels.utils import pixel_array

    if "PixelRepresentation" not in dataset:
        dataset.PixelRepresentation = 0
    stored = pixel_array(dataset)  # YBR comes out as RGB
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        return _scaled(stored, 0.0, float(np.iinfo(stored.dtype).max))
    if stored.ndim == 3:
        return _scaled(stored, 0.0, 2.0 ** int(dataset.BitsStored) - 1.0)
    values = apply_modality_lut(stored, dataset)
    low, high = _range(dataset)
    if dataset.get("VOILUTSequence"):
        values = apply_voi_lut(values, dataset)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        low, high = 0.0, 2.0**bits - 1.0
    elif dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        # pydicom spreads the window from one end of the range to the other, also where a negative
        # slope turns the range round.
        values = apply_voi_lut(values, dataset)
    else:
        low, high = min(low, high), max(low, high)
    return _scaled(values, low, high)[..., None]


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    scaled = (np.asarray(values, np.float64) - low) * (255.0 / (high - low))
    return scaled.astype(np.float32)


def _range(dataset: Any) -> tuple[float, float]:
    """Return what the smallest and the largest stored value become in the modality's units."""
    if sequence := dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(sequence[0].LUTDescriptor[2]) - 1.0
    bits = int(dataset.BitsStored)
    signed = int(dataset.PixelRepresentation) == 1
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return low, high
    return low * float(slope) + float(intercept), high * float(slope) + float(intercept)


def _resize(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(values))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)
