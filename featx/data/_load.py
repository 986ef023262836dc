"""Labelled images from every source: a folder, a CSV or Parquet file, a DataFrame, an ``.npz``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from featx._arguments import wrong_type
from featx._progress import Progress, progress_of
from featx.data._folders import read_folder
from featx.data._listing import read_listing
from featx.data._manifest import Manifest
from featx.data._npz_manifest import read_npz
from featx.data._options import ReadingOptions
from featx.errors import InputError

LISTING_SUFFIXES = (".csv", ".tsv", ".parquet")

ImageSource: TypeAlias = Manifest | pd.DataFrame | str | Path
"""Sources of labelled images."""


def load_manifest(  # noqa: PLR0913
    data: ImageSource,
    *,
    root: str | Path | None = None,
    allow_outside: bool = False,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    group_regex: str | None = None,
    group_column: str | None = None,
    keep: Sequence[str] | None = (),
    keep_identifiers: bool = False,
    both_classes: bool = True,
    progress: Progress | bool = True,
) -> Manifest:
    """List labelled images: their hashes, labels, splits and patients.

    No image is decoded. Files that can't be used are left out and counted. The manifest says why.

    Parameters
    ----------
    data
        One of these:

        - A folder, ``ROOT/{train,val,test}/CLASS/image`` or ``ROOT/CLASS/image``.
        - A CSV, TSV or Parquet file, or a DataFrame, with the columns ``path`` and ``label``.
          ``split`` (train, val, test; empty is train) and a patient are welcome. If every row has
          sha256, width, height, mode and source, as in a manifest that featx saved, no image is
          opened.
        - An ``.npz`` file in the layout of MedMNIST.
        - A manifest, which is returned as it is.
    root
        Folder that the paths in a table are relative to. None is the file's own folder, and for a
        DataFrame the working folder.
    allow_outside
        Whether such paths may lead out of that folder: absolute, by ``..`` or by a link.
    classes
        Names of the negative and the positive class. Images of other classes are left out. By
        default a class whose name says healthy (normal, no finding, 0, …) is the negative one. If
        no name does, the alphabet decides.
    positive
        Name of the positive class, the sick. None is the last of `classes`.
    group_regex
        Regular expression that finds the patient in an image's relative path: its first group, or
        the whole match. None reads DICOM headers and the names of the Kaggle chest X-ray set. Any
        other image then counts as a patient of its own.
    group_column
        Column of a table that tells the patient. None takes ``group``, or the one that has a usual
        name, such as ``patient_id``, ``subject`` or ``mrn``.
    keep
        Further columns of a table to keep, such as ``("hospital",)``. None keeps all. Columns that
        identify people are hashed.
    keep_identifiers
        Whether patients are called by the identifiers in DICOM headers and columns. By default they
        get pseudonyms, hashed with ``$FEATX_SALT`` or a salt of this user's own.
    both_classes
        Whether the data must have both classes. A head is fitted on both and evaluated on either.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Manifest
        One row an image. A folder's images are sorted by split, class and path. A table keeps its
        order.

    Raises
    ------
    NoLabelsError
        If there are images without labels.
    InputError
        If there is nothing to read, or it can't be understood.

    Examples
    --------
    >>> import featx
    >>> featx.load_manifest("chest_xray")  # doctest: +SKIP
    Manifest(5,216 images of 2,790 patients: 1,341 NORMAL, 3,875 PNEUMONIA; train 5,216)

    A table that has hashes and sizes already needs no image:

    >>> import pandas as pd
    >>> table = pd.DataFrame({"path": ["a.png", "b.png"], "label": ["well", "ill"]})
    >>> table = table.assign(group=["p1", "p2"], sha256=["0" * 64, "1" * 64], width=8, height=8)
    >>> table = table.assign(mode="L", source="PNG")
    >>> featx.load_manifest(table, positive="ill", keep_identifiers=True)
    Manifest(2 images of 2 patients: 1 well, 1 ill; train 2)
    """
    options = ReadingOptions(
        root=Path(root) if root is not None else None,
        allow_outside=allow_outside,
        classes=classes,
        positive=positive,
        group_regex=group_regex,
        group_column=group_column,
        keep=(keep,) if isinstance(keep, str) else keep,
        keep_identifiers=keep_identifiers,
        both_classes=both_classes,
    )
    return read_manifest(data, options, progress_of(progress))


def read_manifest(data: ImageSource, options: ReadingOptions, progress: Progress) -> Manifest:
    """Read a manifest. See `load_manifest`."""
    if isinstance(data, Manifest):
        if changed := options.names_of_changed():
            said = " and ".join(f"`{name}`" for name in changed)
            raise InputError(
                f"a manifest is read already, and {said} can't change it",
                f"Give {said} to `featx.load_manifest` with the folder or the table.",
            )
        return data
    if isinstance(data, pd.DataFrame):
        return read_listing(data, options, progress)
    if not isinstance(data, str | Path):
        raise wrong_type("data", data, "a path, a DataFrame or a Manifest")
    data = Path(data)
    if data.is_file() and data.suffix.lower() in LISTING_SUFFIXES:
        return read_listing(data, options, progress)
    if options.group_column is not None or options.keep:
        raise InputError(
            f"`group_column` and `keep` are for CSV and Parquet manifests, not for {data}",
            "Leave them out, or give `group_regex` if the names of files tell the patient.",
        )
    if options.root is not None or options.allow_outside:
        raise InputError(
            f"`root` and `allow_outside=True` are for CSV and Parquet manifests, not for {data}",
            "Leave them out.",
        )
    if data.is_file() and data.suffix.lower() == ".npz":
        return read_npz(data, options, progress)
    if data.is_file():
        raise InputError(
            f"{data} is neither a folder nor a .csv, .tsv, .parquet or .npz file",
            "Give a folder with one folder of images a class, or a manifest with path and label.",
        )
    return read_folder(data, options, progress)
