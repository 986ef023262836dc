"""Standard output and error that fail: the disk is full, or the reader has left."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from featx_cache._errors import FeatxError
from featx_cache.files._outputs import ReaderLeftError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT, _STDERR = 1, 2


class StandardOutputError(FeatxError):
    """Standard output can't be written to."""


def guard_standard_streams() -> None:
    """Let standard output raise the errors above, and standard error never fail."""
    sys.stdout = _guarded(sys.stdout, _STDOUT)
    sys.stderr = _guarded(sys.stderr, _STDERR)


def _guarded(stream: TextIO, number: int) -> TextIO:
    """Put a stream on a guarded file, if it is the process's own."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        if stream.fileno() != number:
            return stream
    except io.UnsupportedOperation:  # it is in memory
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(number, "wb", closefd=False)),
        stream.encoding,
        # File names are bytes. Names that aren't UTF-8 go out as they came in.
        "surrogateescape" if number == _STDOUT else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Guarded(io.FileIO):
    """Writes to a file descriptor. After the first failure it writes to nowhere.

    Otherwise the rest of the buffers would fail once more at the end of Python.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self.fileno() == _STDERR:
                return len(memoryview(data).cast("B"))
            if isinstance(error, BrokenPipeError):
                raise ReaderLeftError from error
            raise StandardOutputError(
                f"can't write to standard output: {(error.strerror or str(error)).lower()}",
                "Free some space, or send it elsewhere.",
            ) from error
