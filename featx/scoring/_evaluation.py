"""Evaluation of a run on images that it wasn't fitted on: metrics, subgroups, the shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from featx._scores import Scores
from featx.evaluation import (
    DecisionCurve,
    Metrics,
    PerThousand,
    Population,
    Shift,
    Subgroups,
    caveats,
    counts_in_words,
    decision_curve,
    evaluate_scores,
    evaluate_subgroups,
    per_thousand,
    plural,
)
from featx.evaluation._metrics import metrics_html
from featx.runs._fitted import FittedRun
from featx.scoring._comparison import RunComparison
from featx.scoring._left_out import LeftOut
from featx.scoring._scored import Scored
from featx.scoring._shift import shift_from_training

SCORE_COLUMNS = ("path", "label", "group", "score")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Metrics of a run on images that it wasn't fitted on.

    Attributes
    ----------
    run
        Run that was evaluated.
    data
        Name of the data.
    split
        Name of the split, or ``all``.
    metrics
        See `featx.evaluation.Metrics`.
    scores
        One row an image: path, label, group, score.
    left_out
        Images that weren't measured, because the run was fitted on them or on their patients.
    subgroups
        Metrics of parts of the images, for each column that was asked for.
    shift
        Difference of these images from those that the run was fitted on. None for runs of earlier
        versions that have no scores of these.
    comparison
        Comparison with other runs. None if none was asked for.

    Examples
    --------
    >>> evaluation = run.evaluate()  # doctest: +SKIP
    >>> evaluation  # doctest: +SKIP
    Evaluation(logreg on test: recall 0.960, accuracy 0.910, ROC AUC 0.970, 62 images)
    >>> evaluation.to_frame()  # doctest: +SKIP
    >>> featx.plots.decision_curve(evaluation)  # doctest: +SKIP
    """

    run: FittedRun
    data: str
    split: str
    metrics: Metrics
    scores: pd.DataFrame
    left_out: LeftOut = field(default_factory=LeftOut)
    subgroups: tuple[Subgroups, ...] = ()
    shift: Shift | None = None
    comparison: RunComparison | None = None

    def as_scores(self) -> Scores:
        """Return labels, scores and patients, as `featx.plots` takes them."""
        return Scores.from_table(self.scores, self.run.record.classes, self.split)

    @property
    def excluded(self) -> int:
        """Number of images that were left out."""
        return self.left_out.total

    @property
    def in_words(self) -> str:
        """Counts of missed and of wrongly called images in a sentence."""
        return counts_in_words(self.metrics.confusion, self.run.record.classes)

    @property
    def per_thousand(self) -> PerThousand | None:
        """Verdicts on 1,000 patients with the share of the sick as in these images."""
        return per_thousand(self.metrics)

    @property
    def per_thousand_at_prevalence(self) -> PerThousand | None:
        """Verdicts on 1,000 patients at the stated prevalence. None if there is none."""
        prevalence = self.metrics.at_prevalence.get("prevalence")
        return None if prevalence is None else per_thousand(self.metrics, prevalence)

    @property
    def people_in_words(self) -> tuple[str, ...]:
        """Sentences on 1,000 patients, as in these images and at the stated prevalence."""
        told = (self.per_thousand, self.per_thousand_at_prevalence)
        return tuple(people.in_words for people in told if people is not None)

    def decision_curve(
        self, *, thresholds: ArrayLike | None = None, prevalence: float | None = None
    ) -> DecisionCurve:
        """Weigh sick people found against false alarms, from each probability on.

        Parameters
        ----------
        thresholds : array of shape (points,), optional
            Threshold probabilities between 0 and 1. None takes hundredths.
        prevalence
            Share of the sick where the run will be used. None takes that of these images.

        Raises
        ------
        InputError
            If a class is missing, a threshold or the prevalence is out of range, or the run has
            lost the scores that make probabilities.
        """
        return run_decision_curve(
            self.run, self.as_scores(), thresholds=thresholds, prevalence=prevalence
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to read with the metrics: counts, caveats, the shift, images left out."""
        metrics, classes = self.metrics, self.run.record.classes
        notes = [
            self.in_words,
            *self.people_in_words,
            f"{plural(metrics.images, 'image')} of {plural(metrics.patients, 'patient')} at the "
            f"run's threshold {metrics.threshold:.6g}.",
            *caveats(metrics.as_dict(), classes),
        ]
        if self.shift is not None:
            notes.append(self.shift.sentence)
        if self.run.record.extraction.backbone.weights == "random":
            notes.append("The embeddings are untrained (random weights).")
        if self.left_out.sentence:
            notes.append(self.left_out.sentence)
        return tuple(notes)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: metric, value, and the ends of its 95 % interval."""
        return self.metrics.to_frame()

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        record = self.run.record
        here, stated = self.per_thousand, self.per_thousand_at_prevalence
        return {
            "run": str(self.run.path),
            "head": record.head.name,
            "data": self.data,
            "split": self.split,
            "classes": list(record.classes),
            "positive_class": record.classes[1],
            "in_words": self.in_words,
            "accuracy_floor": record.accuracy_floor,
            "criterion": record.criterion.model_dump(mode="json"),
            "excluded": self.left_out.total,
            "left_out": self.left_out.as_dict(),
            "trained_embeddings": record.extraction.backbone.weights == "trained",
            **self.metrics.as_dict(),
            "subgroups": [subgroups.as_dict() for subgroups in self.subgroups],
            "comparison": self.comparison.as_dict() if self.comparison is not None else None,
            "shift": self.shift.as_dict() if self.shift is not None else None,
            "per_thousand": here.as_dict() if here is not None else None,
            "per_thousand_at_prevalence": stated.as_dict() if stated is not None else None,
        }

    def __repr__(self) -> str:
        m, name = self.metrics, self.run.record.head.name
        return (
            f"Evaluation({name} on {self.split}: recall {m.recall:.3f}, accuracy {m.accuracy:.3f}, "
            f"ROC AUC {m.roc_auc:.3f}, {plural(m.images, 'image')})"
        )

    def _repr_html_(self) -> str:
        title = f"{self.run.record.head.name} on {self.split} of {self.data}"
        return metrics_html(self.to_frame(), self.notes, title=title)


def evaluate_scored(
    run: FittedRun,
    scored: Scored,
    *,
    by: Sequence[str] = (),
    prevalence: float | None = None,
    comparison: RunComparison | None = None,
) -> Evaluation:
    """Turn scores into metrics, of all images and of each subgroup, and look for a shift.

    Parameters
    ----------
    run, scored
        See `featx.scoring.score_images`.
    by
        Columns to divide the images by. See `featx.evaluation.evaluate_subgroups`.
    prevalence
        See `featx.evaluation.evaluate_scores`.
    comparison
        Comparison with other runs, which is kept with the metrics.
    """
    table, threshold, seed = scored.table, run.record.threshold, run.record.seed
    return Evaluation(
        run,
        scored.data,
        scored.split,
        evaluate_scores(scored.scores, threshold, seed=seed, prevalence=prevalence),
        table[list(SCORE_COLUMNS)],
        scored.left_out,
        tuple(
            evaluate_subgroups(
                scored.scores, threshold, table, column, seed=seed, prevalence=prevalence
            )
            for column in by
        ),
        find_shift(run, scored),
        comparison,
    )


def find_shift(run: FittedRun, scored: Scored) -> Shift | None:
    """Compare images with those that a run was fitted on. See `shift_from_training`."""
    distances = run.reference.distance(scored.vectors) if run.has_reference else None
    return shift_from_training(run, Population.labelled(scored.scores, distances))


def run_decision_curve(
    run: FittedRun,
    scores: Scores,
    *,
    thresholds: ArrayLike | None = None,
    prevalence: float | None = None,
) -> DecisionCurve:
    """Return the decision curve of a run's scores, by the run's own probabilities.

    Parameters and errors are those of `Evaluation.decision_curve`.
    """
    return decision_curve(
        scores,
        run.probability(scores.score),
        thresholds=thresholds,
        prevalence=prevalence,
        operating_point=float(run.probability(np.array([run.record.threshold]))[0]),
        seed=run.record.seed,
    )
