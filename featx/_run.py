"""A run and all that can be done with it: what users hold in their hands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from featx._progress import SILENT, Progress
from featx.backbones import Backbone
from featx.runs import FittedRun
from featx.scoring import Evaluation, Prediction, Predictor, measure, score_images
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
        self, paths: Iterable[str | Path], *, backbone: Backbone | None = None
    ) -> Iterator[Prediction]:
        """Decode, embed and score image files, a few at a time.

        Parameters
        ----------
        paths
            Image files; see `find_images` for folders.
        backbone
            None loads the run's own.

        Returns
        -------
        iterator of Prediction
            In the order of `paths`; a file that can't be read has an error and no score.

        Raises
        ------
        InputError
            When a file of the run is missing or damaged.
        SpecMismatchError, WeightsError
            See `FittedRun.backbone`.
        """
        return Predictor(self, backbone or self.backbone()).predict(paths)


def load_run(path: str | Path) -> Run:
    """Open a run directory that `featx.fit` wrote.

    Raises
    ------
    InputError
        When it isn't a run, or a file of it is missing or damaged.
    """
    return Run(path)
