"""The options with which labelled images are read, the same for every command that does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx_cli.console import TerminalProgress

if TYPE_CHECKING:
    from featx.data import Manifest

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder of JPEG, PNG and DICOM files, ROOT/{train,val,test}/CLASS/image or "
        "ROOT/CLASS/image; or a .csv or .parquet file with the columns path and label (split and "
        "group are welcome); or an .npz file in MedMNIST's layout.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="What paths in a .csv or .parquet file are relative to. Default: its own folder.",
    ),
]
AllowOutsideOption = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Let paths in a .csv or .parquet file lead out of that folder."
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        metavar="NEGATIVE,POSITIVE", help="The two classes, in order. Default: alphabetical."
    ),
]
PositiveOption = Annotated[str | None, typer.Option(help="The positive class. Default: the last.")]
GroupRegexOption = Annotated[
    str | None,
    typer.Option(
        help="Finds the patient in an image's path: the first group, or the whole match. "
        "Default: DICOM headers and the names of the Kaggle chest X-ray set; other images are each "
        "a patient."
    ),
]
KeepIdentifiersOption = Annotated[
    bool,
    typer.Option(
        "--keep-identifiers",
        help="Call patients of DICOM files by the identifiers in their headers. Default: by "
        "pseudonyms, hashed with $FEATX_SALT or a salt of your own.",
    ),
]
KeepKnownPatientsOption = Annotated[
    bool,
    typer.Option(
        "--keep-known-patients",
        help="Measure images of patients that the run was fitted on, too, if other people merely "
        "have the same names. Default: they are left out and counted.",
    ),
]


def read_manifest(
    data: Path,
    root: Path | None,
    allow_outside: bool,
    classes: str | None,
    positive: str | None,
    group_regex: str | None,
    keep_identifiers: bool,
    *,
    both_classes: bool = True,
) -> Manifest:
    """Read labelled images as the options say; to evaluate a run, one class of two will do."""
    from featx.data import load_manifest

    return load_manifest(
        data,
        root=root,
        allow_outside=allow_outside,
        classes=classes.split(",") if classes else None,
        positive=positive,
        group_regex=group_regex,
        keep_identifiers=keep_identifiers,
        both_classes=both_classes,
        progress=TerminalProgress(),
    )
