"""The manifest: one row an image, and what its labels mean."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.data._options import ReadingOptions
from featx.data._positive import healthy_first, positive_sentence
from featx.errors import InputError
from featx_cache._index import TEXT
from featx_cache._spreadsheets import to_csv
from featx_cache._text import plural
from featx_cache.files import is_stream, output_path

COLUMNS = ("path", "label", "split", "group", "sha256", "width", "height", "mode", "source")
OWN_COLUMNS = frozenset({*COLUMNS, "study", "cause", "fold"})
"""Columns that featx itself writes."""

NUMBERS = ("width", "height")
SPLITS = ("train", "val", "test")
_MAX_NAMES = 10
DTYPES: dict[str, Any] = {name: np.dtype(np.int32) if name in NUMBERS else TEXT for name in COLUMNS}


class ImageInputError(InputError):
    """One image of a manifest can't be used. `path` is its path in the manifest."""

    def __init__(self, path: str, what: str, hint: str = "") -> None:
        self.path = path
        super().__init__(what, hint)


class ClassesError(InputError):
    """The classes in some data aren't two, or aren't those that were asked for.

    Examples
    --------
    >>> ClassesError("there is no class 'ill' in the data", "It has: sick, well.").code
    'classes'
    """

    code = "classes"


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """Labelled images. `featx.load_manifest` makes one.

    Attributes
    ----------
    root
        Folder that `path` is relative to.
    table
        One row an image, with the columns path, label, split, group (the patient), sha256
        (hexadecimal), mode (Pillow's, or DICOM's photometric interpretation) and source (JPEG, PNG,
        TIFF, BMP, WEBP, DICOM, NPZ: what the pixels are read from), all text; width and height in
        pixels as stored in the file, int32. There may be more: study (DICOM), cause (bacteria or
        virus, from the names of the Kaggle chest X-ray set), fold, and columns that were kept.
    classes
        Names of the negative and the positive class.
    unreadable
        Relative path -> reason, for files that look like images and aren't.
    left_out
        Relative path -> reason, for all other files in a folder that aren't used.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"path": ["a.png", "b.png", "c.png"], "group": ["p", "p", "q"]})
    >>> table = table.assign(label=["ill", "ill", "well"], split=["test", "test", "train"])
    >>> manifest = Manifest(Path("images"), table, ("well", "ill"))
    >>> manifest
    Manifest(3 images of 2 patients: 1 well, 2 ill; train 1, test 2)
    >>> manifest.counts().to_dict()
    {'well': {'train': 1, 'test': 0}, 'ill': {'train': 0, 'test': 2}}
    """

    root: Path
    table: pd.DataFrame
    classes: tuple[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Whether each image is of the positive class, of shape (images,)."""
        return np.asarray(self.table["label"] == self.classes[1], bool)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        of_class, of_split = self.counts().sum(), self.counts().sum(axis=1)
        said = (", ".join(f"{n:,} {name}" for name, n in of_class.items()),
                ", ".join(f"{name} {n:,}" for name, n in of_split.items()))  # fmt: skip
        return f"Manifest({self._size()}: {'; '.join(said)})"

    def _repr_html_(self) -> str:
        counts = self.counts_and_patients()
        counts.loc["all"] = counts.sum()
        counts.loc["all", "patients"] = self.table["group"].nunique()
        files = {"Unreadable files": self.unreadable, "Other files left out": self.left_out}
        left_out = [f"{what}: {len(reasons):,}." for what, reasons in files.items() if reasons]
        said = " ".join([f"{self._size()}.", positive_sentence(self.classes), *left_out])
        return f"<p>{html.escape(said)}</p>{counts.to_html(border=0)}"

    def _size(self) -> str:
        patients = self.table["group"].nunique()
        return f"{plural(len(self), 'image')} of {plural(patients, 'patient')}"

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table, one row an image."""
        return self.table.copy()

    def counts(self, column: str = "split") -> pd.DataFrame:
        """Count images by a column (rows) and class (columns). Train comes before val and test."""
        counts = pd.crosstab(self.table[column], self.table["label"])
        if column == "split":
            counts = counts.reindex([split for split in SPLITS if split in counts.index])
        return counts.reindex(columns=list(self.classes), fill_value=0)

    def counts_and_patients(self, column: str = "split") -> pd.DataFrame:
        """Count patients and images by a column, and images of each class."""
        counts = self.counts(column)
        patients = self.table.groupby(column)["group"].nunique()
        counts.insert(0, "images", counts.sum(axis=1))
        counts.insert(0, "patients", patients.reindex(counts.index))
        return counts

    def with_columns(self, keep: Sequence[str]) -> Manifest:
        """Return the same images with featx's own columns and those in `keep`."""
        names = [name for name in self.table.columns if name in OWN_COLUMNS or name in keep]
        return replace(self, table=self.table[names])

    def seen_from(self, folder: Path) -> Manifest:
        """Return the same images with paths relative to `folder`.

        If the images don't lie below it, the manifest is returned as it is: paths never lead out of
        their root.
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
        """Write the table as CSV or Parquet. `featx.load_manifest` reads it back.

        Classes, root and unreadable files aren't part of the table.

        Parameters
        ----------
        path
            File to write, .csv or .parquet. ``-`` writes CSV to standard output.
        force
            Whether a file that is there already is replaced.

        Raises
        ------
        InputError
            If the suffix is another, the file is there already, or a path isn't UTF-8, which
            Parquet can't hold.
        StorageError
            If the file can't be written.
        """
        path = Path(path)
        require_manifest_name(path)
        if not is_stream(path) and path.exists() and not force:
            raise InputError(f"{path} exists already", "Give another file, or `force=True`.")
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
    """Refuse a name that doesn't say CSV or Parquet. ``-`` is CSV on standard output."""
    if path.suffix.lower() not in (".csv", ".parquet") and path != Path("-"):
        raise InputError(
            f"a manifest is CSV or Parquet, not {path.name!r}", "Name it .csv or .parquet."
        )


def typed(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Make a manifest's table: standard columns first, each in its type."""
    names = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=DTYPES.get(name, TEXT)) for name in names}
    )


def order_classes(labels: Iterable[str], options: ReadingOptions) -> tuple[str, str]:
    """Put the two classes in order, the positive one last.

    Parameters
    ----------
    labels
        Class names in the data. A name may be there many times.
    options
        Order of the classes. If `classes` is None, the one with a healthy name is the first (see
        `featx.data._positive.healthy_first`); if both or none has such a name, the alphabet
        decides. `positive` becomes the last. If `both_classes` is false and the data has but one of
        `classes`, the other name is taken for granted.
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
            "Choose two with `classes`, the negative one first."
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
    more = ", …" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
