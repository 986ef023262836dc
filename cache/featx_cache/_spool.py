"""A file for HDF5 to write to that never fails under it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Spool(io.RawIOBase):
    """A file whose writes succeed as far as HDF5 can tell; the first failure is kept for later.

    HDF5 can't recover from a disk that fills up while it writes: closing the file fails too, and
    a process may hang or crash at its exit. Making the file in memory first would avoid that, but
    the index of a million images is 150 MB. So what finds no room is kept in memory: HDF5 reads
    back some of what it wrote, and crashes when it gets something else. Open one with `spooled`,
    and `check` it often, so that little has to be kept.

    Attributes
    ----------
    error : OSError or None
        The first write that failed. What is in the file then is worth nothing.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._position = 0
        self._kept: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the failure that HDF5 wasn't told of, if there was one.

        Raises
        ------
        OSError
        """
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is touched before a read or write."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size()}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the whole buffer; what was never written reads as zeros."""
        view = memoryview(buffer).cast("B")
        content = b""
        with self._noting_errors():
            self._raw.seek(self._position)
            content = self._raw.read(len(view)) or b""
        view[:] = content.ljust(len(view), b"\0")
        for position, kept in self._kept:
            start = max(position, self._position)
            stop = min(position + len(kept), self._position + len(view))
            if start < stop:
                part = kept[start - position : stop - position]
                view[start - self._position : stop - self._position] = part
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Write everything, or keep it and note why it couldn't be written."""
        view = memoryview(data).cast("B")
        if self.error is None:
            with self._noting_errors():
                self._raw.seek(self._position)
                done = 0
                while done < len(view):
                    done += self._raw.write(view[done:]) or 0
        if self.error is not None:
            self._kept.append((self._position, bytes(view)))
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the size of the file."""
        size = self._position if size is None else size
        if self.error is None:
            with self._noting_errors():
                self._raw.truncate(size)
        return size

    def readable(self) -> bool:
        """HDF5 reads back what it wrote."""
        return True

    def writable(self) -> bool:
        """Writing is what it is for."""
        return True

    def seekable(self) -> bool:
        """HDF5 writes here and there."""
        return True

    def _size(self) -> int:
        ends = [position + len(kept) for position, kept in self._kept]
        return max([self._raw.seek(0, io.SEEK_END), *ends])

    @contextlib.contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error


@contextlib.contextmanager
def spooled(path: Path) -> Iterator[Spool]:
    """Open a new file for HDF5 to write to.

    Raises
    ------
    OSError
        At the end of the block, whatever HDF5 made of it, when something couldn't be written.
    """
    with io.FileIO(path, "w+") as raw:
        spool = Spool(raw)
        try:
            yield spool
        finally:
            # What HDF5 complains about after a failed write is only its echo.
            spool.check()
