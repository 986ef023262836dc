"""Image files among the paths that a user gave: files as they are, folders with all below them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from featx._arguments import wrong_type
from featx.data import in_words, walk_images
from featx.errors import InputError

Images: TypeAlias = str | Path | Iterable[str | Path]
"""Image file, folder with images anywhere below it, or several of these."""


def find_images(
    paths: Iterable[str | Path], left_out: Counter[str] | None = None
) -> Iterator[Path]:
    """Find image files: files as given, folders with everything below them.

    All paths are checked before the first image is given. Folders are walked through as images are
    asked for.

    Parameters
    ----------
    paths
        Files and folders. A file that is named is given, whatever it is.
    left_out
        Counter of the files in folders that were left out, by reason. It grows while folders are
        walked through. `featx.data.in_words` says it in a line.

    Returns
    -------
    iterator of Path
        Image files. Those of a folder are sorted.

    Raises
    ------
    InputError
        If a path doesn't exist or a folder has no images.

    Examples
    --------
    >>> list(find_images(["new_patients", "a.dcm"]))  # doctest: +SKIP
    """
    given = [_as_path(path) for path in paths]
    for path in given:
        if path.is_dir():
            others: Counter[str] = Counter()
            if next(walk_images(path, others), None) is None:
                said = f" ({in_words(others)})" if others else ""
                raise InputError(
                    f"no images in {path}{said}", "Give image files, or folders that have some."
                )
        elif not path.exists():
            raise InputError(f"there is no image or folder {path}", "Check the path.")
    return (
        image
        for path in given
        for image in (walk_images(path, left_out) if path.is_dir() else (path,))
    )


def list_images(images: Images, left_out: Counter[str] | None = None) -> list[Path]:
    """Return the image files that were given, and those in folders. See `find_images`."""
    if isinstance(images, pd.DataFrame):
        raise wrong_type("images", images, "a path or several paths, such as `table['path']`")
    if isinstance(images, str | bytes | Path) or not isinstance(images, Iterable):
        return list(find_images([images], left_out))
    return list(find_images(images, left_out))


def _as_path(path: str | Path) -> Path:
    """Refuse what is no path. An empty text, as of an unset variable, isn't the working folder."""
    if not isinstance(path, str | os.PathLike) or path == "":
        raise InputError(
            f"{path!r:.60} is not a path", "Give image files, or folders that have some."
        )
    return Path(path)
