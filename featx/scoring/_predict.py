"""Verdicts of a run on image files, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.runs._fitted import FittedRun
from featx.scoring._image_scorer import ImageScorer, RunsScorer, ScoredImage


@dataclass(frozen=True, slots=True)
class Prediction:
    """Verdict on one image file.

    Attributes
    ----------
    path
        File as it was given.
    score
        Score of the positive class, 0..1, which is compared with the threshold. None if the file
        can't be scored. Then so are `probability`, `uncertain`, `unlike_training`, `distance` and
        `view`.
    probability
        Score as a calibrated probability. See `FittedRun.probability`.
    threshold
        Threshold of the run.
    prediction
        Name of a class. Empty without a score.
    uncertain
        Whether the score lies in the run's uncertain interval around the threshold. None for runs
        that have no such interval.
    unlike_training
        Whether `distance` is larger than that of 99 % of the training images.
    distance
        Mahalanobis distance of the image's averaged embedding to the training images. None for
        runs of earlier versions, which don't know their training images.
    error
        Reason why there is no score. Empty if there is one.
    view
        How an image that isn't an upright frontal chest X-ray looks: ``inverted``, ``rotated 90``
        (clockwise), ``upside down``, ``rotated 270``, an inversion with one of these, such as
        ``inverted, upside down``, or ``other``. Empty if it looks like one. None without a score,
        and for runs that don't know their training images.

    Examples
    --------
    >>> Prediction("a.png", 0.81, 0.77, 0.42, "PNEUMONIA", uncertain=False).prediction
    'PNEUMONIA'
    """

    path: str
    score: float | None
    probability: float | None
    threshold: float
    prediction: str
    uncertain: bool | None = None
    unlike_training: bool | None = None
    distance: float | None = None
    error: str = ""
    view: str | None = None


def predict_images(scorer: ImageScorer, paths: Iterable[str | Path]) -> Iterator[Prediction]:
    """Score image files one after another, in their order. Memory holds a few batches.

    Parameters
    ----------
    scorer
        Run and backbone.
    paths
        Image files, any number of them: they are taken as they are needed. `find_images` finds
        those in folders.

    Returns
    -------
    iterator of Prediction
        A file that can't be scored has an error and no score.

    Raises
    ------
    InputError
        If a file of the run is missing or damaged. It is raised before the first prediction.

    Examples
    --------
    >>> predict_images(ImageScorer(run), find_images(["new_patients"]))  # doctest: +SKIP
    """
    run = scorer.run
    _require_whole(run)
    return (_verdict(run, image) for image in scorer.score(paths))


def predict_images_by_run(
    scorer: RunsScorer, paths: Iterable[str | Path]
) -> Iterator[tuple[Prediction, ...]]:
    """Score image files with several runs, one file after another. Memory holds a few batches.

    Parameters
    ----------
    scorer
        Runs and backbones.
    paths
        Image files. See `predict_images`.

    Returns
    -------
    iterator of tuple of Prediction
        The prediction of each run for a file, in the order of `RunsScorer.runs`. They are, bit for
        bit, what `predict_images` gives with that run.

    Raises
    ------
    InputError
        If a file of a run is missing or damaged. It is raised before the first prediction.

    Examples
    --------
    >>> scorer = RunsScorer([logreg, svm])  # doctest: +SKIP
    >>> for one, other in predict_images_by_run(scorer, ["a.png"]):  # doctest: +SKIP
    ...     print(one.path, one.prediction, other.prediction)
    """
    runs = scorer.runs
    for run in runs:
        _require_whole(run)
    return (tuple(map(_verdict, runs, images)) for images in scorer.score(paths))


def _require_whole(run: FittedRun) -> None:
    """Read what verdicts need, so that a damaged run is refused before the first of them."""
    # Runs of earlier versions have no such files. If a new run lacks them, it is damaged.
    if run.record.files:
        _ = run.reference.limit
    _ = run.calibration


def _verdict(run: FittedRun, image: ScoredImage) -> Prediction:
    record, score = run.record, image.score
    if score is None or image.vector is None:
        return Prediction(image.path, None, None, record.threshold, "", error=image.error)
    distance = unlike = uncertain = None
    if record.files:
        distance = float(run.reference.distance(image.vector[None])[0])
        unlike = distance > run.reference.limit
    if record.band is not None:
        uncertain = record.band[0] <= score <= record.band[1]
    return Prediction(
        image.path,
        score,
        float(run.probability(np.array([score]))[0]),
        record.threshold,
        record.classes[int(score >= record.threshold)],
        uncertain,
        unlike,
        distance,
        view=image.view,
    )
