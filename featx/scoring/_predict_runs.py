"""Verdicts of several runs on the same image files, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from featx._arguments import wrong_type
from featx._html import html_table
from featx._progress import Progress, progress_of
from featx.backbones import Backbone
from featx.data import in_words
from featx.evaluation import plural
from featx.runs._fitted import FittedRun
from featx.scoring._find_images import Images, list_images
from featx.scoring._image_scorer import RunsScorer, load_backbones
from featx.scoring._predict import Prediction, predict_images_by_run
from featx.scoring._predictions import SHOWN_ROWS, PredictionCounts, Predictions
from featx.scoring._run_names import names_of
from featx_cache._text import printable


class CountsByRun(Mapping[str, PredictionCounts]):
    """Counts of the verdicts of runs on the same images, by the names of the runs.

    Parameters
    ----------
    runs
        Runs that make the predictions.

    Attributes
    ----------
    images, failed
        Number of files so far, and of those that a run or more couldn't score.
    disagreements
        Number of images that all runs scored and that not all call the same.

    Raises
    ------
    InputError
        If there is no run, or a run is there twice.

    Examples
    --------
    >>> counts = CountsByRun([logreg, svm])  # doctest: +SKIP
    >>> for predictions in predict_images_by_run(scorer, paths):  # doctest: +SKIP
    ...     counts.add(predictions)
    >>> counts["svm"].in_words, counts.agreement  # doctest: +SKIP
    ('37 of 62 called PNEUMONIA, 3 uncertain.', 'The runs disagree on 5 of 62 images.')
    """

    def __init__(self, runs: Sequence[FittedRun]) -> None:
        names = names_of(runs, "Give each run once.")
        self._by_run = dict(zip(names, map(PredictionCounts, runs), strict=True))
        self._same_classes = len({frozenset(run.record.classes) for run in runs}) == 1
        self.images = self.failed = self.disagreements = 0

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Count one more image, with the prediction of each run."""
        for counts, prediction in zip(self._by_run.values(), predictions, strict=True):
            counts.add(prediction)
        self.images += 1
        if any(prediction.score is None for prediction in predictions):
            self.failed += 1
        elif self._same_classes:
            self.disagreements += len({prediction.prediction for prediction in predictions}) > 1

    def __getitem__(self, name: str) -> PredictionCounts:
        return self._by_run[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_run)

    def __len__(self) -> int:
        return len(self._by_run)

    @property
    def view_warnings(self) -> list[str]:
        """Line of each run on images that may not be upright frontal chest X-rays.

        If all runs say the same, it is one line. See `PredictionCounts.view_warning`.
        """
        said = {name: own.view_warning for name, own in self.items() if own.view_warning}
        if len(said) == len(self) and len(set(said.values())) == 1:
            return [*said.values()][:1]
        return [f"{name}: {warning}" for name, warning in said.items()]

    @property
    def agreement(self) -> str:
        """On how many images the verdicts of the runs differ. Empty for one run alone."""
        if len(self) < 2:
            return ""
        if not self._same_classes:
            return "The runs tell different classes apart, so their verdicts aren't compared."
        scored = plural(self.images - self.failed, "image")
        return f"The runs disagree on {self.disagreements} of {scored}."


class RunPredictions(Mapping[str, Predictions]):
    """Predictions of several runs on the same image files, by the names of the runs.

    Parameters
    ----------
    by_run
        Predictions of each run, by its name.
    counts
        Their counts.
    left_out
        Number of files in folders that aren't images, by reason.

    Attributes
    ----------
    counts : CountsByRun
        Counts of the verdicts.

    Examples
    --------
    >>> found = predict_runs([logreg, svm], "new_patients/")  # doctest: +SKIP
    >>> found["svm"]  # doctest: +SKIP
    Predictions(37 of 62 called PNEUMONIA, 3 uncertain.)
    >>> found.to_frame().pivot(index="path", columns="run", values="score")  # doctest: +SKIP
    """

    def __init__(
        self,
        by_run: Mapping[str, Predictions],
        counts: CountsByRun,
        left_out: Counter[str] | None = None,
    ) -> None:
        self._by_run, self.counts = dict(by_run), counts
        self._left_out = Counter[str]() if left_out is None else left_out

    def __getitem__(self, name: str) -> Predictions:
        return self._by_run[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_run)

    def __len__(self) -> int:
        return len(self._by_run)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a file and run: the run's name, then the attributes of `Prediction`.

        The rows of a file follow each other, in the order of the runs.
        """
        columns = Prediction.__slots__
        rows = [
            [name, *(getattr(prediction, column) for column in columns)]
            for predictions in zip(*self.values(), strict=True)
            for name, prediction in zip(self, predictions, strict=True)
        ]
        return pd.DataFrame(rows, columns=["run", *columns])

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the verdicts: counts, agreement, failures, warnings."""
        counts, left_out = self.counts, in_words(self._left_out.elements())
        notes = [f"{name}: {own.in_words}" for name, own in counts.items()]
        notes += filter(None, [counts.agreement])
        notes += counts.view_warnings
        if counts.failed:
            files = plural(counts.images, "file")
            notes.append(f"{counts.failed} of {files} could not be scored: see the column error.")
        notes += [f"{left_out}."] if left_out else []
        return (*notes, *(f"{name}: {own.warning}" for name, own in counts.items() if own.warning))

    def __repr__(self) -> str:
        counts = self.counts
        shown = len(self) + bool(counts.agreement) + len(counts.view_warnings) + bool(counts.failed)
        return printable(f"RunPredictions({' '.join(self.notes[:shown])})")

    def _repr_html_(self) -> str:
        table = self.to_frame()
        seen = any(counts.views for counts in self.counts.values())
        empty = {"error": not self.counts.failed, "view": not seen}
        shown = table.drop(columns=[name for name in empty if empty[name]]).head(SHOWN_ROWS)
        more = len(table) - len(shown)
        return html_table(shown, [*self.notes, *([f"{more} more: to_frame()."] if more else ())])


def predict_runs(
    runs: FittedRun | Sequence[FittedRun],
    images: Images,
    *,
    backbones: Sequence[Backbone] | None = None,
    weights: str | None = None,
    progress: Progress | bool = True,
) -> RunPredictions:
    """Score image files with several runs. Each file is decoded and embedded once.

    Runs with other backbones, or other settings of the images, get embeddings of their own. See
    `RunsScorer`.

    Parameters
    ----------
    runs
        Run, or several, that `featx.load_run` opened. Each gives the verdicts of its `predict`.
    images
        Image file, folder with images anywhere below it, or several of these.
    backbones
        Backbone of each run, if they are loaded already. See `load_backbones`.
    weights
        Place of the weights of the first run's backbone, if they were moved since the fit.
    progress
        Bars by default. False is silent.

    Returns
    -------
    RunPredictions
        Predictions of each run, by its name, in the order of `images`. Runs are called by their
        folders, with as much of the path as tells them apart.

    Raises
    ------
    InputError
        If there is no run, a run is there twice, a path doesn't exist, a folder has no images, or a
        file of a run is damaged.
    SpecMismatchError, WeightsError
        See `FittedRun.backbone`.

    Examples
    --------
    >>> runs = [featx.load_run("runs/logreg"), featx.load_run("runs/svm")]  # doctest: +SKIP
    >>> found = predict_runs(runs, "new_patients/")  # doctest: +SKIP
    >>> found.to_frame()[["run", "path", "score", "prediction"]]  # doctest: +SKIP
    """
    given = list(runs) if isinstance(runs, Iterable) else [runs]
    for run in given:
        if not isinstance(run, FittedRun):
            raise wrong_type("runs", run, "runs that `featx.load_run` opened")
    counts, left_out = CountsByRun(given), Counter[str]()
    paths = list_images(images, left_out)
    scorer = RunsScorer(given, load_backbones(given, weights) if backbones is None else backbones)
    rows: list[list[Prediction]] = [[] for _ in given]
    with progress_of(progress).task("Predicting", len(paths), "image") as advance:
        for predictions in predict_images_by_run(scorer, paths):
            counts.add(predictions)
            for own, prediction in zip(rows, predictions, strict=True):
                own.append(prediction)
            advance(1)
    by_run = {
        name: Predictions(own, counts[name], left_out)
        for name, own in zip(counts, rows, strict=True)
    }
    return RunPredictions(by_run, counts, left_out)
