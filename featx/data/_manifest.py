"""The manifest: one row an image, and what its labels mean."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx.data._options import ReadingOptions
from featx.data._positive import healthy_first
from featx.errors import InputError
from featx_cache._index import TEXT
from featx_cache._spreadsheets import to_csv
from featx_cache.files import is_stream, output_path

COLUMNS = ("path", "label", "split", "group", "sha256", "width", "height", "mode", "source")
OWN_COLUMNS = frozenset({*COLUMNS, "study", "cause", "fold"})
"""Columns that featx itself writes."""

NUMBERS = ("width", "height")
_NAMED = 10
DTYPES: dict[str, Any] = {name: np.dtype(np.int32) if name in NUMBERS else TEXT for name in COLUMNS}


class ImageInputError(InputError):
    """Misuse that shows in one image of a manifest: `path`, as the manifest has it."""

    def __init__(self, path: str, what: str, hint: str = "") -> None:
        self.path = path
        super().__init__(what, hint)


class ClassesError(InputError):
    """The classes in some data aren't those that were asked for, or not two."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labelled images.

    Attributes
    ----------
    root
        The folder that `path` is relative to.
    table
        One row an image, with the columns path, label, split, group (the patient), sha256
        (hexadecimal), mode (Pillow's, or DICOM's photometric interpretation) and source (JPEG, PNG,
        TIFF, BMP, WEBP, DICOM, NPZ: what the pixels are read from), all text; width and height in
        pixels as stored in the file, int32. Where there are any, study (of DICOM) and cause
        (bacteria or virus, from the names of the Kaggle chest X-ray set), fold, and the columns of
        a CSV file that were asked for.
    classes
        The negative and the positive class.
    unreadable
        Relative path -> reason, for files that look like images and aren't.
    left_out
        Relative path -> reason, for all other files in a folder that aren't used.
    """

    root: Path
    table: pd.DataFrame
    classes: tuple[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def counts(self) -> pd.DataFrame:
        """Count images by split (rows) and class (columns)."""
        counts = pd.crosstab(self.table["split"], self.table["label"])
        return counts.reindex(columns=list(self.classes), fill_value=0)

    def with_columns(self, keep: Sequence[str]) -> Manifest:
        """Return the same images with featx's own columns, and others where `keep` has them."""
        names = [name for name in self.table.columns if name in OWN_COLUMNS or name in keep]
        return replace(self, table=self.table[names])

    def seen_from(self, folder: Path) -> Manifest:
        """Return the same images with paths relative to `folder`, where all lie below it.

        Where they don't, the manifest is returned as it is: paths never lead out of their root.
        """
        root, folder = self.root.resolve(), folder.resolve()
        if root == folder or not root.is_relative_to(folder):
            return self
        prefix = root.relative_to(folder).as_posix() + "/"
        paths = pd.array([prefix + path for path in self.table["path"]], dtype=TEXT)
        unreadable, left_out = (
            {prefix + path: reason for path, reason in files.items()}
            for files in (self.unreadable, self.left_out)
        )
        return replace(
            self,
            root=folder,
            table=self.table.assign(path=paths),
            unreadable=unreadable,
            left_out=left_out,
        )

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the table as CSV or Parquet, by the file's suffix; `load_manifest` reads it back.

        Classes, root and unreadable files aren't part of the table.

        Parameters
        ----------
        path
            The file; ``-`` writes CSV to standard output.
        force
            Replace a file that is there already.

        Raises
        ------
        InputError
            For another suffix, a file that is there already, or a path that isn't UTF-8, which
            Parquet can't hold.
        StorageError
            When the file can't be written.
        """
        path = Path(path)
        require_manifest_name(path)
        if not is_stream(path) and path.exists() and not force:
            raise InputError(f"{path} exists already", "Give another file, or force=True.")
        with output_path(path, replace=force) as temporary:
            if path.suffix.lower() != ".parquet":
                to_csv(
                    self.table, temporary, encoding="utf-8", errors="surrogateescape",
                    lineterminator="\n",
                )  # fmt: skip
                return
            try:
                self.table.to_parquet(temporary, index=False, engine="pyarrow")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"Parquet can't hold file names that aren't UTF-8 ({error.object!r})",
                    "Rename the file, or write a .csv.",
                ) from error


def require_manifest_name(path: Path) -> None:
    """Refuse a name that doesn't say CSV or Parquet; ``-`` is CSV on standard output.

    Raises
    ------
    InputError
        When it doesn't.
    """
    if path.suffix.lower() not in (".csv", ".parquet") and path != Path("-"):
        raise InputError(
            f"a manifest is CSV or Parquet, not {path.name!r}", "Name it .csv or .parquet."
        )


def typed(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Make a manifest's table of columns: standard ones first, each in its type."""
    names = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=DTYPES.get(name, TEXT)) for name in names}
    )


def order_classes(labels: Iterable[str], options: ReadingOptions) -> tuple[str, str]:
    """Put the two classes in order, the positive one last.

    Parameters
    ----------
    labels
        Class names in the data, each as often as it likes.
    options
        The order asked for. Without `classes` the class with a healthy name is the first (see
        `featx.data._positive.healthy_first`). If both or none has such a name, the alphabet
        decides. `positive` becomes the last. If `both_classes` is false, one of `classes` will do
        where there are no others: a name that isn't there is then no misspelling.

    Raises
    ------
    ClassesError
        When there aren't two classes, or a name isn't in the data or isn't text.
    """
    found, positive = sorted(set(labels)), options.positive
    for name in found:
        if not name.isprintable():  # nor are bytes that aren't UTF-8
            raise ClassesError(
                f"the class {name!r} is not printable text", "Name classes in UTF-8, on one line."
            )
    asked = options.classes
    names = healthy_first(found) if asked is None else [_as_found(n, found) for n in asked]
    positive = _as_found(positive, found) if positive is not None else None
    if not options.both_classes and asked is not None and found and set(found) <= set(names):
        found = names
    for name in [*names, *([positive] if positive is not None else [])]:
        if name not in found:
            raise ClassesError(
                f"there is no class {name!r} in the data", f"It has: {_listed(sorted(found))}."
            )
    if positive is not None and positive not in names:
        raise ClassesError(f"`positive` {positive!r} is not one of `classes` {','.join(names)}")
    if len(set(names)) != 2:
        raise ClassesError(
            f"featx needs exactly two classes, and here there "
            f"{'is' if len(set(names)) == 1 else 'are'} {len(set(names))}: {_listed(names)}",
            "Choose two with `classes` NEGATIVE,POSITIVE."
            if len(set(names)) > 2
            else "Add images of the other class.",
        )
    if positive is not None:
        names = [name for name in names if name != positive] + [positive]
    return names[0], names[1]


def _as_found(name: str, found: Sequence[str]) -> str:
    """Return a name as the data writes it: accents may be characters of their own there."""
    wanted = unicodedata.normalize("NFC", name)
    same = [n for n in found if unicodedata.normalize("NFC", n) == wanted]
    return same[0] if len(same) == 1 else name


def _listed(names: Sequence[str]) -> str:
    """Name some classes: a wrong column may have thousands."""
    more = ", …" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
