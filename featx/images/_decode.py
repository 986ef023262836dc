"""From an image file to a resized array, grey images kept in one channel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field

from featx._specs import Spec
from featx.data import _npz as npz
from featx.data._dicom import is_dicom_name, looks_like_dicom
from featx.data._file_facts import reason_of
from featx.data._pillow import Samples, open_image, samples_of
from featx.errors import FeatxError
from featx.images._contrast import Contrast, apply_contrast
from featx.images._dicom import decode_dicom
from featx_cache.files import open_regular


class DecodingSpec(Spec):
    """Settings that turn a file into a square of pixels and change its numbers.

    Attributes
    ----------
    resize
        Filter: bilinear over the whole area that a pixel covers, as in Pillow and Keras.
    jpeg_reduction
        Smallest ratio of a decoded JPEG's side to the square's. JPEG files are decoded at 1/2, 1/4
        or 1/8 of their size (libjpeg's reduced DCT) as far as that leaves this ratio. 0 decodes
        them whole.
    contrast
        Equalization of the square's histogram: ``none``, ``equalize`` (global) or ``clahe``.

    Examples
    --------
    >>> DecodingSpec(contrast="clahe").jpeg_reduction
    2
    """

    resize: Literal["bilinear"] = "bilinear"
    jpeg_reduction: int = Field(2, ge=0, le=16)
    contrast: Contrast = "none"

    added: ClassVar[frozenset[str]] = frozenset({"contrast"})


class UnreadableImageError(FeatxError):
    """An image file can't be decoded. `reason` says why, without the path.

    Examples
    --------
    >>> print(UnreadableImageError(Path("a.png"), "the file is empty"))
    can't read the image a.png: the file is empty
    """

    code = "unreadable-image"
    exit_code = 2

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"can't read the image {path}: {reason}")

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[Path, str]]:
        """Let it come back from another process."""
        return type(self), (self.path, self.reason)


def decode(
    path: Path, size: int, *, spec: DecodingSpec | None = None, sha256: str | None = None
) -> NDArray[np.float32]:
    """Read an image and resize it to a square, as Keras's ``load_img`` does with bilinear filter.

    The EXIF orientation is applied, transparency is dropped and a palette resolved. The aspect
    ratio isn't kept, as in the study. Images of more than 8 bits are scaled to 0..255 by their
    format's range, not by their content. DICOM images are windowed as their header says.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF, BMP, WebP or DICOM file, or an image in an ``.npz`` file
        (``FILE.npz#ARRAY/ROW``).
    size
        Side of the square in pixels.
    spec
        Details of decoding. None takes the defaults.
    sha256
        Hexadecimal hash that the file, or the pixels in an ``.npz`` file, must have. None takes
        any.

    Returns
    -------
    ndarray of shape (size, size, 1) or (size, size, 3), dtype float32
        Values 0..255. Grey images have one channel, others RGB.

    Raises
    ------
    UnreadableImageError
        If the file is missing, empty, truncated, not an image, too large to be one, or not what
        `sha256` says.

    Examples
    --------
    >>> from featx.images import decode
    >>> decode("chest_xray/test/NORMAL/IM-0001-0001.jpeg", 300).shape  # doctest: +SKIP
    (300, 300, 1)
    """
    spec = spec or DecodingSpec()
    try:
        if npz.is_row_path(path):
            pixels = _from_array(path, size, sha256)
        else:
            with open_regular(path) as file:
                if sha256 is not None:
                    _require_content(path, hashlib.file_digest(file, "sha256").hexdigest(), sha256)
                    file.seek(0)
                if is_dicom_name(path) or looks_like_dicom(file):
                    pixels = decode_dicom(file, size)
                else:
                    pixels = _from_image(file, size, spec)
    except UnreadableImageError:
        raise
    except Exception as error:  # libraries of images have many words for damage
        raise UnreadableImageError(path, reason_of(error)) from error
    return apply_contrast(pixels, spec.contrast)


def _require_content(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise UnreadableImageError(path, "it changed after featx had read its hash")


def _from_array(path: Path, size: int, sha256: str | None) -> NDArray[np.float32]:
    """Read an image in an ``.npz`` file."""
    stored = npz.read_image(path)
    if sha256 is not None:
        _require_content(path, hashlib.sha256(stored.tobytes()).hexdigest(), sha256)
    return _square(Image.fromarray(stored), size)


def _from_image(file: IO[bytes], size: int, spec: DecodingSpec) -> NDArray[np.float32]:
    """Read a file of a format that Pillow knows."""
    opened = open_image(file)
    samples = samples_of(opened)
    if spec.jpeg_reduction:  # for formats other than JPEG it does nothing
        opened.draft(None, (spec.jpeg_reduction * size,) * 2)
    image = ImageOps.exif_transpose(opened)
    if samples is not None:
        return _resize_samples(image, size, samples)
    return _square(image, size)


def _square(image: Image.Image, size: int) -> NDArray[np.float32]:
    if image.mode == "La":  # multiplied by its transparency
        image = image.convert("LA")
    grey = image.mode in ("1", "L", "LA")
    resized = image.convert("L" if grey else "RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32).reshape(size, size, -1)


def _resize_samples(image: Image.Image, size: int, samples: Samples) -> NDArray[np.float32]:
    """Resize an image of other than 8 bits in floating point, then scale it to 0..255."""
    stored = np.asarray(image)
    if samples.stored is not None:
        stored = stored.view(samples.stored)
    values = stored.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not numbers")
    if samples.low:
        values -= np.float32(samples.low)
    wide = Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR)
    with np.errstate(over="ignore"):  # what is far out of range is white or black
        scaled = np.asarray(wide, np.float32) * np.float32(255.0 / (samples.high - samples.low))
    scaled = scaled.clip(0.0, 255.0).reshape(size, size, 1)
    return np.float32(255.0) - scaled if samples.negative else scaled
