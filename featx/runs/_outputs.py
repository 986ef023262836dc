"""What may be replaced by a file that a user wants to have written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from featx.errors import InputError
from featx.runs._record import RECORD_NAME
from featx_cache._index import INDEX_NAME, SHARDS_NAME
from featx_cache.files import is_stream, open_regular


def require_output(
    path: Path, name: str, *, force: bool, inputs: Iterable[str | Path] = ()
) -> None:
    """Refuse the name of an output before the long work.

    Parameters
    ----------
    path
        File to write. Pipes, character devices and ``-`` are accepted.
    name
        Parameter or option that named it, as messages call it.
    force
        Whether a file that is there may be replaced.
    inputs
        Files and folders that are read. They are never replaced, and neither are files in runs and
        caches among them, nor images anywhere.

    Raises
    ------
    InputError
        If something is there that can't or may not be replaced.
    """
    if is_stream(path) or not path.exists():
        return
    another = f"Give another {name}."
    for each in _files_of(map(Path, inputs)):
        with contextlib.suppress(OSError):
            if path.samefile(each):
                raise InputError(f"{path} is what is read ({each}), and is not replaced", another)
    if _is_image(path):
        raise InputError(f"{path} is an image, and is not replaced", another)
    if not force:
        raise InputError(
            f"{path} exists already", f"Give another {name}, or `force=True` to replace it."
        )


def _files_of(inputs: Iterable[Path]) -> Iterator[Path]:
    """List the inputs, and the files of the runs and caches among them."""
    for each in inputs:
        yield each
        if any((each / name).exists() for name in (RECORD_NAME, INDEX_NAME, SHARDS_NAME)):
            for folder, _, names in os.walk(each):
                yield from (Path(folder, name) for name in names)


def _is_image(path: Path) -> bool:
    """Say whether a file is an image by its name or its content."""
    from PIL import Image

    from featx.data import PILLOW_FORMATS, is_image
    from featx.data._dicom import looks_like_dicom

    if is_image(Path(os.path.realpath(path))):
        return True
    try:
        with open_regular(path) as file:
            if looks_like_dicom(file):
                return True
            file.seek(0)
            with Image.open(file, formats=PILLOW_FORMATS):
                return True
    except Exception:  # noqa: BLE001 - libraries of images have many words for "no image"
        return False
