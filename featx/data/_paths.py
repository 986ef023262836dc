"""Paths as people and other computers write them, found on this disk."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class WrittenPaths:
    """Finds files whose paths were written with backslashes, ``~`` or other accents.

    Parameters
    ----------
    root
        The folder that paths are relative to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, list[str]] = {}

    def on_disk(self, path: str) -> str:
        """Return the path as the disk has it, or as it was where it doesn't lead to one file.

        A file that has the very name goes first: a backslash may be part of a name.
        """
        if (path.isascii() and "\\" not in path and path[:1] != "~") or self._is_there(path):
            return path
        found = self._find(os.path.expanduser(path.replace("\\", "/")))  # noqa: PTH111
        return path if found is None else found

    def is_of_windows(self, path: str) -> bool:
        """Say whether a path begins with a drive of Windows, and no file here has that name."""
        return _DRIVE.match(path) is not None and not self._is_there(path)

    def _is_there(self, path: str) -> bool:
        return os.path.lexists(self._root / path)

    def _find(self, path: str) -> str | None:
        """Follow a path whose accents may be characters of their own on the disk, or not."""
        found = PurePosixPath()
        for part in PurePosixPath(path).parts:
            name: str | None = part
            if not self._is_there(str(found / part)):
                name = self._same(str(found), part)
            if name is None:
                return None
            found /= name
        return str(found)

    def _same(self, folder: str, name: str) -> str | None:
        if folder not in self._names:
            try:
                self._names[folder] = [entry.name for entry in (self._root / folder).iterdir()]
            except OSError:
                self._names[folder] = []
        wanted = unicodedata.normalize("NFC", name)
        same = [n for n in self._names[folder] if unicodedata.normalize("NFC", n) == wanted]
        return same[0] if len(same) == 1 else None
