"""Zip files of models and arrays made to do harm, for the tests that try to break featx."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EXPLODED = Path(tempfile.gettempdir()) / f"featx-exploded-{os.getpid()}"
"""File that a `Bomb` in an array makes. The fixture `unharmed` looks for it."""

Members = dict[str, bytes]
Spoil = Callable[[Members, Path], Members]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def explode(path: Path, content: Members, name: str) -> Path:
    """Put a member of 256 MB of zeros, 1 MB on disk, in the place of another."""
    write(path, {key: data for key, data in content.items() if key != name})
    block = bytes(2**20)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(2**8):
            member.write(block)
    return path


def member(name: str, data: bytes = b"harm") -> Spoil:
    return lambda content, folder: {**content, name.replace("FOLDER", str(folder)): data}


def without(name: str) -> Spoil:
    return lambda content, folder: {k: v for k, v in content.items() if k != name}  # noqa: ARG005


def npy(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """A header of NumPy's format with no data behind it."""
    buffer = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": descr}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def objects_in_npy() -> bytes:
    np.save(buffer := io.BytesIO(), np.array([Bomb(EXPLODED)]), allow_pickle=True)
    return buffer.getvalue()


def npz_of_objects() -> bytes:
    np.savez(buffer := io.BytesIO(), x=np.array([Bomb(EXPLODED)], object))
    return buffer.getvalue()


def untouched(folder: Path, *expected: str) -> bool:
    return {path.name for path in folder.rglob("*")} == set(expected)
