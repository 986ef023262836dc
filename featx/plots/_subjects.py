"""Subjects of figures: scores, an evaluation, or several of them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from featx._arguments import wrong_type
from featx._scores import Scores
from featx.evaluation import Metrics, evaluate_scores

ANY_THRESHOLD = 0.5
"""Threshold of metrics of which only those without a threshold are used."""


class Evaluated(Protocol):
    """Scores and their metrics at an operating point, such as a `featx.scoring.Evaluation`."""

    @property
    def metrics(self) -> Metrics:
        """Metrics of the scores at the threshold."""

    def as_scores(self) -> Scores:
        """Return the scores."""


Subject = Scores | Evaluated
Subjects = Subject | Mapping[str, Subject]


@dataclass(frozen=True, slots=True)
class NamedScores:
    """Scores with a name, their metrics, and the threshold that is marked, if any."""

    name: str
    scores: Scores
    metrics: Metrics
    threshold: float | None


def one_subject(subject: Subject, threshold: float | None, name: str = "") -> NamedScores:
    """Measure scores where nobody did. An explicit threshold takes the place of an evaluation's."""
    if isinstance(subject, Scores):
        scores = subject
    elif not hasattr(subject, "as_scores"):
        raise wrong_type("scores", subject, "scores or an Evaluation, such as `run.scores`")
    else:
        scores = subject.as_scores()
        if threshold in (None, subject.metrics.threshold):
            return NamedScores(name, scores, subject.metrics, subject.metrics.threshold)
    at = ANY_THRESHOLD if threshold is None else threshold
    return NamedScores(name, scores, evaluate_scores(scores, at, resamples=0), threshold)


def all_subjects(subjects: Subjects, threshold: float | None) -> list[NamedScores]:
    """Return all that is compared in a figure. A single one has no name."""
    if isinstance(subjects, Mapping):
        return [one_subject(subject, threshold, name) for name, subject in subjects.items()]
    return [one_subject(subjects, threshold)]
