"""The images of a distillation. Labels aren't needed, and aren't looked at."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from featx._progress import Progress
from featx.data import ImageSource, Manifest, group_of, in_words, load_manifest, walk_images
from featx.data._dicom import Pseudonyms
from featx.data._file_facts import read_all_facts
from featx.data._manifest import typed
from featx.errors import InputError
from featx_cache._shards import RowKeys
from featx_cache.files import is_there

LINK_DEPTH = 2
"""Depth above which links to folders elsewhere are followed: a folder may be put together of links
to data sets, or to their splits."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Distinct images, sorted by their hashes.

    Attributes
    ----------
    root
        Folder that paths are relative to.
    table
        One row an image: path, sha256 and group (the patient).
    repeated
        Files whose image is there already.
    unreadable
        Relative path -> reason, for images that can't be read.
    left_out
        Number of the other files in the folder by reason.
    """

    root: Path
    table: pd.DataFrame
    repeated: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of the images, whatever their files are called."""
        return hashlib.sha256("".join(self.table["sha256"]).encode()).hexdigest()

    def unreadable_with(self, keys: RowKeys) -> dict[str, str]:
        """Return the images that can't be read, and those without a row: nobody can decode them."""
        known = np.char.decode(np.unique(keys.image_sha256), "ascii")
        lost = self.table.loc[~self.table["sha256"].isin(known), "path"]
        return dict(self.unreadable) | dict.fromkeys(lost, "its pixels can't be decoded")

    def as_manifest(self) -> Manifest:
        """Return a manifest without labels, from which shards can be made."""
        nothing = [""] * len(self.table)
        columns = {name: list(self.table[name]) for name in ("path", "sha256", "group")}
        columns |= {"label": nothing, "split": ["train"] * len(self.table)}
        columns |= {"mode": nothing, "source": nothing}
        sides = {"width": [0] * len(self.table), "height": [0] * len(self.table)}
        return Manifest(self.root, typed(columns | sides), ("", ""), dict(self.unreadable))


def find_image_files(data: ImageSource, progress: Progress) -> ImageFiles:
    """List the distinct images of a folder of any layout, or of labelled images.

    Raises
    ------
    InputError
        If there is no image that can be read.
    """
    folder = Path(data) if isinstance(data, str | Path) else None
    if folder is not None and not is_there(folder):
        raise InputError(f"there is no folder {folder}", "Check the path.", parameter="data")
    if folder is not None and folder.is_dir():
        found = _walk(folder, progress)
    else:
        manifest = load_manifest(data, both_classes=False, progress=progress)
        found = ImageFiles(
            manifest.root,
            manifest.table[["path", "sha256", "group"]],
            unreadable=manifest.unreadable,
            left_out=Counter(manifest.left_out.values()),
        )
    distinct = found.table.sort_values(["sha256", "path"]).drop_duplicates("sha256")
    result = ImageFiles(
        found.root,
        distinct.reset_index(drop=True),
        len(found.table) - len(distinct),
        found.unreadable,
        found.left_out,
    )
    _tell(result, progress)
    if distinct.empty:
        said = in_words(found.left_out)
        reasons = list(found.unreadable.items())[:1]
        why = "".join(f" ({path}: {reason})" for path, reason in reasons) or (said and f" ({said})")
        raise InputError(
            f"no images in {data} that can be read{why}",
            "Give a folder that has some.",
            parameter="data",
        )
    return result


def _walk(root: Path, progress: Progress) -> ImageFiles:
    """List the images below a folder, however deep. Patients are known from headers and names."""
    left_out: Counter[str] = Counter()
    walked = walk_images(root, left_out, link_depth=LINK_DEPTH)
    paths = [path.relative_to(root).as_posix() for path in walked]
    rows, unreadable = [], {}
    with progress.task("Reading files", len(paths), "image") as advance:
        facts = read_all_facts(root, paths, Pseudonyms(None))
        for path, found in zip(paths, facts, strict=True):
            advance(1)
            if found.problem:
                unreadable[path] = found.problem
            else:
                rows.append((path, found.sha256, found.patient or group_of(path)))
    table = pd.DataFrame(rows, columns=["path", "sha256", "group"], dtype=str)
    return ImageFiles(root, table, unreadable=unreadable, left_out=left_out)


def _tell(images: ImageFiles, progress: Progress) -> None:
    """Say what isn't used."""
    if said := in_words(images.left_out):
        progress.note(f"{said}.")
    if images.repeated:
        files = "1 file has" if images.repeated == 1 else f"{images.repeated:,} files have"
        progress.note(f"{files} the content of another one, and each image is used once.")
    for path, reason in images.unreadable.items():
        progress.note(f"Skipped {path}: {reason}")
