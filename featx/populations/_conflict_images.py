"""Conflict images: those in which a shortcut points at the other class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace
from sklearn.metrics import roc_auc_score, roc_curve

from featx._progress import Progress
from featx._scores import Scores
from featx.evaluation import Metrics, evaluate_scores
from featx.evaluation._seams import MIN_PATIENTS
from featx.images import UnreadableImageError, decode
from featx.populations._fold_heads import fitted_rows, image_scores, row_scores
from featx.runs._fitted import FittedRun
from featx.training import TrainingData, fit_head

MIN_SHORTCUT_AUC = 0.6
"""Area under the ROC curve of sharpness alone, below which there is no shortcut to speak of."""


@dataclass(frozen=True, slots=True)
class ConflictResult:
    """How a head did on images in which sharpness points at the other class.

    Attributes
    ----------
    shortcut_auc
        Area under the ROC curve of sharpness alone, 0.5 or more.
    sharper
        Name of the class whose images are sharper.
    cut
        Variance of the Laplacian that best separates the classes (Youden's index).
    trained
        Number of images that the head was trained on: those without a conflict, of other patients.
    metrics
        Metrics of that head on the conflict images.
    ordinary
        Metrics of the ordinary folds' heads on the same images.

    Examples
    --------
    >>> found = run.stress_protocol(disturbances=["conflict"]).conflict  # doctest: +SKIP
    >>> found.sharper, found.metrics.roc_auc, found.ordinary.roc_auc  # doctest: +SKIP
    ('NORMAL', 0.945, 0.990)
    """

    shortcut_auc: float
    sharper: str
    cut: float
    trained: int
    metrics: Metrics
    ordinary: Metrics

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "shortcut_auc": self.shortcut_auc,
            "sharper": self.sharper,
            "cut": self.cut,
            "trained": self.trained,
            **self.metrics.as_dict(),
            "ordinary": self.ordinary.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class SharpnessCut:
    """The cut in sharpness that best separates two classes.

    Attributes
    ----------
    auc
        Area under the ROC curve of sharpness alone, 0.5 or more.
    positive_sharper
        Whether the positive class is the sharper one.
    cut
        Sharpness at which one class is called from.
    conflict : ndarray of shape (images,), dtype bool
        Images that lie on the other class's side.
    """

    auc: float
    positive_sharper: bool
    cut: float
    conflict: NDArray[np.bool_]


def sharpness(pixels: NDArray[np.float32]) -> float:
    """Return the variance of an image's Laplacian: high if it is sharp or noisy.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.

    Parameters
    ----------
    pixels : ndarray of shape (size, size, channels), dtype float32
        Grey values 0..255. Channels are averaged.

    Examples
    --------
    >>> flat, dots = np.zeros((2, 8, 8, 1), np.float32)
    >>> dots[::2, ::2] = 255.0
    >>> sharpness(flat), sharpness(dots) > 1000.0
    (0.0, True)
    """
    return float(laplace(pixels.mean(axis=-1)).var(dtype=np.float64))


def measure_sharpness(
    run: FittedRun, files: Sequence[Path], hashes: Sequence[str], progress: Progress
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Measure the pixels that the network sees of each image, in several threads.

    Returns
    -------
    sharpness : ndarray of shape (images,), dtype float64
        NaN if an image can't be read, or isn't what was embedded.
    left_out
        Position of such an image -> reason.
    """
    extraction = run.extraction
    size, left_out = extraction.backbone.input_size, {}

    def measure(file: Path, sha256: str) -> float | str:
        try:
            return sharpness(decode(file, size, spec=extraction.decoding, sha256=sha256))
        except UnreadableImageError as error:
            return error.reason

    found = np.full(len(files), np.nan)
    with (
        progress.task("Sharpness", len(files), "image") as advance,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        try:
            for number, value in enumerate(pool.map(measure, files, hashes)):
                if isinstance(value, str):
                    left_out[number] = value
                else:
                    found[number] = value
                advance(1)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return found, left_out


def best_cut(truth: NDArray[np.bool_], values: NDArray[np.float64]) -> SharpnessCut:
    """Find the cut that best separates the classes by sharpness alone. Both are there."""
    area = float(roc_auc_score(truth, values))
    up = area >= 0.5
    sign = 1.0 if up else -1.0
    false_alarms, found, cuts = roc_curve(truth, sign * values)
    cut = sign * float(cuts[int((found - false_alarms).argmax())])
    called = values >= cut if up else values <= cut
    return SharpnessCut(max(area, 1.0 - area), up, cut, called != truth)


def evaluate_conflict(
    run: FittedRun,
    data: TrainingData,
    values: NDArray[np.float64],
    ordinary: NDArray[np.float64],
    progress: Progress,
) -> ConflictResult | str:
    """Train on the images without a conflict, and measure the others.

    Parameters
    ----------
    run
        Run whose head is trained, and whose threshold is taken.
    data
        Training data, with copies.
    values : ndarray of shape (untouched images,)
        Sharpness of each. NaN leaves an image out.
    ordinary : ndarray of shape (untouched images,)
        Out-of-fold scores.
    progress
        Progress that is shown.

    Returns
    -------
    ConflictResult or str
        The result, or a sentence that says why there is none.
    """
    originals, record = data.originals, run.record
    truth, groups, known = data.y[originals] == 1, data.groups[originals], np.isfinite(values)
    if not (truth[known].any() and (~truth[known]).any()):
        return "Sharpness was measured on images of one class only: there are no conflict images."
    cut = best_cut(truth[known], values[known])
    if cut.auc < MIN_SHORTCUT_AUC:
        return (
            f"Sharpness alone has ROC AUC {cut.auc:.2f}: there is no such shortcut to speak of, "
            "and so there are no conflict images."
        )
    conflict = np.zeros(len(truth), bool)
    conflict[known] = cut.conflict
    plain = known & ~np.isin(groups, groups[conflict])
    fewest = min(
        len(set(groups[side & (truth == sick)]))
        for side in (plain, conflict)
        for sick in (False, True)
    )
    if fewest < MIN_PATIENTS:
        return (
            f"Sharpness alone has ROC AUC {cut.auc:.2f}, and fewer than {MIN_PATIENTS} patients of "
            "a class have conflict images, or have none: they can't be measured."
        )
    images = data.image[originals]
    with progress.task("Head for conflict images", 1, "fit") as advance:
        rows = np.flatnonzero(np.isin(data.image, images[plain]) & fitted_rows(run, data))
        head = fit_head(record.head, data, rows, accuracy_floor=record.criterion.stopping_floor)
        tested = np.flatnonzero(np.isin(data.image, images[conflict]))
        scores = np.full(len(data.y), np.nan)
        scores[tested] = row_scores(head, data, tested)
        advance(1)
    found = image_scores(run, data, originals[conflict], scores)

    def measured(of_images: NDArray[np.float64]) -> Metrics:
        known_scores = Scores.from_arrays(truth[conflict], of_images, groups[conflict])
        return evaluate_scores(known_scores, record.threshold, seed=record.seed)

    return ConflictResult(
        cut.auc,
        record.classes[int(cut.positive_sharper)],
        cut.cut,
        int(plain.sum()),
        measured(found),
        measured(ordinary[conflict]),
    )
