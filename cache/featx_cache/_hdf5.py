"""Checks that an HDF5 file from elsewhere holds its own data, and no more than it has room for.

HDF5 would follow links to any file that the reader may read, show it as a dataset of this one, and
make an array of whatever size the header says before it looks for the data.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from featx_cache.files._atomic import open_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAX_EXPANSION = 100
"""Most bytes in memory for each byte of compressed data on disk, beyond `FREE_BYTES`."""
FREE_BYTES = 2**26
"""Bytes that compressed data may always have in memory."""

UNREADABLE_FILE_ERRORS = (
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""Errors of h5py, and of code that reads on, in a damaged or a hostile file."""

_WRITING_FLAG = 1
"""In byte 11 of a file of superblock 2 or 3: see "File Consistency Flags" of HDF5's format."""


class OpenElsewhereError(OSError):
    """Another program has the file open for writing."""


AllowSource = Callable[[str, str], bool]
"""Function that says whether a virtual dataset may show a dataset of a file."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, if it is a regular file that nobody is writing to.

    HDF5 itself would wait for ever for the writer of a pipe, and can't read on a file system
    without locks, as some network file systems are. Files of featx appear whole under their names,
    so they need no lock. It only tells of other programs.
    """
    with open_regular(path) as raw:
        require_no_writer(raw, path)
        with _opened_with_or_without_lock(path) as file:
            yield file


def _opened_with_or_without_lock(path: Path) -> h5py.File:
    """Open a file with the locking with which this process has it open, or without a lock."""
    for locking in (None, True):
        with contextlib.suppress(OSError):
            return h5py.File(path, "r", locking=locking)
    return h5py.File(path, "r", locking=False)


def require_no_writer(file: BinaryIO, path: Path) -> None:
    """Refuse an HDF5 file that another program has open for writing.

    Its lock says so. Without locks, the flag says so that HDF5 leaves in the file meanwhile.
    Until `file` is closed, no other program can open it for writing with a lock.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise OpenElsewhereError(f"{path} is open for writing in another program") from error
    start = file.read(12)
    file.seek(0)
    if start[8:9] in (b"\2", b"\3") and start[-1] & _WRITING_FLAG:
        raise OpenElsewhereError(
            f"{path} is open for writing in another program, or was when that died"
        )


def member(file: h5py.File, name: str) -> Any:
    """Return a group or dataset by a name such as ``rows/copy``. Refuse links to other places."""
    found: Any = file
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise KeyError(f"there is no {name}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name} is a link to another place")
        found = found[part]
    return found


def dataset(
    file: h5py.File,
    name: str,
    kinds: str,
    dimensions: int | None = None,
    *,
    sources: AllowSource | None = None,
) -> h5py.Dataset:
    """Return a dataset of a file that holds its own data, without reading it.

    Parameters
    ----------
    file, name
        See `member`.
    kinds
        NumPy's letters of the types that are allowed, such as ``f`` or ``iu``.
    dimensions
        Number of its dimensions. None is any number but 0.
    sources
        Sources that it may have if it is virtual. None allows no virtual dataset.
    """
    found = member(file, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise ValueError(f"{name} is not a table")
    if found.dtype.kind not in kinds:
        raise ValueError(f"{name} holds {found.dtype}")
    if found.ndim == 0 or dimensions not in (None, found.ndim):
        raise ValueError(f"{name} has the shape {found.shape}")
    _require_own_data(found, name, sources)
    return found


def text_attribute(file: h5py.File, name: str) -> str:
    """Return an attribute that is text, or an empty text if it isn't there."""
    value = file.attrs.get(name, "")
    if isinstance(value, bytes | np.bytes_):
        return value.decode()
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name} is not text")
    return value


def require_own(file: h5py.File) -> None:
    """Refuse a file in which anything is a link, another file's data, or larger than it can be."""
    seen: set[int] = set()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        above, group = waiting.pop()
        for name in group:
            path = f"{above}{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{path} is a link to another place")
            found = group[name]
            if isinstance(found, h5py.Dataset):
                _require_own_data(found, path, None)
            elif isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address not in seen:  # a group may hold itself
                    seen.add(address)
                    waiting.append((f"{path}/", found))


def _require_own_data(held: h5py.Dataset, path: str, sources: AllowSource | None) -> None:
    properties = held.id.get_create_plist()
    if properties.get_external_count():
        raise ValueError(f"{path} shows data of another file")
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        for number in range(properties.get_virtual_count()):
            source = os.fsdecode(properties.get_virtual_filename(number))
            if sources is None or not sources(source, properties.get_virtual_dsetname(number)):
                raise ValueError(f"{path} shows data of another file ({source})")
        return
    if held.shape is None or not held.size:
        return
    # A chunk is unpacked whole, however little of it is used.
    elements = max(math.prod(held.shape), math.prod(held.chunks or ()))
    stored = min(held.id.get_storage_size(), held.file.id.get_filesize())
    room = MAX_EXPANSION * stored + FREE_BYTES if properties.get_nfilters() else stored
    if elements * held.dtype.itemsize > room:
        raise ValueError(f"{path} says that it is {held.shape}, and holds {stored} bytes")
