"""Reading a folder tree of images: one folder a class, in split folders or in none."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx._progress import Progress
from featx.data._left_out import (
    MASK,
    NAMED_LIKE_AN_IMAGE,
    NO_CLASS,
    UNREADABLE_FOLDER,
    class_reason,
    in_words,
    mask_reason,
)
from featx.data._make_manifest import compile_group, make_manifest
from featx.data._manifest import SPLITS, ClassesError, Manifest, order_classes
from featx.data._options import ReadingOptions
from featx.data._positive import is_healthy_name
from featx.data._walk import is_hidden_name, walk
from featx.errors import InputError, NoLabelsError

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val",
    "dev": "val", "devel": "val", "development": "val", "tune": "val", "tuning": "val",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test", "heldout": "test",
    "eval": "test", "evaluation": "test",
}  # fmt: skip
"""Names of split folders. Case, spaces, hyphens and ``set`` at the end make no difference."""

DEFAULT_SPLIT = "train"
_IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpg", "jpeg", "png", "dicom", "dcm"})
_MAX_NAMES = 4


@dataclass(frozen=True, slots=True)
class _Image:
    """An image file: the parts of its path below the root, and where these put it."""

    parts: tuple[str, ...]
    split: str
    label: str


def read_folder(root: Path, options: ReadingOptions, progress: Progress) -> Manifest:
    """Find, hash and group the labelled images under a folder.

    If the root has split folders (see `SPLIT_NAMES`), these are read. Otherwise every folder is a
    class, and its images belong to split ``train``, or to the split that a folder in it is named
    as. A class folder may have other folders in it. Classes whose names differ only in case or in
    how Unicode writes an accent are one class. A file is an image by its name or by its first
    bytes. All other files are left out with a reason, and so are masks.
    """
    _require_folder(root)
    compile_group(options.group_regex)  # before the long work
    asked = [
        *(options.classes or ()),
        *([options.positive] if options.positive is not None else []),
    ]
    found, left_out = _find_images(root)
    found = _merge_classes(found, asked)
    _require_images(root, found, left_out)
    if not asked:
        _refuse_class_folder(root, found)
    try:
        order = order_classes((image.label for image in found), options)
    except ClassesError as error:
        raise ClassesError(error.what, _better_hint(root, found) or error.hint) from None
    chosen = sorted(
        (image.split, order.index(image.label), "/".join(image.parts), image.label)
        for image in found
        if image.label in order
    )
    left_out |= {
        "/".join(image.parts): class_reason(image.label)
        for image in found
        if image.label not in order
    }
    listed = {
        "path": [path for _, _, path, _ in chosen],
        "label": [label for _, _, _, label in chosen],
        "split": [split for split, _, _, _ in chosen],
    }
    return make_manifest(root, listed, order, options, progress, left_out)


def split_of(name: str) -> str:
    """Return the split that a folder is named as: train, val, test, or nothing.

    Examples
    --------
    >>> split_of("Training"), split_of("hold-out"), split_of("Test set"), split_of("NORMAL")
    ('train', 'test', 'test', '')
    """
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return SPLIT_NAMES.get(plain, "") or SPLIT_NAMES.get(
        re.sub(r"(data)?(set|split|data|images?|imgs?)$", "", plain), ""
    )


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        raise InputError(
            f"the data folder {root} {reason}",
            "Give a folder with one folder of images a class, or with train/val/test folders.",
        )
    try:
        os.scandir(root).close()
    except PermissionError as error:
        raise InputError(f"no permission to read {root}") from error


def _find_images(root: Path) -> tuple[list[_Image], dict[str, str]]:
    """List the images below the root, and why other files are left out, by relative path."""
    has_splits = any(split_of(folder.name) for folder in _folders(root))
    depth, level = len(root.parts), 1 if has_splits else 0
    found: list[_Image] = []
    left_out: dict[str, str] = {}
    for path, reason in walk(
        root, link_depth=level + 1, is_used=lambda name: not has_splits or bool(split_of(name))
    ):
        parts = path.parts[depth:]
        if reason == NAMED_LIKE_AN_IMAGE:
            if len(parts) > level + 1:
                raise InputError(
                    f"{path} is a folder with the name of an image", "Rename it or move it away."
                )
            continue
        if (
            reason == UNREADABLE_FOLDER
            and len(parts) < level + 2
            and not (has_splits and _outside(parts))
        ):
            raise InputError(f"no permission to read {path}")
        if reason == UNREADABLE_FOLDER:  # whoever reads it as an image meets the reason
            reason = ""
        if has_splits and not reason:
            reason = _outside(parts)
        if not reason and len(parts) < level + 2:
            reason = NO_CLASS
        if why := reason or mask_reason(parts[level + 1 :]):
            left_out["/".join(parts)] = why
        else:
            split = split_of(parts[0]) if has_splits else DEFAULT_SPLIT
            found.append(_Image(parts, split, parts[level]))
    if has_splits:
        return found, left_out
    _refuse_several_sets(root, found)
    return [_split_in_class(image) for image in found], left_out


def _outside(parts: tuple[str, ...]) -> str:
    """Say that a file is in none of the split folders, or nothing."""
    if len(parts) == 1:
        return "beside the split folders"
    return "" if split_of(parts[0]) else f"in the folder {parts[0]}, which names no split"


def _split_in_class(image: _Image) -> _Image:
    """Take the split from a folder in the class folder, CLASS/{train,val,test}/image."""
    split = split_of(image.parts[1]) if len(image.parts) > 2 else ""
    return _Image(image.parts, split or image.split, image.label)


def _refuse_several_sets(root: Path, found: Sequence[_Image]) -> None:
    """Refuse folders that are data sets of their own, SET/[{train,val,test}/]CLASS/image.

    If they have no split folders, they are data sets if both have a folder with the same healthy
    name: `fold1/NORMAL`, `fold1/PNEUMONIA`, `fold2/NORMAL`, `fold2/PNEUMONIA`.
    """
    split, whole = dict[str, set[str]](), dict[str, set[str]]()
    for image in found:
        if len(image.parts) > 3 and split_of(image.parts[1]):
            split.setdefault(image.parts[0], set()).add(_folded(image.parts[2]))
        elif len(image.parts) > 2 and not split_of(image.parts[1]):
            whole.setdefault(image.parts[0], set()).add(_folded(image.parts[1]))
    for classes in (split, whole):
        for one, other in itertools.combinations(sorted(classes), 2):
            shared = classes[one] & classes[other]
            healthy = set(filter(is_healthy_name, shared))
            if len(shared) < 2 or (
                classes is whole
                and (healthy in (set(), shared) or any(map(is_healthy_name, (one, other))))
            ):
                continue
            raise InputError(
                f"{root} has several data sets in it: {_listed(sorted(classes))}",
                f"Give one of them, for example {root / one}, or list the images in a CSV.",
            )


def _merge_classes(found: Sequence[_Image], asked: Sequence[str]) -> list[_Image]:
    """Give classes whose names differ only in case or Unicode form the same name.

    It is one that was asked for, or the first in train, val or test.
    """
    names = {(SPLITS.index(image.split), image.label) for image in found}
    spellings: dict[str, str] = {}
    for name in [*asked, *(label for _, label in sorted(names))]:
        if name not in asked or any(name == label for _, label in names):
            spellings.setdefault(_folded(name), name)
    return [_Image(image.parts, image.split, spellings[_folded(image.label)]) for image in found]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _require_images(root: Path, found: Sequence[_Image], left_out: dict[str, str]) -> None:
    if found:
        return
    error = InputError
    said = in_words(left_out.values())
    loose = [path for path, reason in left_out.items() if reason == NO_CLASS]
    if loose:
        error = NoLabelsError
    if loose and not any("/" in path for path in loose):
        hint = (
            f"The images lie in {root} itself. If they are of one class, give the folder above, "
            f"{root.resolve().parent}. Else make a folder of each class in it."
        )
    elif loose:
        hint = "The images have no labels: make a folder of each class in each split folder."
    else:
        hint = "featx expects ROOT/CLASS/image or ROOT/{train,val,test}/CLASS/image." + _nested(
            root
        )
    raise error(f"no images in class folders in {root}{f' ({said})' if said else ''}", hint)


def _refuse_class_folder(root: Path, found: Sequence[_Image]) -> None:
    """Refuse a folder whose classes would be called images and masks."""
    labels = sorted({image.label for image in found})
    if all(map(_is_image_folder, labels)) and any(n.casefold() in _IMAGE_FOLDERS for n in labels):
        raise InputError(
            f"the folders in {root} aren't classes by their names: {_listed(labels)}",
            f"If it is the folder of one class, give the one above, {root.resolve().parent}. "
            "Otherwise name the `classes`, the negative one first.",
        )


def _better_hint(root: Path, found: Sequence[_Image]) -> str:
    """Say where the classes may be, or how splits differ in them, or nothing."""
    if len({image.label for image in found}) == 1:
        return _one_too_high(root, found)
    of_split = {
        split: sorted({image.label for image in found if image.split == split}) for split in SPLITS
    }
    of_split = {split: names for split, names in of_split.items() if names}
    if len({tuple(names) for names in of_split.values()}) < 2:
        return ""
    said = "; ".join(f"{split} has {_listed(names)}" for split, names in of_split.items())
    return f"The split folders don't have the same classes: {said}. Name them alike in all."


def _is_image_folder(name: str) -> bool:
    return name.casefold() in _IMAGE_FOLDERS or mask_reason([name, "x"]) == MASK


def _one_too_high(root: Path, found: Sequence[_Image]) -> str:
    """Point to a folder further down that has all images, or say nothing."""
    common = found[0].parts[:-1]
    while any(image.parts[: len(common)] != common for image in found):
        common = common[:-1]
    if not common or split_of(common[0]):
        return ""
    base, below = root.joinpath(*common), {image.parts[len(common) :] for image in found}
    names = sorted({parts[0] for parts in below if len(parts) > 1})
    if any(split_of(parts[0]) and len(parts) > 2 for parts in below):
        return f"Did you mean {base}?"
    if len(names) > 1 and not any(map(_is_image_folder, names)):
        return (
            f"If the classes are {_listed(names)}, give {base}. Else add images of another class."
        )
    return ""


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(f for f in folder.iterdir() if f.is_dir() and not is_hidden_name(f.name))
    except OSError:
        return []


def _nested(root: Path) -> str:
    """Point to a data set one folder further down, as archives often unpack."""
    for folder in _folders(root):
        if any(split_of(below.name) for below in _folders(folder)):
            return f" Did you mean {folder}?"
    return ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
