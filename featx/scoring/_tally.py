"""What many predictions say together: counts, and whether their population differs."""

from __future__ import annotations

import hashlib
import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featx._scores import Scores
from featx.data import group_of
from featx.evaluation import Population, Shift, compare_populations
from featx.runs._record import OOF_NAME
from featx.scoring._predict import Prediction, shift_warning

if TYPE_CHECKING:
    from featx.runs._fitted import FittedRun

FEWEST_TO_COMPARE = 30
"""Patients; fewer are not called a population."""

NEXT = "the threshold may be wrong here. See `featx evaluate` and `featx calibrate`."


class Tally:
    """Counts predictions as they come, in 24 bytes an image.

    Parameters
    ----------
    run
        Whose predictions they are.

    Attributes
    ----------
    images, failed
        Files so far, and those without a score.
    positive, uncertain, unlike
        Images called positive, images with an uncertain verdict, images unlike the training set.
    """

    def __init__(self, run: FittedRun) -> None:
        self._run = run
        self.images = self.failed = self.positive = self.uncertain = self.unlike = 0
        self._scores, self._distances, self._patients = array("d"), array("d"), array("Q")

    def add(self, prediction: Prediction) -> None:
        """Count one more."""
        self.images += 1
        if prediction.score is None:
            self.failed += 1
            return
        self.positive += prediction.score >= prediction.threshold
        self.uncertain += bool(prediction.uncertain)
        self.unlike += bool(prediction.unlike_training)
        self._scores.append(prediction.score)
        distance = prediction.distance
        self._distances.append(np.nan if distance is None else distance)
        # A name that tells no patient is one of its own.
        name = Path(prediction.path).name
        patient = group if (group := group_of(name)) != name else prediction.path
        digest = hashlib.blake2b(os.fsencode(patient), digest_size=8).digest()
        self._patients.append(int.from_bytes(digest))

    @property
    def in_words(self) -> str:
        """How many are called what, such as ``37 of 62 called PNEUMONIA, 3 uncertain.``."""
        scored = self.images - self.failed
        said = f"{self.positive} of {scored} called {self._run.record.classes[1]}"
        if self._run.record.band is not None:
            said += f", {self.uncertain} uncertain"
        return f"{said}."

    @property
    def shift(self) -> Shift | None:
        """How the images differ from those that the run was fitted on, as far as scores tell.

        Labels aren't known here. Patients are, as far as names of files tell them.

        Returns
        -------
        Shift or None
            None with fewer than 30 patients, and for runs that have no out-of-fold scores.
        """
        run, record = self._run, self._run.record
        known_scores = bool(record.files) or (run.path / OOF_NAME).exists()
        if not known_scores or len(set(self._patients)) < FEWEST_TO_COMPARE:
            return None
        known = Scores.from_table(run.out_of_fold, record.classes, "out of fold")
        distances = limit = here = None
        if run.has_reference:
            distances, limit = run.reference.distances, run.reference.limit
            here = np.array(self._distances)
        return compare_populations(
            Population.labelled(known, distances),
            Population(np.array(self._scores), np.array(self._patients), None, here),
            limit=limit,
            classes=record.classes,
            seed=record.seed,
        )

    @property
    def warning(self) -> str:
        """One line where the images look like another population; empty where they don't."""
        shift = self.shift
        if shift is None or not shift.suspected:
            return shift_warning(self.unlike, self.images - self.failed)
        record = self._run.record
        called = self.positive / len(self._scores)
        before = float((self._run.out_of_fold["score"] >= record.threshold).mean())
        said = shift.sentence.removesuffix(".")
        if abs(called - before) > 0.05:
            said += (
                f"; {called:.0%} are called {record.classes[1]} here and {before:.0%} of the "
                "training images were, out of fold: another share of sick people alone may be why"
            )
        return f"{said}. So {NEXT}"
