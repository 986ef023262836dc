"""A run and all that can be done with it: what users hold in their hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from featx._progress import SILENT, Progress, progress_of
from featx.backbones import Backbone
from featx.runs import FittedRun
from featx.scoring import (
    Evaluation,
    ImageScorer,
    PredictionCounts,
    Predictions,
    find_images,
    measure,
    predict_images,
    score_images,
)
from featx_cache import Cache


class Run(FittedRun):
    """A run directory; open one with `load_run`."""

    def evaluate(
        self,
        cache: Cache | None = None,
        *,
        split: str | None = "test",
        by: Sequence[str] = (),
        prevalence: float | None = None,
        keep_known_patients: bool = False,
        progress: Progress = SILENT,
    ) -> Evaluation:
        """Measure the run on images that it wasn't fitted on.

        Parameters
        ----------
        cache
            None takes the cache that the run was fitted on.
        split
            Of the cache; ``all`` takes every image, None those of ``test`` or else every image.
        by
            Columns of the manifest to divide the images by, or ``size``.
        prevalence
            See `featx.evaluation.evaluate_scores`.
        keep_known_patients
            See `featx.scoring.score_images`.

        Raises
        ------
        InputError
            When the split is empty, nothing is left of it, or there is no such column.
        SpecMismatchError
            See `FittedRun.require_match`.
        """
        cache = cache if cache is not None else self.own_cache()
        scored = score_images(
            self, cache, split, keep_known_patients=keep_known_patients, progress=progress
        )
        return measure(self, scored, by=by, prevalence=prevalence)

    def predict(
        self,
        images: str | Path | Iterable[str | Path],
        *,
        backbone: Backbone | None = None,
        weights: str | None = None,
        progress: Progress | bool = True,
    ) -> Predictions:
        """Decode, embed and score image files with the run's own settings.

        Parameters
        ----------
        images
            Image file, folder with images anywhere below it, or several of these.
        backbone
            The run's backbone, if it is loaded already.
        weights
            Place of the backbone's weights, if they were moved since the fit.
        progress
            Bars by default; False is silent.

        Returns
        -------
        Predictions
            One row an image, in the order of `images`. A file that can't be read has an error and
            no score.

        Raises
        ------
        InputError
            If a path doesn't exist, a folder has no images, or a file of the run is damaged.
        SpecMismatchError, WeightsError
            See `FittedRun.backbone`.

        Notes
        -----
        `featx.scoring.predict_images` takes any number of files, and yields predictions one after
        another.

        Examples
        --------
        >>> found = run.predict("new_patients/")  # doctest: +SKIP
        >>> found.to_frame()  # doctest: +SKIP
        """
        left_out: Counter[str] = Counter()
        paths = [*find_images([images] if isinstance(images, str | Path) else images, left_out)]
        scorer = ImageScorer(self, backbone or self.backbone(weights))
        rows, counts = [], PredictionCounts(self)
        with progress_of(progress).task("Predicting", len(paths), "image") as advance:
            for prediction in predict_images(scorer, paths):
                rows.append(prediction)
                counts.add(prediction)
                advance(1)
        return Predictions(rows, counts, left_out)


def load_run(path: str | Path) -> Run:
    """Open a run directory that `featx.fit` wrote.

    Raises
    ------
    InputError
        When it isn't a run, or a file of it is missing or damaged.
    """
    return Run(path)
