"""Writing what a user asked to have in a file."""

from __future__ import annotations

from pathlib import Path

from featx_cache.errors import StorageError
from featx_cache.files import atomic_path, storage_errors


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, or not at all.

    Raises
    ------
    StorageError
        When it can't be written.
    """
    if path.is_dir():
        raise StorageError(f"can't write {path}: it is a folder", "Give the path of a file.")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
