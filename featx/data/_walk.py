"""Walking through a folder tree: every file is an image, or is left out for a reason."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from featx.data._dicom import SUFFIXES, NotAnImageError, is_dicom_name, read_header
from featx.data._formats import IMAGE_SUFFIXES, READ_FORMATS, START_BYTES, format_of
from featx.data._left_out import (
    DEAD_LINK,
    HIDDEN,
    LINK_AGAIN,
    LINK_OUT,
    NAMED_LIKE_AN_IMAGE,
    NOT_REGULAR,
    UNREADABLE_FOLDER,
    format_reason,
    mask_reason,
)
from featx_cache.files import NotRegularFileError, open_regular

_HIDDEN_STARTS = (".", "__MACOSX")
_VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


def is_image_name(path: Path) -> bool:
    """Say whether a file's name is that of a visible image."""
    return path.suffix.lower() in IMAGE_SUFFIXES | SUFFIXES and not is_hidden_name(path.name)


def is_hidden_name(name: str) -> bool:
    """Say whether a file or folder of this name is hidden, or of macOS's archives."""
    return name.startswith(_HIDDEN_STARTS)


def is_image(path: Path) -> bool:
    """Say whether a file is an image that featx reads, by its name or by its first bytes.

    Examples
    --------
    >>> is_image(Path("a.png")), is_image(Path(".hidden.png"))
    (True, False)
    """
    return is_image_name(path) or (not is_hidden_name(path.name) and not _reason(path))


def walk_images(
    folder: Path, left_out: Counter[str] | None = None, *, link_depth: int = 0
) -> Iterator[Path]:
    """Walk through the images in a folder and the folders in it, in the order of their paths.

    Only one folder's names are held at a time. A folder that can't be read is given as if it were
    an image, so that its reader meets the reason.

    Parameters
    ----------
    folder
        Folder to walk through.
    left_out
        Number of files that are left out by reason, counted up as the walk goes on.
    link_depth
        Depth (0 is `folder`) above which links to folders elsewhere are followed, too.

    Examples
    --------
    >>> for path in walk_images(Path("new_patients")):  # doctest: +SKIP
    ...     print(path)
    """
    depth = len(folder.parts)
    for path, reason in walk(folder, link_depth=link_depth):
        if reason == NAMED_LIKE_AN_IMAGE:
            continue
        if reason == UNREADABLE_FOLDER:
            yield path
        elif why := reason or mask_reason(path.parts[depth:]) or _header_reason(path):
            if left_out is not None:
                left_out[why] += 1
        else:
            yield path


def walk(
    top: Path, *, link_depth: int = 0, is_used: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[Path, str]]:
    """Walk through all files in a folder and the folders in it, however deep.

    Links to folders are followed if these are inside `top` and aren't read by another way. Links to
    files are always followed. Hidden files are given only if they are images. Files that a system
    or a version control keeps for itself aren't given.

    Parameters
    ----------
    top
        Folder to walk through.
    link_depth
        Depth (0 is `top`) above which links to folders elsewhere are followed, too.
    is_used
        Function that says whether the images below a name in `top` are used. A link then needn't
        lead to them.

    Yields
    ------
    tuple of Path and str
        File and reason why it is left out, empty for an image. A folder that can't be read is given
        itself. A folder with an image's name is given before what is in it.
    """
    real_top = os.path.realpath(top)
    seen: set[tuple[int, int]] = set()
    links: deque[tuple[Path, int]] = deque([(top, 0)])
    while links:
        start, depth = links.popleft()
        if start is not top and _identity(start) in seen:
            yield start, LINK_AGAIN
            continue
        stack = [(start, _entries(start), False)]
        seen.add(_identity(start))
        while stack:
            folder, entries, hidden = stack[-1]
            if entries is None:
                if not hidden:
                    yield folder, UNREADABLE_FOLDER
                stack.pop()
                continue
            if (entry := next(entries, None)) is None:
                stack.pop()
                continue
            path, level = folder / entry.name, depth + len(stack) - 1
            below_hidden = hidden or is_hidden_name(entry.name)
            if not _is_folder(entry):
                if reason := _reason_of_entry(path, below_hidden):
                    yield path, reason
                elif reason is not None:
                    yield path, ""
                continue
            if entry.is_symlink():
                if below_hidden:
                    continue
                if not is_used(path.parts[len(top.parts)]):
                    yield path, LINK_AGAIN
                    continue
                target = os.path.realpath(path)
                if _is_below(target, real_top):
                    links.append((path, level + 1))
                    continue
                if level >= link_depth or _is_below(real_top, target):
                    yield path, LINK_OUT
                    continue
            if entry.name in _VERSION_CONTROL:
                continue
            if not below_hidden and (level > 0 or is_used(entry.name)):
                seen.add(_identity(path))
            if is_image_name(path):
                yield path, NAMED_LIKE_AN_IMAGE
            stack.append((path, _entries(path), below_hidden))


def _reason_of_entry(path: Path, hidden: bool) -> str | None:
    """Say why a file is left out. An image gives an empty text, a system's file None."""
    if path.name.lower() in _SYSTEM_FILES:
        return None
    if hidden:
        return None if _reason(path) else HIDDEN
    return "" if is_image_name(path) else _reason(path)


def _reason(path: Path) -> str:
    """Say by its first bytes why a file is no image, or nothing."""
    try:
        with open_regular(path) as file:
            name = format_of(file.read(START_BYTES))
    except NotRegularFileError:
        return NOT_REGULAR
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            return DEAD_LINK
        return f"not to be opened ({(error.strerror or type(error).__name__).lower()})"
    return "" if name in READ_FORMATS else format_reason(path, name)


def _header_reason(path: Path) -> str:
    """Say why a DICOM file without an image is left out, or nothing."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ""
    try:
        with open_regular(path) as file:
            if is_dicom_name(path) or format_of(file.read(START_BYTES)) == "DICOM":
                file.seek(0)
                read_header(file)
    except NotAnImageError as error:
        return str(error)
    except (OSError, ValueError):  # whoever decodes it says why
        pass
    return ""


def _entries(folder: Path) -> Iterator[os.DirEntry[str]] | None:
    """List what is in a folder by name, or None if it can't be read."""
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError:
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return (-1, -1)
    return status.st_dev, status.st_ino


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
