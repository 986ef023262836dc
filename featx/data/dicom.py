"""DICOM headers: the size of the image, and who it shows, under a pseudonym."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import platformdirs

from featx.errors import FeatxError, InputError
from featx_cache import open_regular

SUFFIXES = frozenset({".dcm", ".dicom"})
SALT_VARIABLE = "FEATX_SALT"
LARGEST_FILE = 2**30
"""Bytes of the largest DICOM file that is read."""
_PREAMBLE = 128
_PSEUDONYM_DIGITS = 16
PHOTOMETRIC = frozenset(
    {
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB",
        "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
    }
)  # fmt: skip
"""What DICOM calls the kinds of pixels: PS3.3 C.7.6.3.1.2, and its retired ones."""


class NoPictureError(ValueError):
    """A DICOM file without a picture that featx reads; the text names nobody."""


class Pseudonyms:
    """Stand-ins for identifiers: equal for equal identifiers, and useless without the salt.

    Parameters
    ----------
    salt
        Gives what makes the pseudonyms (HMAC-SHA-256, its first 64 bits) differ from those of
        anybody else, so that nobody can try identifiers out; asked when there is an identifier.
        None keeps the identifiers.
    """

    def __init__(self, salt: Callable[[], bytes] | None) -> None:
        self._find_salt = salt

    @cached_property
    def _salt(self) -> bytes:
        assert self._find_salt is not None
        return self._find_salt()

    def of(self, identifier: str) -> str:
        """Return the stand-in for an identifier; empty for an empty one."""
        if self._find_salt is None or not identifier:
            return identifier
        digest = hmac.new(self._salt, identifier.encode(errors="replace"), hashlib.sha256)
        return digest.hexdigest()[:_PSEUDONYM_DIGITS]


def own_salt() -> bytes:
    """Return the salt in ``FEATX_SALT``, or this user's own, made when it is first needed.

    Raises
    ------
    InputError
        When it can't be written or read.
    """
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
    """Say whether a file has DICOM's preamble; leaves the file at its start."""
    start = file.read(_PREAMBLE + 4)
    file.seek(0)
    return start[_PREAMBLE:] == b"DICM"


def read_header(file: IO[bytes]) -> Any:
    """Read a DICOM data set, pixels and all.

    Returns
    -------
    pydicom.Dataset

    Raises
    ------
    NoPictureError
        When it isn't DICOM or has no picture that featx reads.
    """
    import pydicom

    # What is wrong with a header is not told, because that would tell what is in it.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    with header_errors():
        force = not looks_like_dicom(file)
        # Of memory one can't read more than there is; of a file, room is made for all that a
        # header claims, which may be 4 GB an element.
        if file.seek(0, os.SEEK_END) > LARGEST_FILE:
            raise NoPictureError("a DICOM file of more than 1 GiB")
        file.seek(0)
        dataset = pydicom.dcmread(io.BytesIO(file.read()), force=force)
        if "PixelData" not in dataset or not (dataset.get("Rows") and dataset.get("Columns")):
            raise NoPictureError("a DICOM file without pixels")
        if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
            raise NoPictureError(f"a DICOM file of {frames} frames, not one image")
        if str(dataset.get("BurnedInAnnotation") or "").upper() == "YES":
            raise NoPictureError(
                "its DICOM header says that text is burned into the picture (BurnedInAnnotation)"
            )
    return dataset


@contextlib.contextmanager
def header_errors() -> Iterator[None]:
    """Turn whatever pydicom says of a header into an error that doesn't say what is in it."""
    try:
        yield
    except (NoPictureError, FeatxError):  # the latter of a salt that can't be kept
        raise
    except Exception as error:  # pydicom has many words for damage
        raise NoPictureError("not a readable DICOM file") from error


def identify(dataset: Any, pseudonyms: Pseudonyms) -> tuple[str, str]:
    """Return the patient and the study of a DICOM data set; empty where the header has none.

    The patient is the issuer and the patient's ID, or the study where there is no ID.
    """
    study = str(dataset.get("StudyInstanceUID") or "").strip()
    patient = str(dataset.get("PatientID") or "").strip()
    if patient:
        issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
        patient = f"{issuer}:{patient}" if issuer else patient
    return pseudonyms.of(patient or study), pseudonyms.of(study)


def kind_of_pixels(dataset: Any) -> str:
    """Return the photometric interpretation; empty where it is none of DICOM's own.

    Anything else could be whatever a machine wrote there, and goes into manifests.
    """
    kind = str(dataset.get("PhotometricInterpretation") or "").strip()
    return kind if kind in PHOTOMETRIC else ""


def is_dicom_name(path: Path) -> bool:
    """Say whether a file's name is that of a DICOM file."""
    return path.suffix.lower() in SUFFIXES
