"""How well runs do on images that they weren't fitted on: measured, divided and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import SILENT, Progress
from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import (
    Contender,
    Difference,
    Metrics,
    Population,
    Shift,
    Subgroups,
    compare_populations,
    compare_runs,
    evaluate_scores,
    evaluate_subgroups,
)
from featx.evaluation._reference import average
from featx.runs._fitted import FittedRun
from featx.runs._record import OOF_NAME
from featx.scoring._left_out import NOTHING, LeftOut, fresh_images, without_near
from featx.training._data import require_copies
from featx.training._scoring import mean_by_image
from featx_cache import Cache

ALL = "all"
SCORE_COLUMNS = ("path", "label", "group", "score")


@dataclass(frozen=True, slots=True)
class Scored:
    """Images of a cache that a run wasn't fitted on, and its scores of them.

    Attributes
    ----------
    split
        Name of the split, or ``all``.
    table : DataFrame
        One line an image: path, sha256, label, split, group, score, and the manifest's other
        columns.
    vectors : ndarray of shape (images, channels), dtype float32
        Embeddings of the untouched images, averaged over the grid.
    left_out
        Images that aren't here, because the run was fitted on them or on their patients.
    """

    split: str
    table: pd.DataFrame
    vectors: NDArray[np.float32]
    left_out: LeftOut = NOTHING

    @property
    def excluded(self) -> int:
        """How many images were left out."""
        return self.left_out.total


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run's metrics on one split of a cache.

    Attributes
    ----------
    split
        Name of the split, or ``all``.
    metrics
        See `featx.evaluation.Metrics`.
    scores
        One line an image: path, label, group, score.
    left_out
        See `Scored`.
    subgroups
        The same by each column that was asked for.
    shift
        How these images differ from those that the run was fitted on; None where the run has no
        out-of-fold scores any more.
    """

    split: str
    metrics: Metrics
    scores: pd.DataFrame
    left_out: LeftOut = NOTHING
    subgroups: tuple[Subgroups, ...] = ()
    shift: Shift | None = None

    @property
    def excluded(self) -> int:
        """How many images were left out."""
        return self.left_out.total


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs on the same images.

    Attributes
    ----------
    names
        Of the runs; the others are compared with the first.
    images, patients
        How many there are that none of the runs was fitted on.
    excluded
        Images that another run was fitted on, or on their patients, and the first wasn't; or that
        another has no embedding of.
    differences
        See `featx.evaluation.compare_runs`.
    """

    names: tuple[str, ...]
    images: int
    patients: int
    excluded: int
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "runs": list(self.names),
            "images": self.images,
            "patients": self.patients,
            "excluded": self.excluded,
            "differences": [difference.as_dict() for difference in self.differences],
        }


def score_images(
    run: FittedRun,
    cache: Cache,
    split: str | None = "test",
    *,
    keep_known_patients: bool = False,
    progress: Progress = SILENT,
) -> Scored:
    """Score the images of a split that a run wasn't fitted on.

    Left out are images that are byte-identical to one that it was fitted on, other images of the
    same patients (see `featx.scoring._left_out.known_patients`), and near duplicates (see
    `featx.evaluation.Reference.has`).

    Parameters
    ----------
    run, cache
        The cache must hold embeddings by the run's own backbone.
    split
        ``all`` takes every image; None takes the test split, or every image where there is none.
    keep_known_patients
        Score images of the same patients and near duplicates, too: for data in which other people
        have the same names.

    Raises
    ------
    InputError
        When the split is empty, nothing is left of it, or a score isn't a number.
    SpecMismatchError
        When the embeddings are another backbone's.
    """
    run.require_match(cache)
    split = choose_split(cache.images["split"], split, cache.path)
    rows = cache.row_numbers(splits=None if split == ALL else (split,), copies=False)
    table = cache.table(rows)
    fresh, known, left_out = fresh_images(run, cache, table, keep=keep_known_patients)
    rows, table = rows[fresh], table[fresh].reset_index(drop=True)
    image = cache.rows["image"].to_numpy()[rows]
    details = cache.details.iloc[image].reset_index(drop=True)
    scores, vectors = _scores(run, cache, rows, progress)
    if wrong := int((~np.isfinite(scores)).sum()):
        first = table["path"][int(np.argmax(~np.isfinite(scores)))]
        raise InputError(
            f"{wrong} of {len(scores)} scores by the run {run.path} are not finite numbers "
            f"(the first is that of {first})",
            f"Look for damage with `featx cache verify {cache.path}`, or fit the run again.",
        )
    columns = [name for name in details.columns if name not in table.columns]
    table = table.drop(columns="copy").assign(score=scores).join(details[columns])
    if left_out.unchecked or not run.has_reference:
        return Scored(split, table, vectors, left_out)
    near = run.reference.has(vectors)
    stays, left_out = without_near(run, near, known[fresh], left_out, keep=keep_known_patients)
    return Scored(split, table[stays].reset_index(drop=True), vectors[stays], left_out)


def measure(
    run: FittedRun,
    scored: Scored,
    *,
    by: Sequence[str] = (),
    prevalence: float | None = None,
) -> Evaluation:
    """Turn scores into metrics, of all images and of each subgroup, and look for a shift.

    Parameters
    ----------
    run, scored
        See `score_images`.
    by
        Columns to divide the images by; see `featx.evaluation.evaluate_subgroups`.
    prevalence
        See `featx.evaluation.evaluate_scores`.

    Raises
    ------
    InputError
        When there is no such column, or the prevalence isn't a share.
    """
    record, table = run.record, scored.table
    settings: dict[str, Any] = {"seed": record.seed, "prevalence": prevalence}
    scores = Scores.from_table(table, record.classes, scored.split)
    subgroups = tuple(
        evaluate_subgroups(scores, record.threshold, table, column, **settings) for column in by
    )
    metrics = evaluate_scores(scores, record.threshold, **settings)
    lines = table[list(SCORE_COLUMNS)]
    return Evaluation(
        scored.split, metrics, lines, scored.left_out, subgroups, find_shift(run, scored)
    )


def find_shift(run: FittedRun, scored: Scored) -> Shift | None:
    """Compare images with those that a run was fitted on; None where it has no scores of them.

    A run of an earlier version may do without; a new one that lacks the file is damaged.
    Embeddings are compared where the run knows those of its training images, which runs of earlier
    versions don't.

    Raises
    ------
    InputError
        When a file of the run is damaged.
    """
    if not run.record.files and not (run.path / OOF_NAME).exists():
        return None
    record = run.record
    known = Scores.from_table(run.out_of_fold, record.classes, "out of fold")
    distances = limit = here = None
    if run.has_reference:
        distances, limit = run.reference.distances, run.reference.limit
        here = run.reference.distance(scored.vectors)
    return compare_populations(
        Population.labelled(known, distances),
        Population.labelled(Scores.from_table(scored.table, record.classes, scored.split), here),
        limit=limit,
        classes=record.classes,
        seed=record.seed,
    )


def compare(results: Sequence[tuple[FittedRun, Scored]]) -> RunComparison:
    """Test other runs against the first, on the images that none of them was fitted on.

    Parameters
    ----------
    results
        Runs and their scores of the same images, each with its own embeddings of them.

    Raises
    ------
    InputError
        When runs tell other classes apart, or have no image in common.
    """
    first = results[0][0]
    for run, _ in results[1:]:
        if run.record.classes != first.record.classes:
            raise InputError(
                f"the run {first.path} tells {' from '.join(first.record.classes)}, and "
                f"{run.path} {' from '.join(run.record.classes)}",
                "Compare runs of the same classes.",
            )
    keys = ["path", "sha256"]
    table = results[0][1].table[[*keys, "label", "group"]]
    for number, (_, scored) in enumerate(results):
        own = scored.table[[*keys, "score"]].rename(columns={"score": f"score {number}"})
        table = table.merge(own, on=keys)
    if table.empty:
        raise InputError(
            "there is no image that none of these runs was fitted on",
            "Give images of other patients.",
        )
    names = names_of([run for run, _ in results])
    contenders = [
        Contender(
            name,
            Scores.from_table(table.assign(score=table[f"score {number}"]), run.record.classes),
            run.record.threshold,
        )
        for number, (name, (run, _)) in enumerate(zip(names, results, strict=True))
    ]
    differences = compare_runs(contenders, seed=first.record.seed)
    return RunComparison(
        names,
        images=len(table),
        patients=table["group"].nunique(),
        excluded=len(results[0][1].table) - len(table),
        differences=tuple(differences),
    )


def names_of(runs: Sequence[FittedRun]) -> tuple[str, ...]:
    """Name runs by their folders, with as much of the path as tells them apart.

    Raises
    ------
    InputError
        When a run is there twice.
    """
    paths = [run.path.resolve() for run in runs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise InputError(
                f"the run {runs[number].path} would be compared with itself",
                "Give `compare` other runs.",
            )
    for parts in range(1, max(len(path.parts) for path in paths)):
        names = tuple("/".join(path.parts[-parts:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(map(str, paths))


def choose_split(splits: pd.Series[str], split: str | None, where: Path) -> str:
    """Return the split to evaluate on.

    Parameters
    ----------
    splits
        Of each image.
    split
        As it was asked for; None takes ``test``, or ``all`` where no image is in that split.
    where
        The images are, for the message.

    Raises
    ------
    InputError
        When no image is in it.
    """
    names = sorted(splits.unique())
    if split is None:
        return "test" if "test" in names else ALL
    if split != ALL and split not in names:
        raise InputError(
            f"{where} has no image in split {split!r}",
            f"Its splits are: {', '.join(names)}. `split` all takes every image.",
        )
    return split


def _scores(
    run: FittedRun, cache: Cache, rows: NDArray[np.intp], progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Score untouched images, averaged over their copies where the run does that.

    Returns
    -------
    scores : ndarray of shape (images,), dtype float64
    vectors : ndarray of shape (images, channels), dtype float32
        Of the untouched images, averaged over the grid.
    """
    image, copy = (cache.rows[name].to_numpy() for name in ("image", "copy"))
    tta = run.record.tta
    if tta:
        scored = np.flatnonzero(np.isin(image, image[rows]) & (copy <= tta))
        if require_copies(cache, scored) != tta:
            raise InputError(
                f"the run {run.path} averages over {tta} copies of each image, and {cache.path} "
                "has fewer",
                f"Extract again with `copies` {tta} `copies_of` all.",
            )
    else:
        scored = rows
    scores = np.empty(len(scored))
    vectors = np.empty((len(scored), cache.embedding_shape[-1]), np.float32)
    with progress.task("Scoring", len(scored), "row") as advance:
        for positions, embeddings in cache.blocks(scored):
            scores[positions] = run.head_scores(embeddings)
            vectors[positions] = average(embeddings)
            advance(len(positions))
    found = run.recalibrated(mean_by_image(scores, image[scored], image[rows]))
    return found, vectors[np.searchsorted(scored, rows)]
