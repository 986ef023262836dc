"""Images for people to look at: at their own aspect ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.data import _npz as npz
from featx.data._dicom import is_dicom_name, looks_like_dicom, read_header
from featx.data._file_facts import reason_of
from featx.data._pillow import open_image
from featx.images._decode import UnreadableImageError, decode
from featx_cache.files import open_regular

_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)


def decode_for_display(path: Path, side: int) -> NDArray[np.float32]:
    """Read an image at its own aspect ratio, to show it.

    Parameters
    ----------
    path
        See `decode`.
    side
        Longer side of the result in pixels.

    Returns
    -------
    ndarray of shape (height, width, 1) or (height, width, 3), dtype float32
        Values 0..255.

    Raises
    ------
    UnreadableImageError
        See `decode`.

    Examples
    --------
    >>> decode_for_display(Path("lying.png"), 300).shape  # doctest: +SKIP
    (225, 300, 1)
    """
    square = decode(path, side)
    try:
        width, height = _size(path)
    except Exception as error:  # it was there a moment ago
        raise UnreadableImageError(path, reason_of(error)) from error
    longest = max(width, height)
    size = max(1, round(side * width / longest)), max(1, round(side * height / longest))
    channels = [
        Image.fromarray(np.ascontiguousarray(square[..., c])).resize(size, Image.Resampling.BOX)
        for c in range(square.shape[-1])
    ]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)


def _size(path: Path) -> tuple[int, int]:
    """Return width and height, upright."""
    if npz.is_row_path(path):
        height, width = npz.read_image(path).shape[:2]
        return width, height
    with open_regular(path) as file:
        if is_dicom_name(path) or looks_like_dicom(file):
            header = read_header(file)
            return int(header.Columns), int(header.Rows)
        with open_image(file) as image:
            width, height = image.size
            # Pillow has turned the size of TIFF files already.
            lying = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _LYING
    return (height, width) if lying else (width, height)
