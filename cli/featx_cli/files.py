"""Writing what a user asked to have in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from featx_cache.errors import StorageError
from featx_cache.files import atomic_path, storage_errors


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, or not at all.

    Raises
    ------
    StorageError
        When it can't be written.
    """
    with text_file(path) as file:
        file.write(text)


@contextlib.contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears when the block ends well, and not when it doesn't.

    File names in it that aren't UTF-8 go out as they came in.

    Raises
    ------
    StorageError
        When it can't be written.
    """
    if path.is_dir():
        raise StorageError(f"can't write {path}: it is a folder", "Give the path of a file.")
    new = [folder for folder in path.parents if not folder.exists()]
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield file
    except BaseException:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
