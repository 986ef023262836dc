"""Files that a user wants to have written."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

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
    """Refuse the name of an output before the long work; None is no file.

    Raises
    ------
    InputError
        See `featx.runs._outputs.require_output`.
    """
    if path is None or is_stream(path) or not path.exists():
        return
    from featx.runs._outputs import require_output as require  # which takes a second to import

    require(path, option, force=force, inputs=inputs)


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
