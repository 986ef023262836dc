"""Facts of a file that need no decoding: its hash, size, mode and format."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import UnidentifiedImageError

from featx.data import _npz as npz
from featx.data._dicom import (
    NotAnImageError,
    Pseudonyms,
    header_errors,
    identify,
    is_dicom_name,
    looks_like_dicom,
    photometric_interpretation,
    read_header,
)
from featx.data._pillow import open_image, samples_of
from featx.errors import FeatxError
from featx_cache._text import first_line
from featx_cache.files import open_regular

THREADS = min(8, (os.cpu_count() or 1) * 2)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts from a file's header.

    Attributes
    ----------
    sha256
        Hash of the file, or of the pixels if it is an image in an ``.npz`` file.
    width, height
        Stored size in pixels.
    mode, source
        See `featx.data.Manifest`.
    patient, study
        Pseudonyms from a DICOM header, or empty texts.
    problem
        Reason why all others are empty.
    no_image
        Whether the problem is that the file is a DICOM object of another kind than an image.
    """

    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    source: str = ""
    patient: str = ""
    study: str = ""
    problem: str = ""
    no_image: bool = False


def read_all_facts(root: Path, paths: Sequence[str], pseudonyms: Pseudonyms) -> Iterator[FileFacts]:
    """Read the facts of files in threads, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda path: read_facts(root / path, pseudonyms), paths)


def read_facts(path: Path, pseudonyms: Pseudonyms) -> FileFacts:
    """Hash a file and read its header."""
    try:
        return _facts_of_row(path) if npz.is_row_path(path) else _facts_of_file(path, pseudonyms)
    except FeatxError:  # the salt of pseudonyms can't be kept
        raise
    except Exception as error:  # noqa: BLE001 - libraries of images have many words for damage
        return FileFacts(problem=reason_of(error), no_image=isinstance(error, NotAnImageError))


def reason_of(error: BaseException) -> str:
    """Put an image library's complaint into a short phrase without the path."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that featx reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    # Pillow has a number, and no class, for pixels that it can't decode.
    return re.sub(r"^decoder error.*", "its pixels are damaged", first_line(error))[:200]


def _facts_of_file(path: Path, pseudonyms: Pseudonyms) -> FileFacts:
    with open_regular(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if file.tell() == 0:
            return FileFacts(problem="the file is empty")
        file.seek(0)
        if is_dicom_name(path) or looks_like_dicom(file):
            with header_errors():
                header = read_header(file)
                patient, study = identify(header, pseudonyms)
                mode = photometric_interpretation(header)
                width, height = int(header.Columns), int(header.Rows)
            return FileFacts(sha256, width, height, mode, "DICOM", patient, study)
        with open_image(file) as image:
            samples_of(image)  # refuses those without a known range
            return FileFacts(sha256, *image.size, image.mode, image.format or "")


def _facts_of_row(path: Path) -> FileFacts:
    pixels = npz.read_image(path)
    height, width = pixels.shape[:2]
    sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return FileFacts(sha256, width, height, "L" if pixels.ndim == 2 else "RGB", "NPZ")
