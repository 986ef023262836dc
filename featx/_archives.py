"""Zip files from elsewhere, such as models and arrays, which may try to do harm."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from numpy.lib import format as npy

from featx_cache.files import open_regular

MAX_EXPANSION = 20
"""Most bytes in memory for each byte on disk, beyond `FREE_BYTES`. Weights and embeddings shrink to
half at best."""
FREE_BYTES = 2**26
"""Bytes that an archive may always have in memory."""
MAX_JSON_BYTES = 2**25
"""Most bytes of a member in JSON, which takes twenty times as much memory when it is read."""


def require_modest(path: Path, only: str | None = None) -> None:
    """Refuse a zip file that could write outside its folder, or fill the memory, with a ValueError.

    Only names and headers are read, those of one member alone if it is named as `only`.
    """
    try:
        _look_through(path, only)
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy have many words for damage
        reason = str(error) or type(error).__name__
        raise ValueError(f"it isn't a readable zip file ({reason})") from error


def _look_through(path: Path, only: str | None) -> None:
    seen: set[str] = set()
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        room = MAX_EXPANSION * os.fstat(file.fileno()).st_size + FREE_BYTES
        for info in archive.infolist():
            if only not in (None, info.filename):
                continue
            _require_plain(info)
            if info.filename in seen:
                raise ValueError(f"its member {info.filename} is there twice")
            seen.add(info.filename)
            room -= info.file_size
            described = info.filename.endswith(".json") and info.file_size > MAX_JSON_BYTES
            if room < 0 or described:
                raise ValueError(
                    f"its member {info.filename} of {info.compress_size} bytes would be unpacked "
                    f"to {info.file_size}"
                )
            if info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    _require_whole(member, info)


def _require_plain(info: zipfile.ZipInfo) -> None:
    """Refuse absolute names, drives, ``..`` and symbolic links."""
    name = PurePosixPath(info.filename)
    other = PureWindowsPath(info.filename)
    if ".." in (*name.parts, *other.parts) or name.is_absolute() or other.drive or other.root:
        raise ValueError(f"its member {info.filename!r} leads out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError(f"its member {info.filename!r} is a link")


def _require_whole(member: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Refuse an array whose header says more than there is: NumPy would make room for it."""
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"its member {info.filename} says that it is an array of {shape}")
    if dtype.hasobject:
        raise ValueError(f"its member {info.filename} holds pickled objects")
