"""Labelled images for runs that are there already: caches, or data that is embedded for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx_cli.console import TerminalProgress, say
from featx_cli.loading import read_manifest
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from pandas import DataFrame

    from featx._run import Run
    from featx.data import Manifest
    from featx_cache import Cache


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What was typed about data: how to read it, where to keep its embeddings."""

    root: Path | None = None
    allow_outside: bool = False
    classes: str | None = None
    positive: str | None = None
    group_regex: str | None = None
    keep_identifiers: bool = False
    cache: Path | None = None
    weights: str | None = None
    group_column: str | None = None

    def refuse_for_cache(self, cache: Path) -> None:
        """Refuse options that mean nothing for a cache.

        Raises
        ------
        InputError
            Naming the first of them.
        """
        from featx.errors import InputError

        for name in self.__slots__:
            if getattr(self, name):
                raise InputError(
                    f"--{name.replace('_', '-')} is for images, and {cache} is a cache",
                    "Leave it out, or give a folder of images.",
                )


@dataclass(frozen=True, slots=True)
class Source:
    """Where images are from, and their embeddings for each run.

    Attributes
    ----------
    name
        As it was typed, or the cache's path.
    caches
        One for each run.
    split
        The split to take, or ``all``.
    """

    name: str
    caches: list[Cache]
    split: str


@contextlib.contextmanager
def source_of(
    runs: Sequence[Run],
    data: Path | None,
    options: DataOptions,
    *,
    split: str | None,
    by: Sequence[str] = (),
) -> Iterator[Source]:
    """Open a cache, or read data and embed it as the runs' own embeddings were made.

    Parameters
    ----------
    runs
        The first is what the others are compared with.
    data
        A cache or data; None is the cache that the first run was fitted on.
    options
        For data.
    split
        None takes ``test``, or all images where there is no such split, and says so.
    by
        Columns that the images must have.

    Raises
    ------
    FeatxError
        When something is wrong with any of them, as far as possible before the long work.
    """
    if data is None or is_cache(data):
        yield _cached(runs, data, options, split=split, by=by)
        return
    from featx.scoring import embedded, only_split, relabelled
    from featx.scoring._left_out import require_other_files

    labelled = read_labelled(runs[0], data, options, keep=_further(data, by))
    manifest = relabelled(labelled, runs[0].record.classes)
    _require_columns(by, manifest.table)
    chosen, name = only_split(manifest, split, data)
    _tell_split(str(data), split, name, len(chosen), len(manifest))
    for run in runs:  # before the long work
        require_other_files(run, chosen.table["sha256"])
    import_quietly()
    with embedded(
        runs, chosen, folder=options.cache, weights=options.weights, progress=TerminalProgress()
    ) as caches:
        yield Source(str(data), caches, name)


def is_cache(path: Path) -> bool:
    """Say whether a folder is a cache, finished or not."""
    from featx_cache._index import INDEX_NAME, SHARDS_NAME

    return (path / INDEX_NAME).is_file() or (path / SHARDS_NAME).is_dir()


def _further(data: Path, by: Sequence[str]) -> list[str]:
    """Return the columns that a listing must have besides featx's own, to be divided by."""
    from featx.data._load import LISTINGS
    from featx.data._manifest import OWN_COLUMNS
    from featx.evaluation._subgroups import SIZE

    listed = data.is_file() and data.suffix.lower() in LISTINGS
    return [name for name in by if listed and name not in OWN_COLUMNS | {SIZE}]


def read_labelled(
    run: Run, data: Path, options: DataOptions, *, keep: Sequence[str] = ()
) -> Manifest:
    """Read data with labels; one class alone will do.

    Raises
    ------
    InputError
        When it has no labels, or others than the run.
    """
    from featx.data import ClassesError, is_image
    from featx.errors import InputError

    predict = f"`featx predict {run.path} {data}` scores images without labels"
    if not data.exists():
        raise InputError(f"there is no cache and no data at {data}", "Check the path.")
    if data.is_file() and is_image(data):
        raise InputError(f"{data} is an image without a label", f"{predict}.")
    negative, positive = run.record.classes
    classes = options.classes
    if classes is None and options.positive is None:
        classes = f"{negative},{positive}"
    try:
        return read_manifest(
            data,
            options.root,
            options.allow_outside,
            classes,
            options.positive,
            options.group_regex,
            options.keep_identifiers,
            group_column=options.group_column,
            keep=keep,
            both_classes=False,
        )
    except ClassesError as error:
        what = error.what if error.what.startswith(f"{data}") else f"{data}: {error.what}"
        raise InputError(
            what,
            f"{error.hint} The run tells {negative} from {positive}: say what these are called "
            f"in the data with --classes NEGATIVE,POSITIVE. {predict}.".strip(),
        ) from error
    except InputError as error:
        if _has_no_labels(data, error):
            raise InputError(
                f"metrics need labels, and {data} has none ({error.what})",
                f"{predict}; or make a folder of each class.",
            ) from error
        raise


def _has_no_labels(data: Path, error: Exception) -> bool:
    """Say whether images lie about in a folder, or a table has no label for them."""
    from featx.data import is_image

    if data.is_file():
        return "'label'" in str(error) or "no label" in str(error)
    entries = [path for path in data.iterdir() if not path.name.startswith(".")]
    return not any(path.is_dir() for path in entries) and any(map(is_image, entries))


def _cached(
    runs: Sequence[Run],
    data: Path | None,
    options: DataOptions,
    *,
    split: str | None,
    by: Sequence[str],
) -> Source:
    from featx.errors import SpecMismatchError
    from featx.scoring._evaluate import choose_split
    from featx_cache import open_cache

    path = data if data is not None else Path(runs[0].record.cache)
    options.refuse_for_cache(path)
    cache = open_cache(path) if data is not None else runs[0].own_cache()
    for run in runs:
        try:
            run.require_match(cache)
        except SpecMismatchError as error:
            raise SpecMismatchError(
                error.what,
                "Give the folder of images instead of a cache: each run gets embeddings of its own."
                if len(runs) > 1
                else "Give the folder of images instead: it is embedded with the run's settings.",
            ) from error
    _require_columns(by, cache.images.join(cache.details))
    name = choose_split(cache.images["split"], split, path)
    taken = len(cache.images) if name == "all" else int((cache.images["split"] == name).sum())
    if data is not None or name == "all":
        _tell_split(str(path), split, name, taken, len(cache.images))
    return Source(str(path), [cache] * len(runs), name)


def _require_columns(by: Sequence[str], table: DataFrame) -> None:
    """Refuse columns that there aren't before the long work."""
    from featx._specs import require_known
    from featx.evaluation import divisible_by

    known = divisible_by(table)
    for column in by:
        require_known(
            "column",
            column,
            known,
            f"There are {', '.join(known)}. A cache has a column of a CSV file if `featx extract "
            "--keep COLUMN` was told.",
        )


def _tell_split(data: str, asked: str | None, split: str, taken: int, images: int) -> None:
    """Say which images were taken, where that wasn't said by whoever typed the command."""
    from featx.evaluation import counted

    if asked is not None:
        return
    if split == "all":
        say(f"{data} has no test split: all of it is taken ({counted(images, 'image')}).")
    elif taken < images:
        say(f"The test split of {data}: {taken} of {images} images (--split all takes them all).")
