"""Reading a folder tree of images: one folder a class, in split folders or in none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from featx.data.build import build, compile_group
from featx.data.dicom import SUFFIXES, Pseudonyms, looks_like_dicom, own_salt
from featx.data.manifest import Manifest, order_classes
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
    pseudonyms: Pseudonyms | None = None,
    both_classes: bool = True,
    progress: Progress = SILENT,
) -> Manifest:
    """Find, hash and group the labelled images under a folder.

    Hidden files, and files that aren't JPEG, PNG or DICOM (see `is_image`), are ignored. Where the
    root has a split folder (train, val, test), only split folders are read; else every folder is a
    class and its images belong to split ``train``. A class folder may have folders in it.

    Parameters
    ----------
    root
        The folder.
    classes, positive
        See `featx.data.manifest.order_classes`; folders of other classes are left out.
    group_regex
        Finds the patient in an image's relative path; None reads DICOM headers and knows the
        Kaggle names.
    pseudonyms
        For identifiers in DICOM headers; None makes them with this user's own salt.
    both_classes
        See `featx.data.load_manifest`.
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
    compile_group(group_regex)  # before the long work
    found = _find_images(root)
    if not found:
        raise InputError(
            f"no JPEG, PNG or DICOM images in {root}",
            "featx expects ROOT/CLASS/image or ROOT/{train,val,test}/CLASS/image." + _nested(root),
        )
    order = order_classes(
        sorted({label for _, label, _ in found}), classes, positive, both=both_classes
    )
    chosen = sorted(
        (split, order.index(label), path.relative_to(root).as_posix(), label)
        for split, label, path in found
        if label in order
    )
    listed = {
        "path": [path for _, _, path, _ in chosen],
        "label": [label for _, _, _, label in chosen],
        "split": [split for split, _, _, _ in chosen],
    }
    return build(
        root,
        listed,
        order,
        group_regex=group_regex,
        pseudonyms=pseudonyms or Pseudonyms(own_salt),
        progress=progress,
    )


def is_image_name(path: Path) -> bool:
    """Say whether a file's name is that of a visible JPEG, PNG or DICOM file."""
    return path.suffix.lower() in IMAGE_SUFFIXES | SUFFIXES and not path.name.startswith(".")


def is_image(path: Path) -> bool:
    """Say whether a file is an image by its name, or DICOM by its content.

    Archives of hospitals export DICOM without a suffix, or with UIDs for names: only files whose
    names end in nothing, or in a number, are looked into.
    """
    if is_image_name(path):
        return True
    if path.name.startswith(".") or not (path.suffix == "" or path.suffix[1:].isdigit()):
        return False
    if not path.is_file():  # a pipe, which waits for its writer
        return False
    try:
        with path.open("rb") as file:
            return looks_like_dicom(file)
    except OSError:
        return False


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
        images += [Path(current, name) for name in files if is_image(Path(current, name))]
    return sorted(images)


def walk_images(folder: Path) -> Iterator[Path]:
    """Walk through the images in a folder and the folders in it, in the order of their paths.

    Only one folder's names are held at a time. A folder that can't be read is given as if it were
    an image, so that its reader meets the reason.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir(), entry.is_symlink())
                for entry in entries
                if not entry.name.startswith((".", "__MACOSX"))
            )
    except OSError:
        yield folder
        return
    for name, is_folder, is_link in found:
        path = folder / name
        if is_folder and not is_link:
            yield from walk_images(path)
        elif not is_folder and is_image(path):
            yield path


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
