"""Scores of images whose labels aren't known."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from featx._progress import Progress, progress_of
from featx.data import group_of, in_words
from featx.data._make_manifest import compile_group
from featx.errors import InputError
from featx.runs._fitted import FittedRun
from featx.scoring import ImageScorer, find_images, predict_images, score_images
from featx.scoring._labelled_data import ScoringOptions, is_cache
from featx.scoring._left_out import LeftOut
from featx_cache import Cache, open_cache
from featx_cache.files import open_regular


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledImages:
    """Images without labels, scored by a run.

    Attributes
    ----------
    table : DataFrame
        One row an image: path, group, score, and distance from the training images, which is NaN if
        it isn't known.
    left_out
        Images that aren't here, because the run was fitted on them or on their patients.
    data
        Name of the images: the folder or the cache.
    is_folder
        Whether paths lead to files, below a folder of that name if it is one.

    Examples
    --------
    >>> table = {"path": ["a.png"], "group": ["a"], "score": [0.3], "distance": [21.5]}
    >>> len(UnlabelledImages(pd.DataFrame(table)).table)
    1
    """

    table: pd.DataFrame
    left_out: LeftOut = field(default_factory=LeftOut)
    data: str = ""
    is_folder: bool = False

    def below(self, path: str) -> str:
        """Return the path of an image as it is below the folder."""
        return os.path.relpath(path, self.data) if self.is_folder else path


def score_unlabelled(
    run: FittedRun,
    data: Cache | str | Path,
    options: ScoringOptions | None = None,
    *,
    progress: Progress | bool = True,
) -> UnlabelledImages:
    """Score image files, or the images of a cache, without looking at labels.

    Parameters
    ----------
    run
        Run that scores.
    data
        Image file, folder of images, or cache.
    options
        Place of the backbone's weights, whether known patients of a cache are kept, and the regular
        expression that finds the patient in a path below the folder.
    progress
        Bars by default; False is silent.

    Raises
    ------
    InputError
        If there are no images, or none could be read.

    Examples
    --------
    >>> score_unlabelled(run, "our_hospital").table["score"].mean()  # doctest: +SKIP
    """
    options, progress = options or ScoringOptions(), progress_of(progress)
    if isinstance(data, Cache) or is_cache(Path(data)):
        cache = data if isinstance(data, Cache) else open_cache(data)
        keep = options.keep_known_patients
        scored = score_images(run, cache, "all", keep_known_patients=keep, progress=progress)
        distance = run.reference.distance(scored.vectors) if run.has_reference else math.nan
        table = scored.table[["path", "group", "score"]].assign(distance=distance)
        return UnlabelledImages(table, scored.left_out, str(cache.path))
    root, pattern = Path(data), compile_group(options.reading.group_regex)
    unused: Counter[str] = Counter()
    paths, known = _without_known(run, find_images([data], unused))
    if said := in_words(unused.elements()):
        progress.note(f"{said}.")
    rows, failed = [], []
    scorer = ImageScorer(run, run.backbone(options.weights))
    with progress.task("Scoring", len(paths), "image") as advance:
        for prediction in predict_images(scorer, paths):
            advance(1)
            if prediction.error:
                failed.append(prediction)
                continue
            path = Path(prediction.path)
            below = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            group = group_of(path.name if pattern is None else below, pattern)
            rows.append((prediction.path, group, prediction.score, prediction.distance))
    for bad in failed:
        progress.note(f"Skipped {bad.path}: {bad.error}")
    if not rows:
        raise InputError(f"no image in {data} could be read", "See the reasons above.")
    found = pd.DataFrame(rows, columns=["path", "group", "score", "distance"])
    left_out = LeftOut(same_file=known)
    return UnlabelledImages(found, left_out, str(data), is_folder=root.is_dir())


def _without_known(run: FittedRun, paths: Iterable[Path]) -> tuple[list[Path], int]:
    """Leave out the very files that the run was fitted on: its scores of them are too sure."""
    given = list(paths)
    fresh = [path for path in given if _sha256(path) not in run.fitted_images]
    if not fresh:
        raise InputError(
            f"the run {run.path} was fitted on these very images",
            "Give images that it doesn't know.",
        )
    return fresh, len(given) - len(fresh)


def _sha256(path: Path) -> str:
    """Return the hash of a file. Whoever decodes it meets the reason why it can't be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
