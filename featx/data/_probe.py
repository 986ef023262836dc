"""What a manifest says of a file before anything is decoded: its hash, size, mode and format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from featx.data import _npz as npz
from featx.data._dicom import (
    NotAnImageError,
    Pseudonyms,
    header_errors,
    identify,
    is_dicom_name,
    kind_of_pixels,
    looks_like_dicom,
    read_header,
)
from featx.data._opening import open_picture, samples_of
from featx.errors import FeatxError
from featx_cache.files import open_regular

THREADS = min(8, (os.cpu_count() or 1) * 2)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file's header says.

    Attributes
    ----------
    sha256
        Of the file's bytes; of the pixels' bytes for an image in an ``.npz`` file.
    width, height
        In pixels, as stored.
    mode, source
        See `featx.data.Manifest`.
    patient, study
        Pseudonyms from a DICOM header; else empty.
    problem
        Why there is nothing of the above; empty where there is.
    no_image
        Whether the problem is that it is a DICOM object of another kind than an image.
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


def probe_all(root: Path, paths: Sequence[str], pseudonyms: Pseudonyms) -> Iterator[Probe]:
    """Probe files in threads, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda path: probe(root / path, pseudonyms), paths)


def probe(path: Path, pseudonyms: Pseudonyms) -> Probe:
    """Hash a file and read its header."""
    try:
        return _probe_row(path) if npz.is_place(path) else _probe_file(path, pseudonyms)
    except FeatxError:  # of pseudonyms, whose salt can't be kept
        raise
    except Exception as error:  # noqa: BLE001 - libraries of images have many words for damage
        return Probe(problem=reason_of(error), no_image=isinstance(error, NotAnImageError))


def reason_of(error: BaseException) -> str:
    """Put an image library's complaint into a short phrase without the path."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if "cannot identify image file" in str(error):
        return "not an image that featx reads"
    if str(error).startswith("decoder error"):  # Pillow's, with a number
        return "its pixels are damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _probe_file(path: Path, pseudonyms: Pseudonyms) -> Probe:
    with open_regular(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if file.tell() == 0:
            return Probe(problem="the file is empty")
        file.seek(0)
        if is_dicom_name(path) or looks_like_dicom(file):
            with header_errors():
                header = read_header(file)
                patient, study = identify(header, pseudonyms)
                mode = kind_of_pixels(header)
                width, height = int(header.Columns), int(header.Rows)
            return Probe(sha256, width, height, mode, "DICOM", patient, study)
        with open_picture(file) as image:
            samples_of(image)  # refuses those without a known range
            return Probe(sha256, *image.size, image.mode, image.format or "")


def _probe_row(path: Path) -> Probe:
    pixels = npz.read_image(path)
    height, width = pixels.shape[:2]
    sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Probe(sha256, width, height, "L" if pixels.ndim == 2 else "RGB", "NPZ")
