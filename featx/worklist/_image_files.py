"""Files of the images on the disk, each named by its identifier."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from pathlib import Path

from featx.errors import StorageError
from featx.worklist._arrivals import TEMPORARY_PREFIX, Arrival
from featx.worklist._items import ID_DIGITS, SHOWN_DIGITS
from featx_cache._text import printable
from featx_cache.files import make_folder, storage_errors, sync

NAME_SUFFIX = ".name"
"""Suffix of the file that has the name of an image, beside it."""

MAX_NAME = 200
_OWN_FOLDER = re.compile("[0-9a-f]{2}")
_OWN_FILE = re.compile(rf"(\.?)([0-9a-f]{{{ID_DIGITS}}})\..+")
"""Image, its name or its picture. With a point before it, a temporary file of one of these."""


class ImageFiles:
    """A folder of image files, which only their owner may read.

    Parameters
    ----------
    folder
        The folder. It is made if it isn't there.

    Raises
    ------
    StorageError
        If it can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        with storage_errors(folder):
            folder.chmod(0o700)

    def require_folder(self) -> None:
        """Raise a StorageError if somebody took the folder away."""
        if not self.folder.is_dir():
            raise StorageError(f"the folder {self.folder} is gone", "Put it back, or start again.")

    def require_images(self) -> None:
        """Raise a StorageError if the folder has nothing in it, or isn't there."""
        self.require_folder()
        with storage_errors(self.folder):
            if not any(self.folder.iterdir()):
                raise StorageError(f"the folder {self.folder} is empty", "Put its images back.")

    def path(self, identifier: str, suffix: str) -> Path:
        """Return the place of an image's file."""
        return self.folder / identifier[:2] / f"{identifier}{suffix}"

    def name(self, identifier: str, suffix: str) -> str:
        """Return the name that an image's file was given, or a made one."""
        try:
            file = self.path(identifier, NAME_SUFFIX)
            name = file.read_text(errors="replace")
        except OSError:
            name = ""
        return name or made_name(identifier, suffix)

    def put(self, arrived: Arrival, name: str) -> None:
        """Put a file that arrived in its place, on the disk and not only into memory."""
        target = self.path(arrived.id, arrived.suffix)
        with storage_errors(target):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if arrived.format != "DICOM" and name:
                shown = printable(name)[-MAX_NAME:].encode(errors="replace")
                _write(self.path(arrived.id, NAME_SUFFIX), shown)
            arrived.file.replace(target)
            sync(target.parent)
            # Also if the folder was there: whoever made it may have been killed before this.
            sync(self.folder)

    def remove(self, identifier: str) -> None:
        """Remove all files of an image."""
        folder = self.path(identifier, "").parent
        with storage_errors(folder):
            for path in folder.glob(f"{identifier}.*"):
                path.unlink(missing_ok=True)

    def remove_strays(self, kept: Container[str]) -> None:
        """Remove what a crash left: files of images that aren't kept. Others stay."""
        with storage_errors(self.folder):
            for path in self.folder.iterdir():
                if path.is_symlink():
                    continue
                if path.name.startswith(TEMPORARY_PREFIX) and path.is_file():
                    path.unlink()
                elif _OWN_FOLDER.fullmatch(path.name) and path.is_dir():
                    for file in path.iterdir():
                        own = _OWN_FILE.fullmatch(file.name)
                        if own and (own[1] or own[2] not in kept) and not file.is_dir():
                            file.unlink()


def made_name(identifier: str, suffix: str) -> str:
    """Return a name that names nobody."""
    return f"{identifier[:SHOWN_DIGITS]}{suffix}"


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
