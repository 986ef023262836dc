"""What a run achieves at a new site: estimated from scores alone, or with a few labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._progress import Progress
from featx.errors import InputError
from featx.evaluation import Interval, plural
from featx.evaluation._metrics import metrics_frame, metrics_html
from featx.populations._expected_performance import (
    METRICS,
    Calibrator,
    TrialSites,
    sampled_intervals,
    widened,
)
from featx.populations._likeness import are_disturbed, require_likeness
from featx.populations._prediction_powered import LabelledSample
from featx.populations._site_labels import MIN_LABELS, SiteLabels
from featx.populations._unlabelled_images import UnlabelledImages, score_unlabelled
from featx.runs._fitted import FittedRun
from featx.scoring._find_images import list_images
from featx.scoring._labelled_data import ScoringOptions, is_cache
from featx.scoring._left_out import LeftOut
from featx.thresholds import fit_recalibration
from featx_cache import Cache
from featx_cache._text import printable

MIN_PATIENTS = 50
"""With fewer patients, an estimate without labels isn't given: differences wouldn't show."""

MIN_OF_CLASS = 10
"""With fewer images of a class by estimate, recall or specificity isn't given."""

MAX_WIDTH = 0.5
"""Width of a 95 % interval from which a metric is unknown: its value would mislead."""


@dataclass(frozen=True, slots=True)
class PerformanceEstimate:
    """What a run achieves on images of a site, of which few or none have labels.

    Attributes
    ----------
    data
        Name of the images.
    threshold
        Threshold of the run.
    accuracy, recall, specificity
        Estimated metrics at the threshold. One is NaN if it can't be estimated.
    share
        Estimated share of the images that are of the sick.
    intervals
        95 % intervals of these four.
    images, patients
        Numbers of images and patients of the site.
    labels
        Number of images with a label. With 0, the metrics are expectations and no measurements.
    notes
        Sentences to read with the metrics.
    left_out
        Images that weren't used, because the run was fitted on them or on their patients.

    Examples
    --------
    >>> found = run.estimate("our_hospital")  # doctest: +SKIP
    >>> found  # doctest: +SKIP
    PerformanceEstimate(our_hospital, no labels: accuracy 0.91 (0.86 – 0.95), ...)
    >>> found.to_frame()  # doctest: +SKIP
    """

    data: str
    threshold: float
    accuracy: float
    recall: float
    specificity: float
    share: float
    intervals: Mapping[str, Interval]
    images: int
    patients: int
    labels: int
    notes: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: metric, value, and the ends of its 95 % interval."""
        ends = {name: {"low": each.low, "high": each.high} for name, each in self.intervals.items()}
        values = {name: getattr(self, name) for name in METRICS}
        return metrics_frame({**values, "intervals": ends})

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON. NaN becomes None."""
        values = {name: getattr(self, name) for name in METRICS}
        return {
            "data": self.data,
            "estimated": True,
            "labels": self.labels,
            "images": self.images,
            "patients": self.patients,
            "threshold": self.threshold,
            **{name: None if math.isnan(value) else value for name, value in values.items()},
            "intervals": {name: asdict(each) for name, each in self.intervals.items()},
            "left_out": self.left_out.as_dict(),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        said = [f"{row.metric} {_between(row)}" for row in self.to_frame().itertuples()]
        with_labels = plural(self.labels, "label") if self.labels else "no labels"
        return printable(f"PerformanceEstimate({self.data}, {with_labels}: {', '.join(said)})")

    def _repr_html_(self) -> str:
        how = f"with {plural(self.labels, 'label')}" if self.labels else "without labels"
        return metrics_html(self.to_frame(), self.notes, title=f"Estimated {how}: {self.data}")


def estimate_performance(
    run: FittedRun,
    images: UnlabelledImages | Cache | str | Path,
    *,
    labels: pd.DataFrame | str | Path | None = None,
    options: ScoringOptions | None = None,
    progress: Progress | bool = True,
) -> PerformanceEstimate:
    """Estimate accuracy, recall and specificity of a run on images without labels, or with a few.

    Without labels, scores become probabilities on the run's own out-of-fold scores (Platt 1999).
    They are corrected for another share of the sick (Saerens et al. 2002) and summed to the counts
    that are expected. The interval has three parts: the patients here (bootstrap), the error of
    such estimates for held-out patients of the training set, and the error for their augmented
    copies, if the run has scores of them.

    With labels of some images, both are combined by prediction-powered inference (Angelopoulos et
    al. 2023). Such an estimate holds wherever the images are from.

    Parameters
    ----------
    run
        Run to estimate.
    images
        Image file, folder of images, or cache. Labels in it aren't looked at. Or their scores by
        the run (`featx.populations.score_unlabelled`).
    labels
        CSV file or table with the columns path and label, for 20 images or more. Paths are as in
        `images`: below the folder, or as they lead to the files. ``sampling_weight``, as in a
        table of `Run.suggest_labels`, says how many images each stands for. Without it they must
        be a random sample. None estimates without labels.
    options
        Place of the backbone's weights, and whether known patients of a cache are kept.
    progress
        Bars by default. False is silent.

    Raises
    ------
    InputError
        If there are too few images or labels, a label isn't one of the run's classes, a path isn't
        among the images, or the run's scores don't tell sick from healthy.
    EstimateError
        If the images are too unlike the training images for an estimate without labels.

    Examples
    --------
    >>> estimate_performance(run, "our_hospital")  # doctest: +SKIP
    PerformanceEstimate(our_hospital, no labels: accuracy 0.91 (0.86 – 0.95), ...)
    """
    known = SiteLabels.read(labels, run.record.classes) if labels is not None else None
    if not isinstance(images, UnlabelledImages):
        _require_enough(images, MIN_PATIENTS if known is None else MIN_LABELS)
        images = score_unlabelled(run, images, options, progress=progress)
    site = _Site(run, images)
    return site.expected() if known is None else site.measured(known)


def _require_enough(images: Cache | str | Path, least: int) -> None:
    """Refuse a folder of too few images before the long work."""
    if isinstance(images, Cache) or is_cache(Path(images)):
        return
    if (number := len(list_images(images))) < least:
        raise _too_few(number, number, least)


class _Site:
    """Images of a site, and the run that scored them."""

    def __init__(self, run: FittedRun, images: UnlabelledImages) -> None:
        self.run, self.images, self.table = run, images, images.table
        self.scores = self.table["score"].to_numpy(np.float64)
        self.patients, self.patient = np.unique(
            self.table["group"].astype(str), return_inverse=True
        )
        self.threshold, self.seed = run.record.threshold, run.record.seed
        try:
            fit_recalibration(run.scores, "sigmoid")
        except InputError as error:
            raise InputError(
                f"the out-of-fold scores of the run {run.path} don't tell sick from healthy, so "
                "nothing can be estimated with them",
                "Fit a better head.",
            ) from error
        self.calibrator = Calibrator.learn(run.scores)
        rates = self.calibrator.rates(self.scores, self.threshold, np.ones((1, len(self.scores))))
        self.rates = {name: float(values[0]) for name, values in rates.items()}

    def expected(self) -> PerformanceEstimate:
        """Estimate without labels."""
        run, share = self.run, self.rates["share"]
        if len(self.patients) < MIN_PATIENTS:
            raise _too_few(len(self.table), len(self.patients))
        copies = run.out_of_fold_copies
        trials = TrialSites(
            run.scores, run.out_of_fold["path"], copies, self.threshold, seed=self.seed
        )
        errors, known_misfit = trials.errors(share)
        notes = require_likeness(run, self.calibrator, self.table, known_misfit)
        sampled = sampled_intervals(
            self.calibrator, self.scores, self.patient, self.threshold, seed=self.seed
        )
        intervals = {
            name: widened(value, sampled[name], errors[name]) for name, value in self.rates.items()
        }
        here = len(self.table)
        notes += self._unknown(intervals)
        values = {name: self.rates[name] if name in intervals else math.nan for name in METRICS}
        before = (
            f"{plural(here, 'image')} of {plural(len(self.patients), 'patient')} without labels. "
            "These numbers are expected from the scores and were not measured here."
        )
        return self._result(values, intervals, [before, _spread(run, trials, errors), *notes])

    def _unknown(self, intervals: dict[str, Interval]) -> list[str]:
        """Leave out metrics of which too little is known, and say which and why."""
        classes, here, share = self.run.record.classes, len(self.table), self.rates["share"]
        notes = []
        for name, label, part in (
            ("recall", classes[1], share),
            ("specificity", classes[0], 1.0 - share),
        ):
            if part * here < MIN_OF_CLASS:
                del intervals[name]
                notes.append(
                    f"About {part * here:.0f} of {here:,} images are {label} by estimate. That is "
                    f"too few to estimate {name}."
                )
        for name, each in list(intervals.items()):
            if each.high - each.low > MAX_WIDTH:
                del intervals[name]
                called = "the share of the sick" if name == "share" else name
                notes.append(
                    f"Nothing is known of {called}: it may be anything from {each.low:.2f} to "
                    f"{each.high:.2f}. Labels of 50 images would tell."
                )
        return notes

    def measured(self, labels: SiteLabels) -> PerformanceEstimate:
        """Estimate with labels of some images."""
        rows = labels.rows_in(self.images)
        share = min(max(self.rates["share"], 1e-6), 1.0 - 1e-6)
        sample = LabelledSample(
            called=self.scores >= self.threshold,
            chance=self.calibrator.probabilities(self.scores, share),
            rows=rows,
            sick=labels.sick,
            weight=labels.weight,
            patient=np.unique(self.patient[rows], return_inverse=True)[1],
        )
        if int(sample.patient.max()) + 1 < MIN_LABELS:
            raise InputError(
                f"the labels are of {plural(int(sample.patient.max()) + 1, 'patient')}",
                f"Label images of {MIN_LABELS} patients or more.",
                parameter="labels",
            )
        values, intervals, alone = dict.fromkeys(METRICS, math.nan), {}, []
        classes = self.run.record.classes
        for name in METRICS:
            found, plain = sample.estimate(name), sample.estimate(name, powered=False)
            if found is None or plain is None:
                alone.append(
                    f"No label is of {classes[1] if name == 'recall' else classes[0]}: {name} is "
                    "unknown."
                )
                continue
            values[name], intervals[name] = found
            if name == "accuracy":
                alone.append(
                    f"The labels alone say accuracy {plain[0]:.3f} ({plain[1].low:.3f} – "
                    f"{plain[1].high:.3f})."
                )
        how = (
            "They count as often as their sampling weights say."
            if labels.weighted
            else "They have no sampling weights, so they must be a random sample of the images."
        )
        before = (
            f"{plural(len(self.table), 'image')} of {plural(len(self.patients), 'patient')}, of "
            f"which {len(rows)} have labels. {how} The scores of all images count as far "
            "as they agree with the labels (prediction-powered inference)."
        )
        blank = [labels.blank_sentence] if labels.blank_sentence else []
        return self._result(values, intervals, [before, *alone, *blank], len(rows))

    def _result(
        self,
        values: Mapping[str, float],
        intervals: Mapping[str, Interval],
        notes: list[str],
        labels: int = 0,
    ) -> PerformanceEstimate:
        if self.run.record.extraction.backbone.weights == "random":
            notes = [*notes, "The embeddings are untrained (random weights)."]
        return PerformanceEstimate(
            data=self.images.data,
            threshold=self.threshold,
            **{name: values[name] for name in METRICS},
            intervals=dict(intervals),
            images=len(self.table),
            patients=len(self.patients),
            labels=labels,
            notes=tuple(notes),
            left_out=self.images.left_out,
        )


def _too_few(images: int, patients: int, least: int = MIN_PATIENTS) -> InputError:
    """Return the error of too few images."""
    return InputError(
        f"{plural(images, 'image')} of {plural(patients, 'patient')} can't say how good the run "
        f"is: that takes {least} patients, whose labels needn't be known",
        "Give more images, or label all of them and evaluate the run on those. `run.predict` "
        "scores images without labels.",
    )


def _spread(run: FittedRun, trials: TrialSites, errors: Mapping[str, float]) -> str:
    """Say what the interval knows of, and what it doesn't."""
    size = (
        f"(root mean square: accuracy {errors['accuracy']:.3f}, recall {errors['recall']:.3f}, "
        f"specificity {errors['specificity']:.3f})"
    )
    if not trials.has_copies:
        return (
            "CAUTION: the run has no scores of disturbed copies. So the intervals hold only if the "
            "share of the sick is all that differs here. They include the error of such estimates "
            f"for held-out patients of the training set {size}. Another exposure or device isn't "
            "in them."
        )
    said = (
        "The intervals hold if this site is as far from the training images as their augmented "
        f"copies are. They include the error of such estimates there {size}."
    )
    if are_disturbed(run):
        return said
    return (
        f"{said} CAUTION: those copies have another geometry only. Another exposure or device "
        "isn't in the intervals: `augmentation='shift'` makes copies that differ so."
    )


def _between(row: Any) -> str:
    """Return a value with its interval."""
    if math.isnan(row.value):
        return "unknown"
    return f"{row.value:.3f} ({row.low:.3f} – {row.high:.3f})"
