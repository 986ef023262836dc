"""One door to every source: a folder, a CSV or Parquet manifest, an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featx._progress import SILENT, Progress
from featx.data._archive import read_npz
from featx.data._folders import read_folder
from featx.data._listing import read_listing
from featx.data._manifest import Manifest
from featx.data._options import ReadingOptions
from featx.errors import InputError

LISTINGS = (".csv", ".tsv", ".parquet")


def load_manifest(  # noqa: PLR0913
    data: str | Path,
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
    progress: Progress = SILENT,
) -> Manifest:
    """Read a manifest from whatever holds labelled images.

    Parameters
    ----------
    data
        A folder tree of images (`scan_folder`), a CSV or Parquet file that
        lists them (`featx.data._listing.read_listing`), or an ``.npz`` file in the layout of
        MedMNIST (`featx.data._archive.read_npz`).
    root
        Folder that the paths in a CSV or Parquet file are relative to; None is the file's own.
    allow_outside
        Whether such paths may lead out of that folder.
    classes, positive
        See `featx.data._manifest.order_classes`; images of other classes are left out.
    group_regex
        Finds the patient in an image's relative path; None reads DICOM headers and knows the names
        of the Kaggle chest X-ray set.
    group_column
        Column of a CSV or Parquet file that tells the patient. None takes ``group``, or the one
        that has a usual name, such as ``patient_id`` or ``mrn``.
    keep
        Further columns of a CSV or Parquet file to keep, such as ``("hospital",)``; None keeps all.
        Those that identify people are hashed.
    keep_identifiers
        Whether patients are called by the identifiers in DICOM headers and in columns, and not by
        pseudonyms.
    both_classes
        Whether the data must have both of `classes`; to fit a head takes both, to evaluate doesn't.
    progress
        Shows how many files have been read.

    Raises
    ------
    InputError
        When there is nothing to read, or it can't be understood.
    """
    options = ReadingOptions(
        root=Path(root) if root is not None else None,
        allow_outside=allow_outside,
        classes=classes,
        positive=positive,
        group_regex=group_regex,
        group_column=group_column,
        keep=keep,
        keep_identifiers=keep_identifiers,
        both_classes=both_classes,
    )
    return read_manifest(Path(data), options, progress)


def read_manifest(data: Path, options: ReadingOptions, progress: Progress) -> Manifest:
    """Read a manifest; see `load_manifest`."""
    if data.is_file() and data.suffix.lower() in LISTINGS:
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


scan_folder = load_manifest
"""Former name for folders."""
