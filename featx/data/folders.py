"""Reading a folder tree of images: one folder a class, in split folders or in none."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from PIL import Image

from featx.data.manifest import COLUMNS, Manifest, order_classes
from featx.data.patients import group_of
from featx.errors import InputError
from featx.progress import SILENT, Progress

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
DEFAULT_SPLIT = "train"


def scan_folder(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    group_regex: str | None = None,
    progress: Progress = SILENT,
) -> Manifest:
    """Find, hash and group the labelled images under a folder.

    Files that aren't JPEG or PNG by their suffix, and hidden ones, are ignored. Where the root has
    a split folder (train, val, test), only split folders are read; else every folder is a class
    and its images belong to split ``train``. A class folder may have folders in it.

    Parameters
    ----------
    root
        The folder.
    classes, positive
        See `featx.data.manifest.order_classes`; folders of other classes are left out.
    group_regex
        Finds the patient in an image's relative path; None knows the Kaggle names.
    progress
        Shows how many images have been hashed.

    Returns
    -------
    Manifest
        Sorted by split, class and path. Files whose header can't be read are in `unreadable`
        and not in the table.

    Raises
    ------
    InputError
        When the folder is missing or has no images, or the classes aren't two.
    """
    root = Path(root)
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise InputError(
            f"the data folder {root} {reason}",
            "Give a folder with one folder of images a class, or with train/val/test folders.",
        )
    pattern = _compile(group_regex)
    found = _find_images(root)
    if not found:
        raise InputError(
            f"no JPEG or PNG images in {root}",
            "featx expects ROOT/CLASS/image or ROOT/{train,val,test}/CLASS/image." + _nested(root),
        )
    order = order_classes(sorted({label for _, label, _ in found}), classes, positive)
    chosen = sorted(
        (split, order.index(label), path.relative_to(root).as_posix(), label)
        for split, label, path in found
        if label in order
    )
    records, unreadable = [], {}
    with (
        progress.task("Reading files", len(chosen), "image") as advance,
        ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as pool,
    ):
        results = pool.map(lambda item: _hash_and_probe(root / item[2]), chosen)
        for (split, _, path, label), (sha256, problem) in zip(chosen, results, strict=True):
            if problem:
                unreadable[path] = problem
            else:
                records.append((path, sha256, label, split, group_of(path, pattern)))
            advance(1)
    table = pd.DataFrame(records, columns=list(COLUMNS), dtype=str)
    for label in order:
        if not (table["label"] == label).any():
            path, reason = next((p, r) for p, r in unreadable.items() if f"{label}/" in p)
            raise InputError(
                f"class {label!r} has no readable image in {root} (for example {path}: {reason})"
            )
    return Manifest(root, table, order, unreadable)


def is_image_name(path: Path) -> bool:
    """Say whether a file's name is that of a visible JPEG or PNG."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_below(folder: Path) -> list[Path]:
    """List the images in a folder and the folders in it, sorted.

    Raises
    ------
    InputError
        When a folder is named like an image.
    """
    images = []
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        for name in folders:
            if is_image_name(Path(name)):
                raise InputError(
                    f"{Path(current, name)} is a folder with the name of an image",
                    "Rename it or move it away.",
                )
        images += [Path(current, name) for name in files if is_image_name(Path(name))]
    return sorted(images)


def _find_images(root: Path) -> list[tuple[str, str, Path]]:
    """List (split, class, path) of every image below the root."""
    tops = _visible_folders(root)
    splits = [(SPLITS[top.name.lower()], top) for top in tops if top.name.lower() in SPLITS]
    found = []
    for split, folder in splits or [(DEFAULT_SPLIT, root)]:
        for label in _visible_folders(folder):
            found += [(split, label.name, image) for image in images_below(label)]
    return found


def _visible_folders(folder: Path) -> list[Path]:
    try:
        folders = [path for path in folder.iterdir() if path.is_dir()]
    except PermissionError as error:
        raise InputError(f"no permission to read {folder}") from error
    return sorted(f for f in folders if not f.name.startswith((".", "__MACOSX")))


def _nested(root: Path) -> str:
    """Point to a data set one folder further down, as archives often unpack."""
    for folder in _visible_folders(root):
        if any(below.name.lower() in SPLITS for below in _visible_folders(folder)):
            return f" Did you mean {folder}?"
    return ""


def _hash_and_probe(path: Path) -> tuple[str, str]:
    """Return an image file's SHA-256 and what is wrong with its header, if anything."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.stat().st_size == 0:
            return digest, "the file is empty"
        with Image.open(path):
            return digest, ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "", reason_of(error)


def reason_of(error: BaseException) -> str:
    """Put an image library's complaint into a short phrase without the path."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if "cannot identify image file" in str(error):
        return "not a JPEG or PNG image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _compile(group_regex: str | None) -> re.Pattern[str] | None:
    if group_regex is None:
        return None
    try:
        return re.compile(group_regex)
    except re.error as error:
        raise InputError(
            f"--group-regex {group_regex!r} is not a regular expression: {error}"
        ) from error
