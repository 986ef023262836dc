"""Summary of many predictions: counts, and whether their population differs."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from featx._html import html_table
from featx.data import group_of, in_words
from featx.evaluation import DISTANCE_QUANTILE, Population, Shift, plural
from featx.runs._fitted import FittedRun
from featx.scoring._predict import Prediction
from featx.scoring._shift import shift_from_training
from featx_cache._text import printable

MIN_PATIENTS = 30
"""Patients whose images can be called a population."""
SHIFT_P_VALUE = 0.01
SHOWN_ROWS = 20
SHOWN_EXAMPLES = 3
SHIFT_ADVICE = "See `run.evaluate` and `run.calibrate`."


class PredictionCounts:
    """Counts predictions as they come, in 24 bytes an image.

    Parameters
    ----------
    run
        Run that made the predictions.

    Attributes
    ----------
    images, failed
        Number of files so far, and of those without a score.
    positive, uncertain, unlike
        Number of images called positive, with an uncertain verdict, unlike the training images.
    views : Counter of str
        Number of images by `Prediction.view`, of those that have one.

    Examples
    --------
    >>> counts = PredictionCounts(run)  # doctest: +SKIP
    >>> for prediction in predict_images(scorer, paths):  # doctest: +SKIP
    ...     counts.add(prediction)
    >>> counts.in_words  # doctest: +SKIP
    '37 of 62 called PNEUMONIA, 3 uncertain.'
    """

    def __init__(self, run: FittedRun) -> None:
        self._run = run
        self.images = self.failed = self.positive = self.uncertain = self.unlike = 0
        self.views = Counter[str]()
        self._examples: dict[str, list[str]] = {}
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
        if prediction.view:
            self.views[prediction.view] += 1
            if len(examples := self._examples.setdefault(prediction.view, [])) < SHOWN_EXAMPLES:
                examples.append(Path(prediction.path).name)
        self._scores.append(prediction.score)
        distance = prediction.distance
        self._distances.append(np.nan if distance is None else distance)
        # If the file's name doesn't tell the patient, the file counts as a patient of its own.
        name = Path(prediction.path).name
        patient = group if (group := group_of(name)) != name else prediction.path
        digest = hashlib.blake2b(os.fsencode(patient), digest_size=8).digest()
        self._patients.append(int.from_bytes(digest))

    @property
    def in_words(self) -> str:
        """Verdicts in a sentence, such as ``37 of 62 called PNEUMONIA, 3 uncertain.``."""
        scored = self.images - self.failed
        said = f"{self.positive} of {scored} called {self._run.record.classes[1]}"
        if self._run.record.band is not None:
            said += f", {self.uncertain} uncertain"
        return f"{said}."

    @property
    def view_warning(self) -> str:
        """One line if images don't look like upright frontal chest X-rays, with some names."""
        if not self.views:
            return ""
        said = []
        for view, count in self.views.most_common():
            names = [*self._examples[view], *(["…"] if count > SHOWN_EXAMPLES else [])]
            said.append(f"{count} {view} ({', '.join(names)})")
        scored = plural(self.images - self.failed, "image")
        return printable(
            f"{self.views.total()} of {scored} may not be an upright frontal chest X-ray: "
            f"{'; '.join(said)}. Look at them first."
        )

    @property
    def shift(self) -> Shift | None:
        """Difference of the images from those that the run was fitted on, as far as scores tell.

        Labels aren't known here. Patients are known as far as the names of files tell them.

        Returns
        -------
        Shift or None
            None with fewer than 30 patients, and for runs that have no out-of-fold scores.
        """
        if len(set(self._patients)) < MIN_PATIENTS:
            return None
        scores, patients = np.array(self._scores), np.array(self._patients)
        here = Population(scores, patients, None, np.array(self._distances))
        return shift_from_training(self._run, here)

    @property
    def warning(self) -> str:
        """One line if the images look like another population. Empty if they don't."""
        shift = self.shift
        if shift is None or not shift.suspected:
            return unlike_warning(self.unlike, self.images - self.failed)
        record = self._run.record
        called = self.positive / len(self._scores)
        before = float((self._run.out_of_fold["score"] >= record.threshold).mean())
        said = shift.sentence.removesuffix(".")
        if abs(called - before) > 0.05:
            said += (
                f"; {called:.0%} are called {record.classes[1]} here and {before:.0%} of the "
                "training images were, out of fold: another share of sick people alone may be why"
            )
        return f"{said}. So the threshold may be wrong here. {SHIFT_ADVICE}"


class Predictions(Sequence[Prediction]):
    """Predictions of a run on image files, in their order.

    Parameters
    ----------
    rows
        Predictions.
    counts
        Their counts.
    left_out
        Number of files in folders that aren't images, by reason.

    Attributes
    ----------
    counts : PredictionCounts
        Counts of the verdicts.

    Examples
    --------
    >>> found = run.predict("new_patients/")  # doctest: +SKIP
    >>> found  # doctest: +SKIP
    Predictions(37 of 62 called PNEUMONIA, 3 uncertain.)
    >>> found.to_frame()[["path", "score", "prediction"]]  # doctest: +SKIP
    """

    def __init__(
        self,
        rows: Sequence[Prediction],
        counts: PredictionCounts,
        left_out: Counter[str] | None = None,
    ) -> None:
        self._rows, self.counts = tuple(rows), counts
        self._left_out = Counter[str]() if left_out is None else left_out

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        shown = 1 + bool(self.counts.views) + bool(self.counts.failed)
        return f"Predictions({' '.join(self.notes[:shown])})"

    @property
    def warning(self) -> str:
        """One line if the images look like another population. Empty if they don't."""
        return self.counts.warning

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the verdicts: counts, views, failures, other files, a warning."""
        counts, left_out = self.counts, in_words(self._left_out.elements())
        notes = [counts.in_words, *filter(None, [counts.view_warning])]
        if counts.failed:
            files = plural(counts.images, "file")
            notes.append(f"{counts.failed} of {files} could not be scored: see the column error.")
        return (*notes, *([f"{left_out}."] if left_out else ()), *filter(None, [self.warning]))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a file, with the attributes of `Prediction` as columns."""
        columns = Prediction.__slots__
        rows = [[getattr(row, name) for name in columns] for row in self._rows]
        return pd.DataFrame(rows, columns=list(columns))

    def _repr_html_(self) -> str:
        table = self.to_frame()
        empty = {"error": not self.counts.failed, "view": not self.counts.views}
        shown = table.drop(columns=[name for name in empty if empty[name]]).head(SHOWN_ROWS)
        more = len(self) - len(shown)
        return html_table(shown, [*self.notes, *([f"{more} more: to_frame()."] if more else ())])


def unlike_warning(unlike: int, images: int) -> str:
    """Return a warning if more images are unlike the training images than chance explains.

    1 % of the images of the training population are (see `featx.evaluation.Reference`). A one-sided
    binomial test (`scipy.stats.binomtest`) at 1 % decides.

    Parameters
    ----------
    unlike, images
        Number of images unlike the training images, and of all images.

    Returns
    -------
    str
        One line. Empty if there is nothing to say.

    Examples
    --------
    >>> unlike_warning(1, 100)
    ''
    >>> unlike_warning(6, 100)[:24]
    '6 of 100 images are unli'
    """
    expected = 1.0 - DISTANCE_QUANTILE
    if unlike < 2 or binomtest(unlike, images, expected, "greater").pvalue >= SHIFT_P_VALUE:
        return ""
    return (
        f"{unlike} of {images} images are unlike those that the run was fitted on, where "
        f"{expected:.0%} would be expected: this looks like another population, on which its "
        f"threshold may be wrong. {SHIFT_ADVICE}"
    )
