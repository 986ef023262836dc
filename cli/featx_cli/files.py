"""Files that a user wants to have written."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

from featx_cache._errors import InputError
from featx_cache.files._outputs import STANDARD_OUTPUT, is_stream, output_path, output_stream

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that are there already, but never an input.")
]


def require_output(
    path: Path | None,
    option: str,
    *,
    force: bool,
    inputs: Iterable[Path] = (),
) -> None:
    """Refuse the name of an output before the long work.

    Parameters
    ----------
    path
        File to write. Pipes, character devices and ``-`` are accepted. None is no file.
    option
        Option that named it.
    force
        Whether a file that is there may be replaced.
    inputs
        Files and folders that the command reads. They are never replaced, and neither are files in
        runs and caches among them, nor images anywhere.
    """
    if path is None or is_stream(path) or not path.exists():
        return
    another = f"Give another {option}."
    for each in _files_of(inputs):
        with contextlib.suppress(OSError):
            if path.samefile(each):
                raise InputError(f"{path} is what is read ({each}), and is not replaced", another)
    if _is_image(path):
        raise InputError(f"{path} is an image, and is not replaced", another)
    if not force:
        raise InputError(
            f"{path} exists already", f"Give another {option}, or --force to replace it."
        )


def _files_of(inputs: Iterable[Path]) -> Iterator[Path]:
    """List the inputs, and the files of the runs and caches among them."""
    from featx.runs._record import RECORD_NAME
    from featx_cache._index import INDEX_NAME, SHARDS_NAME

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
    from featx_cache.files import open_regular

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


def write_text(path: Path, text: str, *, force: bool) -> None:
    """Write a text file whole, or not at all."""
    with text_file(path, force=force) as file:
        file.write(text)


@contextlib.contextmanager
def text_file(path: Path, *, force: bool) -> Iterator[TextIO]:
    """Open a text file that appears only if the block ends without an error.

    Pipes, devices and standard output (``-``) get the text as it is written. File names that
    aren't UTF-8 go out as they came in.
    """
    with contextlib.ExitStack() as stack:
        if is_stream(path):
            file = stack.enter_context(output_stream(path))
        else:
            temporary = stack.enter_context(output_path(path, replace=force))
            file = stack.enter_context(temporary.open("wb"))
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes; closing would close standard output, too


def to_standard_output(path: Path | None) -> bool:
    """Say whether a result goes to standard output. Then nothing else goes there."""
    return path == STANDARD_OUTPUT
