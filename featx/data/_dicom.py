"""DICOM headers: what is an image, its size, and who it shows, under a pseudonym."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import logging
import math
import os
import secrets
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import platformdirs

from featx.errors import FeatxError, InputError
from featx_cache.files import open_regular

SUFFIXES = frozenset({".dcm", ".dicom"})
SALT_VARIABLE = "FEATX_SALT"
LARGEST_FILE = 2**30
"""Bytes of the largest DICOM file that is read."""
LARGEST_INFLATED = 2**28
"""Bytes of the largest deflated data set: three times the largest X-ray of 16 bits."""
_PREAMBLE = 128
_PSEUDONYM_DIGITS = 16
PHOTOMETRIC = frozenset(
    {
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB",
        "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
    }
)  # fmt: skip
"""Photometric interpretations of DICOM (PS3.3 C.7.6.3.1.2), retired ones included."""


class NoImageError(ValueError):
    """A DICOM file has no image that featx reads. The text names nobody."""


class NotAnImageError(NoImageError):
    """A DICOM file isn't meant to be an image: a report, or the list of a disc's files."""


class Pseudonyms:
    """Pseudonyms of identifiers: equal for equal identifiers, and useless without the salt.

    Parameters
    ----------
    salt
        Function that returns the salt of the hash (HMAC-SHA-256, its first 64 bits). Without the
        salt nobody can try identifiers out. It is called when the first identifier is met. None
        keeps the identifiers.
    """

    def __init__(self, salt: Callable[[], bytes] | None) -> None:
        self._find_salt = salt

    @cached_property
    def _salt(self) -> bytes:
        assert self._find_salt is not None
        return self._find_salt()

    def of(self, identifier: str) -> str:
        """Return the pseudonym of an identifier, or an empty text for an empty one.

        Zeros in front of a number make no difference: spreadsheets and pandas drop them.
        """
        if self._find_salt is None or not identifier:
            return identifier
        if identifier.isascii() and identifier.isdecimal():
            identifier = identifier.lstrip("0") or "0"
        digest = hmac.new(self._salt, identifier.encode(errors="replace"), hashlib.sha256)
        return digest.hexdigest()[:_PSEUDONYM_DIGITS]


def own_salt() -> bytes:
    """Return the salt in ``FEATX_SALT``, or this user's own, made when it is first needed."""
    if given := os.environ.get(SALT_VARIABLE):
        return given.encode()
    path = platformdirs.user_config_path("featx") / "salt"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner
                file.write(secrets.token_hex(32))
                file.flush()
                with contextlib.suppress(FileExistsError):  # somebody else was faster
                    os.link(file.name, path)
        with open_regular(path) as secret:
            salt = secret.read().decode(errors="replace").strip()
    except OSError as error:
        raise InputError(
            f"can't keep the salt of patient pseudonyms in {path}: {error.strerror}",
            f"Set {SALT_VARIABLE} to a secret of your own.",
        ) from error
    if not salt:
        raise InputError(
            f"the salt of patient pseudonyms in {path} is empty",
            f"Delete the file, or set {SALT_VARIABLE} to a secret of your own.",
        )
    return salt.encode()


def looks_like_dicom(file: IO[bytes]) -> bool:
    """Say whether a file has DICOM's preamble. The file is left at its start."""
    start = file.read(_PREAMBLE + 4)
    file.seek(0)
    return start[_PREAMBLE:] == b"DICM"


def read_header(file: IO[bytes]) -> Any:
    """Read a DICOM data set, pixels and all. Rows and Columns are whole numbers in it."""
    import pydicom

    silence_pydicom()
    with header_errors():
        force = not looks_like_dicom(file)
        # Reading a file makes room for all that a header claims, up to 4 GB an element. Reading
        # from memory can't take more than there is.
        if file.seek(0, os.SEEK_END) > LARGEST_FILE:
            raise NoImageError("a DICOM file of more than 1 GiB")
        file.seek(0)
        content = file.read()
        if (inflated := _inflate(content)) is not None:
            content, force = inflated, True
        dataset = pydicom.dcmread(io.BytesIO(content), force=force)
        _require_image(dataset)
    return dataset


def silence_pydicom() -> None:
    """Keep pydicom's warnings off the screen: they quote the header.

    featx says what is wrong with a file in words that have nothing of its header.
    """
    import pydicom

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    for name in ("pydicom", "pylibjpeg"):
        logging.getLogger(name).propagate = False
    ours = r"(pydicom|pylibjpeg|openjpeg|libjpeg|rle|featx\.(data|images))\b"
    first = warnings.filters[0] if warnings.filters else None
    # `catch_warnings` would do it for all threads, and undo it for all.
    if first is None or getattr(first[3], "pattern", None) != ours:
        warnings.filterwarnings("ignore", module=ours)


def _inflate(content: bytes) -> bytes | None:
    """Inflate the data set of a deflated file, up to a bound. Other files give None.

    pydicom inflates without a bound.
    """
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if DeflatedExplicitVRLittleEndian.encode() not in content:
        return None
    source = io.BytesIO(content)
    read_preamble(source, force=True)
    meta = read_dataset(source, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    for _ in meta:  # where one can't be read, pydicom tries another form
        pass
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(source.read(), LARGEST_INFLATED)
    if len(inflated) >= LARGEST_INFLATED:
        raise NoImageError("a deflated DICOM file of more than 256 MiB")
    if not inflater.eof:
        raise NoImageError("not a readable DICOM file")
    return inflated


def _require_image(dataset: Any) -> None:
    """Refuse what isn't one image for people to look at."""
    from pydicom.uid import UID

    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    has_pixels = bool(raw_value(dataset, "PixelData"))
    if not (has_pixels or rows or columns):
        meta = getattr(dataset, "file_meta", {})
        told = texts(dataset, "SOPClassUID") or texts(meta, "MediaStorageSOPClassUID")
        kind = UID(told[0]) if told else UID("")
        if kind and "Image Storage" not in kind.name:
            known = "" if kind.name == kind else f" ({kind.name})"
            raise NotAnImageError(f"a DICOM file that is no image{known}")
    sized = [0 < (side or 0) < 2**16 for side in (rows, columns)]
    for keyword, there in zip(("PixelData", "Rows", "Columns"), (has_pixels, *sized), strict=True):
        if not there:
            raise NoImageError(f"a DICOM file without pixels: no {keyword}")
    dataset.add_new("Rows", "US", rows)  # whatever kind they had
    dataset.add_new("Columns", "US", columns)
    if (whole_number(dataset, "NumberOfFrames") or 1) > 1:
        raise NoImageError("a DICOM file of several images, not one (NumberOfFrames)")
    if any(text.upper() == "YES" for text in texts(dataset, "BurnedInAnnotation")):
        raise NoImageError(
            "its DICOM header says that text is burned into the picture (BurnedInAnnotation)"
        )


def raw_value(dataset: Any, keyword: str) -> Any:
    """Return the value of an element, or its bytes if they don't fit its type."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom has many words for damage
        return getattr(dataset.get_item(keyword), "value", None)


def texts(dataset: Any, keyword: str) -> list[str]:
    """Return the values of an element as texts, none if it is absent or empty.

    Some makers put a comma between values.
    """
    value = raw_value(dataset, keyword)
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    if value is None or isinstance(value, str) or not hasattr(value, "__iter__"):
        value = [value]
    parts = [part.strip(" \0") for v in value for part in ("" if v is None else str(v)).split(",")]
    return parts if any(parts) else []


def numbers(dataset: Any, keyword: str) -> list[float | None]:
    """Return the values of an element as numbers, None for each that is no finite number."""
    return [_number(text) for text in texts(dataset, keyword)]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def whole_number(dataset: Any, keyword: str) -> int | None:
    """Return the first value of an element as a whole number, or None if it is none."""
    number = next(iter(numbers(dataset, keyword)), None)
    return int(number) if number is not None and number.is_integer() else None


@contextlib.contextmanager
def header_errors() -> Iterator[None]:
    """Turn pydicom's errors, which quote the header, into one that doesn't."""
    try:
        yield
    except (NoImageError, FeatxError, MemoryError):  # a FeatxError says that the salt can't be kept
        raise
    except Exception as error:  # pydicom has many words for damage
        raise NoImageError("not a readable DICOM file") from error


def identify(dataset: Any, pseudonyms: Pseudonyms) -> tuple[str, str]:
    """Return pseudonyms of patient and study, empty if the header has none.

    The patient is the issuer and the patient's ID. If there is no ID, it is the study.
    """
    study, patient, issuer = (
        _text(dataset, keyword)
        for keyword in ("StudyInstanceUID", "PatientID", "IssuerOfPatientID")
    )
    if patient:
        patient = f"{issuer}:{patient}" if issuer else patient
    return pseudonyms.of(patient or study), pseudonyms.of(study)


def photometric_interpretation(dataset: Any) -> str:
    """Return the photometric interpretation, or an empty text if DICOM has no such.

    A machine may have written anything there, and manifests show it.
    """
    kind = _text(dataset, "PhotometricInterpretation").upper()
    return kind if kind in PHOTOMETRIC else ""


def _text(dataset: Any, keyword: str) -> str:
    value = raw_value(dataset, keyword)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return str("" if value is None else value).strip(" \0").strip()


def is_dicom_name(path: Path) -> bool:
    """Say whether a file's name is that of a DICOM file."""
    return path.suffix.lower() in SUFFIXES
