"""The stress test: a run's head on disturbed images of patients that it hasn't seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._arguments import require_whole, wrong_type
from featx._progress import Progress, progress_of
from featx._scores import Scores
from featx.backbones import Backbone
from featx.errors import InputError
from featx.evaluation import Metrics, evaluate_scores
from featx.images import AugmentationSpec
from featx.populations._conflict_images import evaluate_conflict, measure_sharpness
from featx.populations._disturbances import DisturbanceSeries, choose_disturbances
from featx.populations._disturbed_images import (
    DisturbedScores,
    HeldOut,
    choose_images,
    score_disturbed,
)
from featx.populations._fold_heads import FoldHeads, fit_fold_heads, image_scores
from featx.populations._stress_report import (
    ALL_UNTOUCHED,
    STORED,
    UNTOUCHED,
    StressReport,
    StressResult,
)
from featx.runs._fitted import FittedRun
from featx.scoring._labelled_data import is_cache
from featx.training import TrainingData, load_training_data
from featx_cache import Cache, open_cache
from featx_cache._text import plural

IMAGES = 200
"""Images that are disturbed by default. Each takes 27 passes through the network."""

MIN_IMAGES = 20


def stress_protocol(
    run: FittedRun,
    data: Cache | str | Path | None = None,
    *,
    images: int | None = IMAGES,
    disturbances: Sequence[str] = (),
    seed: int = 0,
    weights: str | None = None,
    progress: Progress | bool = True,
) -> StressReport:
    """Score disturbed images of held-out patients, and images in which a shortcut misleads.

    The run's head is trained anew on each fold of its images, and images of the patients held out
    are disturbed, embedded and scored by the head of that fold, at the run's own threshold. One
    thing is changed at a time, in three strengths, as in MedMNIST-C (Di Salvo et al. 2024).

    On conflict images sharpness points at the other class. Heads lean on such shortcuts (Jabbour
    et al., Deep learning applied to chest X-rays: exploiting and preventing shortcuts, MLHC 2020).
    The worst group says more than the mean (Sagawa et al., Distributionally robust neural networks
    for group shifts, ICLR 2020).

    Parameters
    ----------
    run
        Run whose head, settings, folds and threshold are taken.
    data
        Cache of labelled images, or the folder of the run's own images if it was moved. None takes
        the cache that the run was fitted on, and the images where they were.
    images
        Number of images that are disturbed: one a patient, with the classes' shares of all images.
        None takes every image.
    disturbances
        Names of `featx.populations.DISTURBANCES`, and ``conflict``. By default, all.
    seed
        Seed of the draw of images and of what is done to each.
    weights
        Place of the backbone's weights, if they were moved since the fit.
    progress
        Bars by default; False is silent.

    Returns
    -------
    StressReport
        A table of metrics with 95 % intervals by patients. Without images it has the cache's
        stored copies only, which need neither images nor a network.

    Raises
    ------
    InputError
        If a disturbance is unknown, `images` are fewer than 20, or the images are gone and the
        cache has no copies.
    SpecMismatchError, WeightsError
        See `FittedRun.backbone`.

    Examples
    --------
    >>> stress_protocol(run, disturbances=["blur"])  # doctest: +SKIP
    StressReport(logreg: 0.998 ROC AUC untouched, 0.912 under blur 3)
    """
    (report,) = stress_runs(
        [run],
        data,
        images=images,
        disturbances=disturbances,
        seed=seed,
        weights=weights,
        progress=progress,
    )
    return report


def stress_runs(
    runs: Sequence[FittedRun],
    data: Cache | str | Path | None = None,
    *,
    images: int | None = IMAGES,
    disturbances: Sequence[str] = (),
    seed: int = 0,
    weights: str | None = None,
    progress: Progress | bool = True,
) -> list[StressReport]:
    """Test runs of one cache as `stress_protocol` does, and embed disturbed images once for all.

    Raises
    ------
    InputError
        See `stress_protocol`. If the runs average over different numbers of copies.
    """
    chosen, wants_conflict = choose_disturbances(disturbances)
    _check_images(images)
    if len({run.record.tta for run in runs}) > 1:
        raise InputError(
            "these runs average over different numbers of copies",
            "Test them one after another.",
            parameter="runs",
        )
    shown = progress_of(progress)
    cache, folder = _source(runs[0], data)
    for run in runs:
        run.require_match(cache)
    gone = _gone(folder)
    # Weights that aren't there are told before the heads are trained.
    backbone = runs[0].backbone(weights) if chosen and not gone else None
    tests, reports = [], []
    for run in runs:
        used = run.record.copies > 0
        training = load_training_data(
            cache, run.record.head, use_copies=used, score_copies=True, progress=shown
        )
        if gone:
            _require_copies(training, gone)
            shown.note(f"{_sentence(gone)} Only stored copies are scored.")
        heads = fit_fold_heads(run, cache, training, shown)
        tests.append(_StressTest(run, training, heads, folder or Path()))
        remarks = (f"{_sentence(gone)} Only stored copies were scored.",) if gone else ()
        reports.append(_empty_report(run, remarks))
    if backbone is not None:
        reports = _disturb(tests, reports, chosen, backbone, (images, seed), shown)
    reports = [test.add_stored(report) for test, report in zip(tests, reports, strict=True)]
    if wants_conflict and not gone:
        pairs = zip(tests, reports, strict=True)
        reports = [test.add_conflict(report, shown) for test, report in pairs]
    return reports


def _empty_report(run: FittedRun, remarks: tuple[str, ...]) -> StressReport:
    record = run.record
    return StressReport(
        run.path,
        record.created,
        record.head,
        record.threshold,
        record.criterion,
        record.classes,
        (),
        remarks=remarks,
    )


@dataclass(frozen=True, slots=True)
class _StressTest:
    """Heads of the folds of a run, their scores, and the folder of the images."""

    run: FittedRun
    data: TrainingData
    heads: FoldHeads
    folder: Path

    @property
    def images(self) -> pd.DataFrame:
        """One row an untouched image: file, path, sha256, label, group, fold."""
        rows = self.data.originals
        table = self.data.table.iloc[rows].reset_index(drop=True)
        files = [self.folder / path for path in table["path"]]
        return table.assign(file=files, fold=self.heads.fold[rows])

    @property
    def untouched(self) -> NDArray[np.float64]:
        """Out-of-fold score of each untouched image."""
        return image_scores(self.run, self.data, self.data.originals, self.heads.scores)

    def measure(self, rows: NDArray[np.intp], scores: NDArray[np.float64]) -> Metrics:
        """Measure scores of rows of the training data at the run's threshold."""
        data, record = self.data, self.run.record
        found = Scores.from_arrays(data.y[rows] == 1, scores, data.groups[rows])
        return evaluate_scores(found, record.threshold, seed=record.seed)

    def add_disturbed(
        self,
        report: StressReport,
        levels: Sequence[_Level],
        position: NDArray[np.intp],
        found: DisturbedScores,
    ) -> StressReport:
        """Add results of the images at some positions of `images`, disturbed in each way."""
        read = np.isfinite(found.scores).all(axis=1)
        report = replace(report, left_out={**report.left_out, **found.left_out})
        if not read.any():
            why = f"none of {len(position)} images in {self.folder} could be used"
            first = next(iter(found.left_out.items()))
            _require_copies(self.data, f"{why} ({first[0]}: {first[1]})")
            return replace(report, remarks=(*report.remarks, _sentence(why)))
        rows = self.data.originals[position[read]]
        results = [
            StressResult(name, strength, value, self.measure(rows, scores))
            for (name, strength, value, _), scores in zip(levels, found.scores[read].T, strict=True)
        ]
        metrics = self.measure(rows, self.untouched[position[read]])
        untouched = StressResult(UNTOUCHED, 0, "", metrics)
        return replace(report, results=(*report.results, untouched, *results))

    def add_stored(self, report: StressReport) -> StressReport:
        """Add results of all untouched images and of the cache's copies, which need no network."""
        copies, originals = np.flatnonzero(self.data.copy > 0), self.data.originals
        results = list(report.results)
        if not results or (len(copies) and results[0].metrics.images < len(originals)):
            metrics = self.measure(originals, self.untouched)
            results.append(StressResult(ALL_UNTOUCHED, 0, "", metrics))
        if len(copies):
            scores = self.run.recalibrated(self.heads.scores[copies])
            results.append(StressResult(STORED, 0, "", self.measure(copies, scores)))
        return replace(report, results=tuple(results))

    def add_conflict(self, report: StressReport, progress: Progress) -> StressReport:
        """Add the result of conflict images, or a remark why there is none."""
        known = self.images
        values, left_out = measure_sharpness(
            self.run, known["file"].tolist(), known["sha256"].tolist(), progress
        )
        paths = {known["path"].iloc[number]: why for number, why in left_out.items()}
        report = replace(report, left_out={**report.left_out, **paths})
        found = evaluate_conflict(self.run, self.data, values, self.untouched, progress)
        if isinstance(found, str):
            return replace(report, remarks=(*report.remarks, found))
        return replace(report, conflict=found)


_Level = tuple[str, int, str, AugmentationSpec]
"""Name of a disturbance, its strength, the value of it, and what is done to an image."""


def _disturb(
    tests: Sequence[_StressTest],
    reports: Sequence[StressReport],
    chosen: Sequence[DisturbanceSeries],
    backbone: Backbone,
    draw: tuple[int | None, int],
    progress: Progress,
) -> list[StressReport]:
    """Add results of disturbed images, drawn by their number and a seed."""
    known, (number, seed) = tests[0].images, draw
    position = choose_images(known, number, seed)
    levels = [
        (one.name, strength, value, augmentation.model_copy(update={"seed": seed}))
        for one in chosen
        for strength, (value, augmentation) in enumerate(
            zip(one.values, one.augmentations, strict=True), 1
        )
    ]
    held_out = [
        HeldOut(test.run, test.heads.heads, test.images["fold"].to_numpy(np.int64)[position])
        for test in tests
    ]
    augmentations = [augmentation for *_, augmentation in levels]
    scores = score_disturbed(
        held_out, backbone, known.iloc[position], augmentations, progress=progress
    )
    return [
        test.add_disturbed(report, levels, position, found)
        for test, report, found in zip(tests, reports, scores, strict=True)
    ]


def _check_images(images: int | None) -> None:
    """Refuse a number of images from which nothing can be said."""
    if images is None:
        return
    require_whole("images", images)
    if images < MIN_IMAGES:
        raise InputError(
            f"{plural(images, 'image')} can't show what disturbances cost",
            f"Give `images` at least {MIN_IMAGES}.",
            parameter="images",
        )


def _source(run: FittedRun, data: Cache | str | Path | None) -> tuple[Cache, Path | None]:
    """Return the cache, and the folder of its images if the cache notes one."""
    if not isinstance(data, Cache | str | Path | None):
        raise wrong_type("data", data, "a cache, or the folder of the run's images")
    cache: Cache | None = None
    if data is None:
        cache = run.own_cache()
    elif isinstance(data, Cache):
        cache = data
    elif is_cache(Path(data)):
        cache = open_cache(data)
    if cache is not None:
        return cache, Path(cache.data) if cache.data else None
    assert isinstance(data, str | Path)
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is neither a cache nor a folder of images",
            "Leave it out to take the run's own cache and images.",
            parameter="data",
        )
    return run.own_cache(), folder


def _gone(folder: Path | None) -> str:
    """Say that the images are gone. Empty if they aren't."""
    if folder is None:
        return "the cache doesn't say where its images are"
    return "" if folder.exists() else f"there is no folder {folder} any more, which had the images"


def _require_copies(data: TrainingData, why: str) -> None:
    """Refuse what leaves nothing to score."""
    if not (data.copy > 0).any():
        raise InputError(
            f"the stress test disturbs images, and {why}",
            "Give the folder that has them now as DATA. A cache with copies allows a part.",
        )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
