"""Files of an upload, one after another as they arrive: none waits for the others.

Up to 1 MiB of a file is kept in memory, and a larger one in a file without a name in the folder of
the worklist's images. What was sent lies nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from anyio import to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from featx.serving._problems import Problem
from featx.worklist import Limits
from featx_cache.files import storage_errors

if TYPE_CHECKING:
    from fastapi import Request
    from python_multipart.multipart import MultipartCallbacks

FIELD = "images"
"""Field of a form that has the files. Others are left out."""

FORM = "multipart/form-data"
MEDIA_TYPES = ("application/dicom", "application/octet-stream")
"""Types of a body that is one file. All ``image/`` types are such, too."""

MAX_NAME = 200
_MEMORY_BYTES = 2**20
_MAX_OTHER_PARTS = 100


class ReceivedFile:
    """File of an upload. Whoever gets it closes it.

    Attributes
    ----------
    name
        Name as it was sent. Empty if it has none.
    content
        Content. Its end is missing if it is too large.
    too_large
        Whether it is larger than is taken.
    """

    def __init__(self, name: str, folder: Path, most: int) -> None:
        self.name, self.too_large = name, False
        self.content = SpooledTemporaryFile(max_size=_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self._folder, self._most, self._size = folder, most, 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent."""
        return not self._size

    async def write(self, block: bytes) -> None:
        """Add what arrived."""
        self._size += len(block)
        if self._size > self._most:
            self.too_large = True
        elif self._size <= _MEMORY_BYTES:
            self.content.write(block)
        else:
            await to_thread.run_sync(self._write, block)

    def _write(self, block: bytes) -> None:
        with storage_errors(self._folder):
            self.content.write(block)


async def receive_files(
    request: Request, folder: Path, limits: Limits
) -> AsyncIterator[ReceivedFile]:
    """Yield the files of a request, each as soon as it is complete.

    Raises
    ------
    Problem
        If the body is broken, of another type, or has too many files.
    StorageError
        If the disk is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    media = kind.decode("latin-1")
    if media == FORM:
        form = _Form(options.get(b"boundary", b""))
        async for file in form.files(request, folder, limits):
            yield file
    elif media.startswith("image/") or media in MEDIA_TYPES:
        file = ReceivedFile("", folder, limits.file_bytes)
        async for block in request.stream():
            await file.write(block)
        if not file.is_empty:
            yield file
    else:
        raise Problem(
            415,
            "media-type",
            "the body is neither a form nor an image",
            f"Send {FORM} with files in the field `{FIELD}`, or one image.",
        )


@dataclass(frozen=True, slots=True)
class _Begin:
    """Begin of a part: the name of its file, or None if it is none of the field."""

    name: str | None


class _Form:
    """A form, as it arrives. The parser calls the methods that begin with ``on_``."""

    def __init__(self, boundary: bytes) -> None:
        if not boundary:
            raise _broken()
        self._events: list[_Begin | bytes | None] = []
        self._field = self._value = self._disposition = b""
        self._files = self._others = 0
        self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_part_end": self.on_part_end,
            "on_end": self.on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:  # it is too long
            raise _broken() from None

    async def files(
        self, request: Request, folder: Path, limits: Limits
    ) -> AsyncIterator[ReceivedFile]:
        """Yield the files as they are complete."""
        file: ReceivedFile | None = None
        async for block in request.stream():
            whole = self._parse(block)
            for event in self._take(limits):
                if isinstance(event, _Begin):
                    if event.name is not None:
                        file = ReceivedFile(event.name, folder, limits.file_bytes)
                elif file is None:
                    continue
                elif event is not None:
                    await file.write(event)
                else:
                    yield file
                    file = None
            if not whole:
                raise _broken()
        if not self._ended:
            raise _broken()

    def _parse(self, block: bytes) -> bool:
        try:
            self._parser.write(block)
        except FormParserError:
            return False
        return True

    def _take(self, limits: Limits) -> Iterator[_Begin | bytes | None]:
        """Yield what was parsed, and forget it."""
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, _Begin):
                self._files += event.name is not None
                self._others += event.name is None
                if self._files > limits.request_files or self._others > _MAX_OTHER_PARTS:
                    raise Problem(
                        413,
                        "too-many-files",
                        f"the upload has more than {limits.request_files} files, or too many "
                        "other fields",
                        "Send the rest in another one.",
                    )
            yield event

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename", b"").decode(errors="replace")[-MAX_NAME:]
        self._events.append(_Begin(name if options.get(b"name") == FIELD.encode() else None))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def on_part_end(self) -> None:
        self._events.append(None)

    def on_end(self) -> None:
        self._ended = True


def _broken() -> Problem:
    return Problem(400, "form", "the form is broken, or it ends too early", "Send it again.")
