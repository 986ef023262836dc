"""The options with which labelled images are read, the same for every command that does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli.console import TerminalProgress, output, say, warn
from featx_cli.option_groups import Command, with_options_for

if TYPE_CHECKING:
    from featx.data import Manifest, ReadingOptions
    from featx_cache import Cache

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder of JPEG, PNG, TIFF, BMP, WebP and DICOM files, "
        "ROOT/{train,val,test}/CLASS/image or ROOT/CLASS/image. Or a .csv or .parquet file with "
        "the columns path and label (split and a patient are welcome). Or an .npz file in "
        "MedMNIST's layout.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Folder of the paths in a .csv or .parquet file. Default: the file's own folder.",
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
        metavar="NEGATIVE,POSITIVE",
        help="Names of the two classes, in order. Default: a class whose name says healthy "
        "(normal, no finding, negative, 0, …) is the negative one. If no name does, the order "
        "is A to Z.",
    ),
]
PositiveOption = Annotated[
    str | None,
    typer.Option(help="Positive class, the sick. Default: the last of --classes."),
]
GroupRegexOption = Annotated[
    str | None,
    typer.Option(
        help="Regular expression that finds the patient in an image's path: its first group, or "
        "the whole match. Default: DICOM headers and the names of the Kaggle chest X-ray set. Each "
        "other image is then a patient."
    ),
]
GroupColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of a .csv or .parquet file that tells the patient. Its identifiers are "
        "hashed. Default: group, or a usual name such as patient_id, subject or mrn.",
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Further column of a .csv or .parquet file to keep, such as the hospital, for "
        "subgroups and seams. It may be given several times. Default: none.",
        show_default=False,
    ),
]
KeepIdentifiersOption = Annotated[
    bool,
    typer.Option(
        "--keep-identifiers",
        help="Call patients by the identifiers in DICOM headers and in columns. Default: by "
        "pseudonyms, hashed with $FEATX_SALT or a salt of your own.",
    ),
]

_READING_OPTIONS = {
    "root": (RootOption, None),
    "allow_outside": (AllowOutsideOption, False),
    "classes": (ClassesOption, None),
    "positive": (PositiveOption, None),
    "group_regex": (GroupRegexOption, None),
    "group_column": (GroupColumnOption, None),
    "keep": (KeepOption, None),
    "keep_identifiers": (KeepIdentifiersOption, False),
}


def with_reading_options(*, keep: bool = True) -> Callable[[Command], Command]:
    """Give a command the options with which labelled images are read.

    They take the place of its keyword `reading`, which gets them as one
    `featx.data.ReadingOptions`.

    Parameters
    ----------
    keep
        Whether ``--keep`` is one of them.
    """
    options = {name: each for name, each in _READING_OPTIONS.items() if keep or name != "keep"}
    return with_options_for("reading", options, _reading_options)


def _reading_options(
    classes: str | None, keep: Sequence[str] | None = None, **others: Any
) -> ReadingOptions:
    from featx.data import ReadingOptions

    return ReadingOptions(
        classes=classes.split(",") if classes else None, keep=tuple(keep or ()), **others
    )


def load_data(data: Path, reading: ReadingOptions, *, tell_unused: bool = True) -> Manifest:
    """Read labelled images as the options say, and say which files of a folder aren't used."""
    from featx.data._load import read_manifest

    manifest = read_manifest(data, reading, TerminalProgress())
    if tell_unused:
        tell_unused_files(manifest.left_out.values())
    return manifest


def tell_unused_files(reasons: Iterable[str]) -> None:
    """Say in a line how many files of a folder aren't used, by kind, if there are any."""
    from featx.data import in_words

    if said := in_words(reasons):
        say(f"{said}.")


def tell_positive(classes: tuple[str, str]) -> None:
    """Print which class is the positive one, first of the results."""
    from featx.data import positive_sentence

    output().print(positive_sentence(classes), soft_wrap=True)


def warn_of_positive(classes: tuple[str, str], *, chosen: bool = True) -> None:
    """Warn if the positive class may be the wrong one. See `featx.data.positive_warning`."""
    from featx.data import positive_warning

    if warning := positive_warning(classes, chosen=chosen):
        warn(warning)


def warn_of_cache(cache: Cache) -> None:
    """Warn of what may mislead in a cache before a head is fitted on it."""
    from featx.data import shared_patients, unknown_patients

    warn_of_positive(cache.classes)
    if shared := shared_patients(cache.images):
        warn(shared)
    if unknown := unknown_patients(cache.images):
        warn(unknown)
    if cache.spec["backbone"]["weights"] == "random":
        say("The cache was made with random weights: the embeddings are untrained.")
