"""A file that comes in: copied to the disk within limits, checked, and hashed by its content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from featx.data._dicom import Pseudonyms
from featx.data._file_facts import read_facts
from featx.worklist._items import ID_DIGITS, Limits, RefusedImageError
from featx_cache.files import storage_errors

TEMPORARY_PREFIX = ".arriving-"
_BLOCK = 2**20
_SUFFIXES = {
    "JPEG": ".jpeg", "MPO": ".jpeg", "PNG": ".png", "TIFF": ".tiff", "BMP": ".bmp",
    "WEBP": ".webp", "DICOM": ".dcm",
}  # fmt: skip
_PREAMBLE = 132
_GROUP_LENGTH = struct.Struct("<HH2sHI")
_ELEMENT = struct.Struct("<H2x2sH")
_LONG_KINDS = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"UC", b"UR", b"OF", b"OD", b"OL", b"OV")
"""Value representations whose lengths have four bytes, after two that are zero."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Image file that is on the disk, under a temporary name.

    Attributes
    ----------
    file
        The temporary file.
    id
        Identifier. See `featx.worklist.Item.id`.
    format, suffix
        Its format, and the suffix of such files.
    patient, study
        Pseudonyms from a DICOM header, or empty texts.
    """

    file: Path
    id: str
    format: str
    suffix: str
    patient: str
    study: str


@contextlib.contextmanager
def arrival(
    content: IO[bytes], folder: Path, limits: Limits, pseudonyms: Pseudonyms
) -> Iterator[Arrival]:
    """Copy a file into a folder and check it. After the block the temporary file is gone.

    Raises
    ------
    RefusedImageError
        If it is too large, or no image that featx reads.
    StorageError
        If it can't be written.
    OSError
        If it can't be read.
    """
    with storage_errors(folder):
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
        path = Path(name)
    try:
        with storage_errors(folder), os.fdopen(handle, "wb") as file:
            _copy(content, file, limits.file_bytes)
        facts = read_facts(path, pseudonyms)
        if facts.problem:
            raise RefusedImageError(facts.problem)
        if facts.width * facts.height > limits.pixels:
            raise RefusedImageError(
                f"an image of {facts.width} x {facts.height} pixels, of which "
                f"{limits.pixels:,} are taken at most",
                kind="pixels",
            )
        suffix = _SUFFIXES.get(facts.source, ".img")
        digest = _content_digest(path) if facts.source == "DICOM" else facts.sha256
        yield Arrival(path, digest[:ID_DIGITS], facts.source, suffix, facts.patient, facts.study)
    except _SourceError as error:
        raise error.cause from None
    finally:
        path.unlink(missing_ok=True)


class _SourceError(Exception):
    """The file that comes in can't be read, which the disk of the worklist has no part in."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause


def _read(content: IO[bytes]) -> bytes:
    try:
        return content.read(_BLOCK)
    except OSError as error:
        raise _SourceError(error) from error


def _copy(content: IO[bytes], file: IO[bytes], limit: int) -> None:
    copied = 0
    while block := _read(content):
        copied += len(block)
        if copied > limit:
            raise RefusedImageError(f"a file of more than {limit // 2**20} MiB", kind="size")
        file.write(block)
    file.flush()
    os.fsync(file.fileno())


def _content_digest(path: Path) -> str:
    """Hash a DICOM file without its file meta information, which every program writes anew."""
    with path.open("rb") as file:
        file.seek(_end_of_meta(file))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _end_of_meta(file: IO[bytes]) -> int:
    """Return where the file meta information ends. If its length isn't what it says, return 0.

    A wrong length could leave out what tells one image from another.
    """
    start = file.read(_PREAMBLE + _GROUP_LENGTH.size)
    if start[_PREAMBLE - 4 : _PREAMBLE] != b"DICM" or len(start) < _PREAMBLE + _GROUP_LENGTH.size:
        return 0
    group, element, kind, _, length = _GROUP_LENGTH.unpack_from(start, _PREAMBLE)
    if (group, element, kind) != (2, 0, b"UL"):
        return 0
    end = file.tell() + length
    while file.tell() < end:
        head = file.read(_ELEMENT.size)
        if len(head) < _ELEMENT.size:
            return 0
        group, kind, size = _ELEMENT.unpack(head)
        if group != 2:
            return 0
        if kind in _LONG_KINDS:
            size = int.from_bytes(file.read(4), "little")
        file.seek(size, os.SEEK_CUR)
    following = file.read(2)
    return end if file.tell() == end + 2 and following != b"\2\0" else 0
