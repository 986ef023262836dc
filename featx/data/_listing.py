"""Tables of images: read strictly, with the number of the line in every complaint."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._progress import Progress
from featx._specs import require_known
from featx.data._columns import choose_columns, hide_identifiers
from featx.data._folders import DEFAULT_SPLIT, SPLIT_NAMES
from featx.data._left_out import class_reason
from featx.data._make_manifest import FILE_COLUMNS, make_manifest, regroup, require_classes
from featx.data._manifest import (
    NUMBERS,
    ClassesError,
    ImageInputError,
    Manifest,
    order_classes,
    typed,
)
from featx.data._options import ReadingOptions
from featx.data._paths import WrittenPaths
from featx.data._tables import Table, read_table
from featx.errors import InputError, NoLabelsError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_listing(
    data: Path | pd.DataFrame, options: ReadingOptions, progress: Progress
) -> Manifest:
    """Read a manifest from a CSV or Parquet file, or from a DataFrame.

    If it has sha256, width, height, mode and source of every image, no image is opened. An error
    says in which line or row something is wrong.
    """
    own_folder = Path.cwd() if isinstance(data, pd.DataFrame) else data.parent
    root = options.root if options.root is not None else own_folder
    if not root.is_dir():
        raise InputError(f"the folder {root} does not exist", "Give `root` the images' folder.")
    table = read_table(data, progress)
    if "sha256" in table.columns:
        table.columns["sha256"] = [value.lower() for value in table.columns["sha256"]]
    _check_labels(table)
    _check_splits(table)
    _check_paths(table, root, options.allow_outside)
    choose_columns(table, options, progress)
    order = _order_classes(table, options)
    left_out = _keep_classes(table, order)
    try:
        manifest = _manifest(table, root, order, options, progress)
        return replace(hide_identifiers(manifest, options.pseudonyms), left_out=left_out)
    except ImageInputError as error:
        row = table.columns["path"].index(error.path)
        raise table.error(row, error.what, error.hint) from None


def _manifest(
    table: Table,
    root: Path,
    order: tuple[str, str],
    options: ReadingOptions,
    progress: Progress,
) -> Manifest:
    if all(table.columns.get(name) and all(table.columns[name]) for name in FILE_COLUMNS):
        return _finished(table, root, order, options.group_regex)
    listed = {n: v for n, v in table.columns.items() if n not in FILE_COLUMNS and n != "study"}
    return _without_changed(make_manifest(root, listed, order, options, progress), table)


def _check_labels(table: Table) -> None:
    seen: dict[str, tuple[str, Any]] = {}
    known: set[str] = set()
    for row, label in enumerate(table.columns["label"]):
        if label in known:
            continue
        if not label:
            raise NoLabelsError(table.at(row, "no label"), "Every image needs a label.")
        folded = " ".join(unicodedata.normalize("NFC", label).casefold().split())
        if folded in seen:
            other, line = seen[folded]
            raise table.error(
                row,
                f"the label {label!r} is almost {other!r} ({table.unit} {line})",
                "Write both in the same way.",
            )
        seen[folded] = (label, table.places[row])
        known.add(label)


def _check_splits(table: Table) -> None:
    given = table.columns.get("split")
    if given is None:
        table.columns["split"] = [DEFAULT_SPLIT] * len(table.places)
        return
    names = SPLIT_NAMES | {"": DEFAULT_SPLIT}
    for row, split in enumerate(given):
        if split not in names and split.lower() not in names:
            try:
                require_known("split", split, SPLIT_NAMES)
            except InputError as error:
                raise table.error(row, error.what, error.hint) from None
    table.columns["split"] = [names[split.lower()] for split in given]


def _check_paths(table: Table, root: Path, allow_outside: bool) -> None:
    top = os.path.abspath(root)  # noqa: PTH100 - links are looked at later
    paths, written = table.columns["path"], WrittenPaths(root)
    for row, path in enumerate(paths):
        if not path or "\0" in path:
            raise table.error(row, "no path" if not path else "a path with a zero byte in it")
        if written.is_of_windows(path):
            raise table.error(
                row,
                f"the path {path!r} is of a Windows computer",
                f"Write it relative to {root}, or give `root` the images' folder.",
            )
        paths[row] = path = written.on_disk(path)
        if path[:1] != "/" and "./" not in path and "//" not in path and path[-2:] != "..":
            continue
        full = os.path.normpath(os.path.join(top, path))  # noqa: PTH118
        below = _below(full, top)
        if below is None and not allow_outside:
            raise _outside(table, row, root)
        paths[row] = below or full
    duplicated = pd.Series(paths, dtype=object).duplicated().to_numpy()
    if duplicated.any():
        row = int(np.argmax(duplicated))
        first = paths.index(paths[row])
        raise table.error(
            row,
            f"the path {paths[row]!r} was there before ({table.unit} {table.places[first]})",
            "List every image once.",
        )
    if not allow_outside:
        _refuse_links(table, root)


def _refuse_links(table: Table, root: Path) -> None:
    """Refuse paths that links lead out of the root, looking once into each folder."""
    real_root = os.path.realpath(root)
    verdicts: dict[str, tuple[bool, frozenset[str]]] = {}
    for row, path in enumerate(table.columns["path"]):
        folder, name = posixpath.split(path)
        if folder not in verdicts:
            full = root / folder
            inside = _below(os.path.realpath(full), real_root) is not None
            verdicts[folder] = inside, _links(full) if inside else frozenset()
        inside, links = verdicts[folder]
        if inside and name in links:
            inside = _below(os.path.realpath(root / path), real_root) is not None
        if not inside:
            raise _outside(table, row, root)


def _outside(table: Table, row: int, root: Path) -> InputError:
    return table.error(
        row,
        f"the path {table.columns['path'][row]!r} leads out of {root.resolve()}",
        "Give `root` a folder that all images are below, or `allow_outside=True`.",
    )


def _below(path: str, root: str) -> str | None:
    """Return a path relative to a root, or None if it doesn't lie below it."""
    if path == root:
        return "."
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _links(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # what isn't there is said when the image is read
        return frozenset()


def _order_classes(table: Table, options: ReadingOptions) -> tuple[str, str]:
    labels = table.columns["label"]
    found = list(dict.fromkeys(labels))
    try:
        return order_classes(found, options)
    except ClassesError as error:
        if options.classes is None and options.positive in (None, *found) and len(found) > 2:
            raise table.error(labels.index(found[2]), error.what, error.hint) from None
        raise ClassesError(f"{table.source}: {error.what}", error.hint) from None


def _keep_classes(table: Table, order: tuple[str, str]) -> dict[str, str]:
    """Leave out rows of other classes, and return their paths with the reason."""
    labels = table.columns["label"]
    rows = [row for row, label in enumerate(labels) if label in order]
    others = {
        path: class_reason(label)
        for path, label in zip(table.columns["path"], labels, strict=True)
        if label not in order
    }
    for name, values in table.columns.items():
        table.columns[name] = [values[row] for row in rows]
    table.places = [table.places[row] for row in rows]
    return others


def _finished(
    table: Table, root: Path, order: tuple[str, str], group_regex: str | None
) -> Manifest:
    """Make a manifest of a table that has everything already."""
    for name in NUMBERS:
        for row, value in enumerate(table.columns[name]):
            if not (value.isascii() and value.isdigit()) or len(value) > 9:
                raise table.error(row, f"the {name} {value!r} is not a number of pixels")
    for row, value in enumerate(table.columns["sha256"]):
        if not _SHA256.fullmatch(value):
            raise table.error(row, f"the sha256 {value[:70]!r} is not 64 hexadecimal digits")
    groups = table.columns.get("group") or [""] * len(table.places)
    if not all(groups):
        groups = regroup(table.columns["path"], groups, group_regex)
    numbers = {name: np.array(table.columns[name], np.int32) for name in NUMBERS}
    manifest = Manifest(root, typed({**table.columns, **numbers, "group": groups}), order)
    require_classes(manifest, {})
    return manifest


def _without_changed(manifest: Manifest, table: Table) -> Manifest:
    """Leave out files that aren't what the listing says they are."""
    if not any(table.columns.get("sha256", [])):
        return manifest
    listed = dict(zip(table.columns["path"], table.columns["sha256"], strict=True))
    same = [
        listed[path] in ("", sha256)
        for path, sha256 in zip(manifest.table["path"], manifest.table["sha256"], strict=True)
    ]
    if all(same):
        return manifest
    changed = manifest.table["path"][~np.array(same)]
    reason = "its content is not what the manifest's sha256 says"
    unreadable = {**manifest.unreadable, **dict.fromkeys(changed, reason)}
    kept = manifest.table[np.array(same)].reset_index(drop=True)
    result = Manifest(manifest.root, kept, manifest.classes, unreadable)
    require_classes(result, dict(zip(table.columns["path"], table.columns["label"], strict=True)))
    return result
