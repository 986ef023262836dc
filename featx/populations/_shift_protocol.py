"""The shift protocol: what a head loses that is trained on one side of a seam of its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._html import html_table
from featx._progress import SILENT, Progress, progress_of
from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.evaluation import Metrics, counts_in_words, evaluate_scores
from featx.evaluation._seams import Seam, find_seams
from featx.heads import HeadSpec
from featx.runs._fitted import FittedRun
from featx.scoring._labelled_data import is_cache
from featx.thresholds import Criterion, sweep
from featx.thresholds._choose import choose_by
from featx.training import TrainingData, fit_head, load_training_data, out_of_fold
from featx_cache import Cache, open_cache

ORDINARY = "ordinary folds"


@dataclass(frozen=True, slots=True)
class SeamResult:
    """What a head achieved across one seam, or on ordinary folds.

    Attributes
    ----------
    name
        Name of the seam, or ``ordinary folds``.
    trained
        Number of images that were trained on.
    metrics
        Metrics on the other side, at the threshold that out-of-fold scores of the training side
        chose by the criterion.
    feasible
        Whether any threshold reached the floors there. If none did, the threshold is the one that
        misses them least.
    """

    name: str
    trained: int
    metrics: Metrics
    feasible: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "name": self.name,
            "trained": self.trained,
            "feasible": self.feasible,
            **self.metrics.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class ProtocolReport:
    """A head on ordinary folds and across seams.

    Attributes
    ----------
    run
        Directory of the run.
    head, criterion
        Head that was trained, and the criterion of its thresholds.
    classes
        Names of the negative and the positive class.
    ordinary
        Result of folds by patient; their threshold was chosen on the same scores.
    seams
        One result a seam.

    Examples
    --------
    >>> report = shift_protocol(run, columns=["hospital"])  # doctest: +SKIP
    >>> report.worst.name, report.drop(report.worst)  # doctest: +SKIP
    """

    run: Path
    head: HeadSpec
    criterion: Criterion
    classes: tuple[str, str]
    ordinary: SeamResult
    seams: tuple[SeamResult, ...]

    def drop(self, result: SeamResult) -> float:
        """Return how much less the area under the ROC curve is than on ordinary folds."""
        return self.ordinary.metrics.roc_auc - result.metrics.roc_auc

    @property
    def worst(self) -> SeamResult:
        """Seam with the largest drop."""
        return max(self.seams, key=self.drop)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the table."""
        worst, criterion = self.worst, self.criterion
        kept = criterion.floors_in_words
        at = f"a threshold that kept {kept}" if kept else f"the threshold of {criterion.in_words}"
        return (
            "Each seam: trained on one side, used on the other, patients never shared; the "
            f"threshold has the {criterion.in_words} out of fold on the side "
            "that was trained on. Less: than the ROC AUC of ordinary folds.",
            *(
                f"{result.name}: no threshold reached {kept}; the nearest was taken."
                for result in (self.ordinary, *self.seams)
                if not result.feasible
            ),
            f"It loses most across {worst.name}: {self.drop(worst):.4f} ROC AUC, and accuracy is "
            f"{worst.metrics.accuracy:.4f} there at {at}. "
            + counts_in_words(worst.metrics.confusion, self.classes),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row a result: name, images, ROC AUC, drop, recall, accuracy, specificity."""
        return pd.DataFrame(
            {
                "name": result.name,
                "trained": result.trained,
                "images": result.metrics.images,
                "roc_auc": result.metrics.roc_auc,
                "drop": self.drop(result),
                "recall": result.metrics.recall,
                "accuracy": result.metrics.accuracy,
                "specificity": result.metrics.specificity,
            }
            for result in (self.ordinary, *self.seams)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "run": str(self.run),
            "head": self.head.model_dump(mode="json"),
            "accuracy_floor": self.criterion.accuracy_floor or 0.0,
            "criterion": self.criterion.model_dump(mode="json"),
            "ordinary": self.ordinary.as_dict(),
            "seams": [{**seam.as_dict(), "roc_auc_drop": self.drop(seam)} for seam in self.seams],
        }

    def __repr__(self) -> str:
        found = f"{self.ordinary.metrics.roc_auc:.3f} ROC AUC, {self.drop(self.worst):.3f} less"
        return f"ProtocolReport({self.head.name}: {found} across {self.worst.name})"

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), self.notes, title=f"{self.head.name} across seams")


def shift_protocol(
    run: FittedRun,
    cache: Cache | str | Path | None = None,
    *,
    columns: Sequence[str] = (),
    progress: Progress | bool = True,
) -> ProtocolReport:
    """Train a run's head anew across the seams of its training and validation images.

    Parameters
    ----------
    run
        Run whose head, settings, criterion and seed are taken.
    cache
        Cache of labelled images. None takes the one that the run was fitted on.
    columns
        Columns to divide the images by; see `featx.evaluation._seams.find_seams`.
    progress
        Bars by default; False is silent.

    Raises
    ------
    InputError
        If there is no seam, or too few patients on a side.
    SpecMismatchError
        If the cache's embeddings are another backbone's.

    Examples
    --------
    >>> shift_protocol(run, columns=["hospital"])  # doctest: +SKIP
    ProtocolReport(logreg: 0.974 ROC AUC, 0.081 less across hospital: A -> B)
    """
    if cache is None:
        cache = run.own_cache()
    elif not isinstance(cache, Cache):
        if not is_cache(Path(cache)):
            raise InputError(
                f"the shift protocol trains on a cache of labelled images, and {cache} is none",
                "Leave it out to take the cache that the run was fitted on.",
            )
        cache = open_cache(cache)
    run.require_match(cache)
    shown, record = progress_of(progress), run.record
    spec = record.head
    images = cache.images.join(
        cache.details[cache.details.columns.difference(cache.images.columns)]
    )
    data = load_training_data(cache, spec, use_copies=record.copies > 0, progress=shown)
    # Groups of byte-identical images are merged in the training data: those are the patients.
    known = images.iloc[data.image[data.originals]].reset_index(drop=True)
    known = known.assign(group=data.groups[data.originals])
    seams = find_seams(known, cache.classes[1], columns, seed=spec.seed)
    ordinary, results = evaluate_seams(
        spec, data, seams, criterion=record.criterion, progress=shown
    )
    return ProtocolReport(
        run.path, spec, record.criterion, record.classes, ordinary, tuple(results)
    )


def evaluate_seams(
    spec: HeadSpec,
    data: TrainingData,
    seams: Sequence[Seam],
    *,
    criterion: Criterion,
    progress: Progress = SILENT,
) -> tuple[SeamResult, list[SeamResult]]:
    """Measure a head on ordinary folds, and across each seam of the untouched images."""
    originals, truth = data.originals, data.y[data.originals] == 1
    floor = criterion.stopping_floor
    scores = _out_of_fold(spec, data, floor, progress)
    threshold, feasible = _threshold(scores, criterion)
    metrics = evaluate_scores(scores, threshold, seed=spec.seed)
    ordinary = SeamResult(ORDINARY, len(truth), metrics, feasible)
    results = []
    for seam in seams:
        progress.note(f"Seam {seam.name}")
        side = data.part(np.isin(data.image, data.image[originals][seam.train]))
        inner = _out_of_fold(spec, side, floor, progress)
        threshold, feasible = _threshold(inner, criterion)
        head = fit_head(spec, side, np.flatnonzero(side.fitted), accuracy_floor=floor)
        tested = originals[seam.test]
        found = head.predict_proba(data.rows(tested))[:, 1]
        measured = Scores.from_arrays(truth[seam.test], found, data.groups[tested])
        metrics = evaluate_scores(measured, threshold, seed=spec.seed)
        results.append(SeamResult(seam.name, int(seam.train.sum()), metrics, feasible))
    return ordinary, results


def _out_of_fold(
    spec: HeadSpec, data: TrainingData, accuracy_floor: float, progress: Progress
) -> Scores:
    scores = out_of_fold(
        spec, data, seed=spec.seed, accuracy_floor=accuracy_floor, progress=progress
    ).scores
    originals = data.originals
    return Scores.from_arrays(data.y[originals] == 1, scores["score"], data.groups[originals])


def _threshold(scores: Scores, criterion: Criterion) -> tuple[float, bool]:
    """Choose a threshold; if none reaches the floors, the one that misses them least."""
    try:
        return choose_by(criterion, scores).threshold, True
    except NoFeasibleThresholdError:
        points = sweep(scores)
        return float(points.thresholds[criterion.nearest(points)]), False
