"""Labelled images for runs that are there already: caches, or data that is embedded for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from featx._progress import Progress, progress_of
from featx._specs import require_known
from featx.data import ClassesError, Manifest, ReadingOptions, in_words, is_image
from featx.data._load import LISTING_SUFFIXES, ImageSource, read_manifest
from featx.data._manifest import OWN_COLUMNS
from featx.errors import InputError, NoLabelsError, SpecMismatchError
from featx.evaluation import plural, subgroup_columns
from featx.evaluation._subgroups import SIZE
from featx.runs._fitted import FittedRun
from featx.scoring._embed import embed_for_runs
from featx.scoring._left_out import require_other_files
from featx.scoring._scored import ALL_SPLITS, Scored, choose_split, score_images
from featx_cache import Cache, open_cache
from featx_cache._index import INDEX_NAME, SHARDS_NAME

Data: TypeAlias = Cache | ImageSource
"""Embeddings of labelled images, or what `featx.load_manifest` reads."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Choice of the images that are scored, and how they are read and embedded.

    Attributes
    ----------
    split
        Split to take, or ``all``. None takes ``test``, or all images if there is no such split, and
        says so.
    keep_known_patients
        See `featx.scoring.score_images`.
    cache
        Folder that keeps the embeddings of images. None makes a temporary folder.
    weights
        Place of the backbone's weights, if they were moved since the fit.
    reading
        Way to read labelled images. Its `classes` say what the data call the negative and the
        positive class. None takes the names that the run has.

    Examples
    --------
    >>> ScoringOptions(split="all", reading=ReadingOptions(classes=("healthy", "ill"))).split
    'all'
    """

    split: str | None = None
    keep_known_patients: bool = False
    cache: Path | None = None
    weights: str | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)


def score_data(
    runs: Sequence[FittedRun],
    data: Data | None = None,
    options: ScoringOptions | None = None,
    *,
    by: Sequence[str] = (),
    progress: Progress | bool = True,
) -> list[Scored]:
    """Score labelled images with several runs. Images are embedded as each run's own were.

    Parameters
    ----------
    runs
        Runs. The first is what the others are compared with.
    data
        Cache, manifest, table, or a path to anything that `featx.load_manifest` reads. None takes
        the cache that the first run was fitted on.
    options
        Choice of the images.
    by
        Columns that the images must have.
    progress
        Bars by default. False is silent.

    Returns
    -------
    list of Scored
        One for each run.

    Raises
    ------
    FeatxError
        If something is wrong with the data, as far as possible before the long work.

    Examples
    --------
    >>> scored = score_data([run], "other_hospital")[0]  # doctest: +SKIP
    >>> featx.choose_threshold(scored.scores, accuracy_floor=0.9).threshold  # doctest: +SKIP
    """
    options, shown = options or ScoringOptions(), progress_of(progress)
    if isinstance(data, str):
        data = Path(data)
    name = name_of(runs[0], data)

    def score(caches: Sequence[Cache], split: str) -> list[Scored]:
        keep = options.keep_known_patients
        return [
            replace(
                score_images(run, cache, split, keep_known_patients=keep, progress=shown), data=name
            )
            for run, cache in zip(runs, caches, strict=True)
        ]

    if data is None or isinstance(data, Cache) or (isinstance(data, Path) and is_cache(data)):
        cache, split = _choose_cached(runs, data, options, by, shown)
        return score([cache] * len(runs), split)
    reading = replace(options.reading, keep=_kept_columns(data, options.reading, by))
    labelled = read_labelled(runs[0], data, reading, shown)
    table = labelled.table
    _require_columns(by, table)
    split = choose_split(table["split"], options.split, name)
    if split != ALL_SPLITS:
        table = table[table["split"] == split].reset_index(drop=True)
    _tell_split(name, options, split, (len(table), len(labelled)), shown)
    for run in runs:  # before the long work
        require_other_files(run, table["sha256"])
    chosen = replace(labelled, table=table)
    with embed_for_runs(
        runs, chosen, folder=options.cache, weights=options.weights, progress=shown
    ) as caches:
        return score(caches, split)


def is_cache(path: Path) -> bool:
    """Say whether a folder is a cache, finished or not."""
    return (path / INDEX_NAME).is_file() or (path / SHARDS_NAME).is_dir()


def name_of(run: FittedRun, data: Data | None) -> str:
    """Return what messages call the data."""
    if isinstance(data, pd.DataFrame):
        return "the table"
    if isinstance(data, Manifest):
        return str(data.root)
    return str(data.path if isinstance(data, Cache) else run.record.cache if data is None else data)


def read_labelled(
    run: FittedRun,
    data: Manifest | pd.DataFrame | Path,
    reading: ReadingOptions,
    progress: Progress,
) -> Manifest:
    """Read data with labels, and call its classes as the run does. One class alone will do."""
    classes = run.record.classes
    if isinstance(data, Manifest):
        return _read_already(run, data, reading, progress)
    if not reading.chooses_positive:
        reading = replace(reading, classes=classes)
    predict = "`run.predict` scores images without labels"
    if isinstance(data, Path):
        if not data.exists():
            raise InputError(f"there is no cache and no data at {data}", "Check the path.")
        if data.is_file() and is_image(data):
            raise NoLabelsError(f"{data} is an image without a label", f"{predict}.")
    name = name_of(run, data)
    try:
        manifest = read_manifest(data, replace(reading, both_classes=False), progress)
    except ClassesError as error:
        raise InputError(
            error.what,
            f"{error.hint} The run tells {' from '.join(classes)}: say what these are called in "
            f"{name} with `classes=NEGATIVE,POSITIVE`. {predict}.".strip(),
        ) from error
    except NoLabelsError as error:
        raise NoLabelsError(
            f"metrics need labels, and {name} has none ({error.what})",
            f"{predict}; or make a folder of each class.",
        ) from error
    if said := in_words(manifest.left_out.values()):
        progress.note(f"{said}.")
    return with_classes(manifest, manifest.classes, classes)


def _read_already(
    run: FittedRun, manifest: Manifest, reading: ReadingOptions, progress: Progress
) -> Manifest:
    """Take a manifest. Its classes are the run's, or those that the user said."""
    read_manifest(manifest, replace(reading, classes=None), progress)  # which refuses the others
    classes = run.record.classes
    negative, positive = reading.classes or classes
    if {negative, positive} != set(manifest.classes):
        raise InputError(
            f"the run {run.path} tells {negative} from {positive}, and the manifest has "
            f"{' and '.join(manifest.classes)}",
            "Give `reading=ReadingOptions(classes=(NEGATIVE, POSITIVE))` with the names in the "
            "manifest.",
            parameter="reading",
        )
    return with_classes(manifest, (negative, positive), classes)


def with_classes(manifest: Manifest, names: tuple[str, str], classes: tuple[str, str]) -> Manifest:
    """Call the negative and the positive class of a manifest, which has `names`, as a run does."""
    table = manifest.table
    if names != classes:
        label = table["label"].map(dict(zip(names, classes, strict=True)))
        table = table.assign(label=label.astype(table["label"].dtype))
    return replace(manifest, table=table, classes=classes)


def _choose_cached(
    runs: Sequence[FittedRun],
    data: Cache | Path | None,
    options: ScoringOptions,
    by: Sequence[str],
    progress: Progress,
) -> tuple[Cache, str]:
    """Open a cache that fits all runs, and choose its split."""
    name = name_of(runs[0], data)
    _refuse_for_cache(name, options)
    if data is None:
        cache = runs[0].own_cache()
    else:
        cache = data if isinstance(data, Cache) else open_cache(data)
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
    images = cache.images
    _require_columns(by, images.join(cache.details))
    split = choose_split(images["split"], options.split, name)
    taken = len(images) if split == ALL_SPLITS else int((images["split"] == split).sum())
    if data is not None or split == ALL_SPLITS:
        _tell_split(name, options, split, (taken, len(images)), progress)
    return cache, split


def _refuse_for_cache(cache: str, options: ScoringOptions) -> None:
    """Refuse options that mean nothing for a cache."""
    own = [name for name in ("cache", "weights") if getattr(options, name)]
    for name in [*options.reading.names_of_changed(), *own]:
        raise InputError(
            f"`{name}` is for images, and {cache} is a cache",
            "Leave it out, or give a folder of images.",
            parameter=name,
        )


def _kept_columns(
    data: Manifest | pd.DataFrame | Path, reading: ReadingOptions, by: Sequence[str]
) -> Sequence[str] | None:
    """Return the columns to read besides featx's own, among them those to divide the images by."""
    listed = isinstance(data, pd.DataFrame) or (
        isinstance(data, Path) and data.is_file() and data.suffix.lower() in LISTING_SUFFIXES
    )
    if reading.keep is None or not listed:
        return reading.keep
    known = OWN_COLUMNS | {SIZE, *reading.keep}
    return (*reading.keep, *(name for name in by if name not in known))


def _require_columns(by: Sequence[str], table: pd.DataFrame) -> None:
    """Refuse missing columns before the long work."""
    known = subgroup_columns(table)
    for column in by:
        require_known(
            "column",
            column,
            known,
            f"There are {', '.join(known)}. A cache has a column of a CSV file that was "
            "named in `keep`.",
        )


def _tell_split(
    name: str, options: ScoringOptions, split: str, counts: tuple[int, int], progress: Progress
) -> None:
    """Say which images are taken, of how many, if nobody asked for a split."""
    taken, images = counts
    if options.split is not None:
        return
    if split == ALL_SPLITS:
        progress.note(f"{name} has no test split: all of it is taken ({plural(images, 'image')}).")
    elif taken < images:
        progress.note(
            f'The test split of {name}: {taken} of {images} images (`split="all"` takes them all).'
        )
