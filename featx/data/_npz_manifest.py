"""A manifest of the images in an ``.npz`` file of the MedMNIST layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from featx._progress import Progress
from featx.data import _npz as npz
from featx.data._left_out import class_reason
from featx.data._make_manifest import make_manifest
from featx.data._manifest import SPLITS, Manifest, order_classes
from featx.data._options import ReadingOptions
from featx.errors import InputError, NoLabelsError

# Meaning of the labels in MedMNIST's pneumonia set, in the words of the original set (Yang et al.,
# MedMNIST v2, Scientific Data 2023).
_CLASS_NAMES = {"pneumoniamnist": ("NORMAL", "PNEUMONIA")}


def read_npz(path: Path, options: ReadingOptions, progress: Progress) -> Manifest:
    """List the images in an ``.npz`` file. They are read one at a time, here and later.

    The file has ``{train,val,test}_images`` (images, height, width[, 3]), 8 bit, and
    ``{train,val,test}_labels`` (images,) or (images, 1), whole numbers. Classes are called by their
    numbers, in a file called ``pneumoniamnist*.npz`` NORMAL and PNEUMONIA. Paths are
    ``FILE.npz#train_images/17``. Every image is a patient of its own, because the layout has none.
    """
    arrays = npz.arrays_in(path)
    splits = [split for split in SPLITS if f"{split}_images" in arrays]
    if not splits:
        raise InputError(
            f"{path} has no train_images, val_images or test_images",
            f"It has: {', '.join(arrays) or 'nothing'}. featx reads the layout of MedMNIST.",
        )
    listed: dict[str, list[str]] = {"path": [], "label": [], "split": []}
    for split in splits:
        count = (*arrays[f"{split}_images"].shape, 0)[0]
        labels = _labels(path, arrays, split, count)
        listed["path"] += [npz.row_path(path.name, f"{split}_images", row) for row in range(count)]
        listed["label"] += labels
        listed["split"] += [split] * count
    order = order_classes(listed["label"], options)
    wanted = [i for i, label in enumerate(listed["label"]) if label in order]
    chosen = {name: [values[i] for i in wanted] for name, values in listed.items()}
    others = {
        p: class_reason(label)
        for p, label in zip(listed["path"], listed["label"], strict=True)
        if label not in order
    }
    options = replace(options, group_regex=None)
    return replace(make_manifest(path.parent, chosen, order, options, progress), left_out=others)


def _labels(path: Path, arrays: dict[str, npz.ArrayHeader], split: str, count: int) -> list[str]:
    name = f"{split}_labels"
    if name not in arrays:
        raise NoLabelsError(f"{path} has {split}_images and no {name}", "featx needs labels.")
    header = arrays[name]
    if header.shape not in ((count,), (count, 1)) or header.dtype.kind not in "iub":
        raise InputError(
            f"{name} in {path} is {header.dtype} of shape {header.shape}",
            f"featx needs one whole number for each of the {count} images.",
        )
    numbers = np.asarray(npz.read_array(path, name)).reshape(-1).astype(np.int64).tolist()
    names = next((n for stem, n in _CLASS_NAMES.items() if path.stem.startswith(stem)), ())
    return [names[n] if 0 <= n < len(names) else str(n) for n in numbers]
