"""Images in an ``.npz`` file of the MedMNIST layout, read one at a time."""

from __future__ import annotations

import contextlib
import re
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from featx._archives import require_modest
from featx.errors import InputError
from featx_cache._text import first_line
from featx_cache.files import open_regular

_ROW_PATH = re.compile(r"^(?P<file>.+\.npz)#(?P<array>\w+)/(?P<row>\d+)$", re.DOTALL)
LARGEST_IMAGE = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""Pixels of the largest image that is decoded, Pillow's limit against decompression bombs."""
_OPEN_ARRAYS = 8
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """Shape and type of an array in the file."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def is_row_path(path: str | Path) -> bool:
    """Say whether a path is that of an image in an ``.npz`` file, ``FILE.npz#ARRAY/ROW``."""
    return ".npz#" in str(path) and _ROW_PATH.match(str(path)) is not None


def row_path(file: str, array: str, row: int) -> str:
    """Name an image in an ``.npz`` file."""
    return f"{file}#{array}/{row}"


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read one image by its path, without reading the images behind it.

    It has shape (height, width) or (height, width, 3). An OSError or ValueError says that the file
    or the array isn't there or is damaged.
    """
    match = _ROW_PATH.match(str(path))
    if match is None:
        raise ValueError("not an image in an .npz file")
    file = Path(match["file"])
    now = file.stat()
    version = now.st_ino, now.st_mtime_ns, now.st_size
    stream = _stream(file, match["array"], threading.get_ident(), version)
    return stream.row(int(match["row"]))


def arrays_in(path: Path) -> dict[str, ArrayHeader]:
    """List the arrays in an ``.npz`` file."""
    with _input_errors(path), open_regular(path) as file, zipfile.ZipFile(file) as archive:
        found = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                found[name.removesuffix(".npy")] = _header(member)
        return found


def read_array(path: Path, name: str) -> NDArray[np.generic]:
    """Read a whole, small array. Nothing in it is unpickled."""
    with _input_errors(path):
        require_modest(path, only=f"{name}.npy")
        with np.load(path, allow_pickle=False) as archive:
            array: NDArray[np.generic] = archive[name]
            return array


@contextlib.contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # zipfile, zlib and NumPy have many words for damage
        raise InputError(
            f"{path} can't be read as an .npz file ({first_line(error)[:200]})",
            "Download or write it again.",
        ) from error


class _RowStream:
    """An array of images inside the archive, read row by row.

    Reading on is cheap. Going back starts the decompression anew.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name, self._archive = name, zipfile.ZipFile(open_regular(path))
        self._member = self._archive.open(f"{name}.npy")
        header = _header(self._member)
        if header.dtype != np.uint8 or len(header.shape) not in (3, 4):
            raise ValueError(f"{name} is not an array of 8-bit images")
        if prod(header.shape[1:3]) > LARGEST_IMAGE or prod(header.shape[3:]) > 3:
            raise ValueError(f"an image of {header.shape[1:]} is too large")
        self._start, self._shape = self._member.tell(), header.shape

    def row(self, number: int) -> NDArray[np.uint8]:
        if not 0 <= number < self._shape[0]:
            raise ValueError(f"there are {self._shape[0]} images, and no number {number}")
        length = prod(self._shape[1:])
        with _readable(self._name):
            self._go_to(self._start + number * length)
            data = self._member.read(length)
        if len(data) != length:
            raise ValueError("the array ends too early")
        return np.frombuffer(data, np.uint8).reshape(self._shape[1:])

    def _go_to(self, position: int) -> None:
        """Move to a byte, by reading on if possible: `seek` reads in very large steps."""
        if position < self._member.tell():
            self._member.seek(0)
        while (left := position - self._member.tell()) > 0:
            if not self._member.read(min(left, _READ_BYTES)):
                return


@lru_cache(_OPEN_ARRAYS)
def _stream(path: Path, name: str, thread: int, version: tuple[int, ...]) -> _RowStream:
    """Open an array once a thread, as a stream has one position, and anew when the file changed."""
    del thread, version
    with _readable(name):
        return _RowStream(path, name)


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ValueError(f"there is no array {name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"not a readable .npz file ({error})") from error


def _header(member: IO[bytes]) -> ArrayHeader:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(member)
    else:
        shape, fortran, dtype = npy.read_array_header_2_0(member)
    if fortran and len(shape) > 1:
        raise ValueError("its arrays are in Fortran order")
    if any(length < 0 for length in shape):
        raise ValueError(f"an array of the shape {shape}")
    return ArrayHeader(shape, dtype)
