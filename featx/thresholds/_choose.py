"""The operating point: Optuna picks among the thresholds that no other one exceeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from featx._arguments import require_number
from featx._html import html_table
from featx._scores import Scores, as_scores
from featx._silence import silent_optuna
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds._sweep import Sweep, sweep

if TYPE_CHECKING:
    # Optuna brings its databases along: it is imported where it is used.
    from optuna import Study
    from optuna.distributions import BaseDistribution

ACCURACY_FLOOR = 0.9
"""Default of the accuracy floor, everywhere."""

STUDY_NAME = "operating point"
OBJECTIVES = ["recall", "accuracy"]


@dataclass(frozen=True, slots=True, repr=False)
class OperatingPoint:
    """A chosen threshold and what it achieved on the scores that chose it.

    Attributes
    ----------
    threshold
        An image is called positive if its score is at least this.
    recall, accuracy
        Results on the scores that the threshold was chosen on.
    accuracy_floor
        Accuracy that had to be reached.
    study
        Optuna study of the choice, in memory: one trial for each threshold that no other one
        exceeds in recall or accuracy without being less in the other. `write_study` keeps it.

    Examples
    --------
    >>> point = choose_threshold([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9], accuracy_floor=0.7)
    >>> point
    OperatingPoint(threshold 0.2, recall 1.0000, accuracy 0.7500, accuracy floor 0.7)
    >>> point.to_frame()
       threshold  recall  accuracy  feasible
    0        0.2     1.0      0.75      True
    """

    threshold: float
    recall: float
    accuracy: float
    accuracy_floor: float
    study: Study = field(compare=False)

    @property
    def trials(self) -> int:
        """Number of trials of the study."""
        return len(self.study.get_trials(deepcopy=False))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a trial: threshold, recall, accuracy, and whether the floor is kept."""
        rows = [
            (trial.params["threshold"], *trial.values, trial.user_attrs["feasible"])
            for trial in self.study.get_trials(deepcopy=False)
        ]
        return pd.DataFrame(rows, columns=["threshold", "recall", "accuracy", "feasible"])

    def __repr__(self) -> str:
        return (
            f"OperatingPoint(threshold {self.threshold:.6g}, recall {self.recall:.4f}, accuracy "
            f"{self.accuracy:.4f}, accuracy floor {self.accuracy_floor:g})"
        )

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), [repr(self)])


def choose_threshold(
    y: ArrayLike | Scores,
    scores: ArrayLike | None = None,
    *,
    accuracy_floor: float = ACCURACY_FLOOR,
) -> OperatingPoint:
    """Pick the threshold that maximizes recall subject to accuracy at or above a floor.

    An exact sweep finds the thresholds that no other one exceeds in recall or accuracy without
    being less in the other. All of them become trials of an Optuna study with both as objectives.
    The floor is a constraint, never a penalty: a penalty needs a weight, and a wrong weight calls
    everybody sick. The chosen threshold is the feasible trial of highest recall. Ties are broken
    by accuracy. It takes milliseconds, and nothing is drawn at random.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1, or Scores
        Labels: 1 for the positive class. `Scores` hold labels and scores together.
    scores : array of shape (images,)
        Scores that the model gave to images it wasn't trained on.
    accuracy_floor
        Accuracy to reach, between 0 and 1.

    Raises
    ------
    InputError
        If the floor or the scores can't be used.
    NoFeasibleThresholdError
        If no threshold reaches the floor. It names the best accuracy and its threshold.

    Examples
    --------
    >>> y, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.3, 0.9]
    >>> choose_threshold(y, scores, accuracy_floor=0.8)
    OperatingPoint(threshold 0.25, recall 1.0000, accuracy 0.8000, accuracy floor 0.8)
    """
    check_accuracy_floor(accuracy_floor)
    data = as_scores(y, scores)
    points = sweep(data)
    with silent_optuna():
        study = _study_of(points, accuracy_floor)
        feasible = study.best_trials
    if not feasible:
        raise _nothing_feasible(data, points, accuracy_floor)
    best = max(feasible, key=lambda trial: trial.values)
    recall, accuracy = best.values
    return OperatingPoint(best.params["threshold"], recall, accuracy, accuracy_floor, study)


def _study_of(points: Sweep, accuracy_floor: float) -> Study:
    """Make a study in memory whose trials are the front of a sweep."""
    import optuna

    study = optuna.create_study(study_name=STUDY_NAME, directions=["maximize", "maximize"])
    study.set_metric_names(OBJECTIVES)
    study.set_user_attr("accuracy_floor", accuracy_floor)
    ends = float(points.thresholds[0]), float(points.thresholds[-1])
    between = optuna.distributions.FloatDistribution(*ends)
    distributions: dict[str, BaseDistribution] = {"threshold": between}
    for _, threshold, recall, accuracy in points.to_frame().iloc[points.front].itertuples():
        study.add_trial(
            optuna.trial.create_trial(
                values=[recall, accuracy],
                params={"threshold": threshold},
                distributions=distributions,
                constraints={"accuracy_floor": accuracy_floor - accuracy},
                # The dashboard's plots mark infeasible trials by the constraint, its lists by this.
                user_attrs={"feasible": accuracy >= accuracy_floor},
            )
        )
    return study


def write_study(point: OperatingPoint, journal: str | Path, name: str = STUDY_NAME) -> None:
    """Write the study of an operating point into a journal file, which `featx dashboard` shows.

    A run keeps it as ``study/study.journal``. It takes about 30 ms for the 80 trials of 5,000
    scores by a good head.

    Parameters
    ----------
    point
        Operating point that `choose_threshold` returned.
    journal
        File to make. Its folder is made if it is missing.
    name
        Name of the study in the journal.

    Raises
    ------
    optuna.exceptions.DuplicatedStudyError
        If the journal has a study of that name already.

    Examples
    --------
    >>> import tempfile
    >>> point = choose_threshold([0, 1], [0.2, 0.8])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_study(point, f"{folder}/study.journal")
    ...     len(open(f"{folder}/study.journal").readlines()) > point.trials
    True
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(journal)
    path.parent.mkdir(parents=True, exist_ok=True)
    with silent_optuna():
        # Optuna's other lock is a symbolic link, which not every file system has.
        backend = JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
        storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(
            storage=storage, study_name=name, directions=point.study.directions
        )
        study.set_metric_names(OBJECTIVES)
        for key, value in point.study.user_attrs.items():
            study.set_user_attr(key, value)
        study.add_trials(point.study.get_trials(deepcopy=False))


def check_accuracy_floor(accuracy_floor: float) -> None:
    """Refuse what can't be an accuracy, before any long work.

    Raises
    ------
    InputError
        If it isn't between 0 and 1.
    """
    require_number("accuracy_floor", accuracy_floor)
    if not 0.0 <= accuracy_floor <= 1.0:
        raise InputError(
            f"the accuracy floor {accuracy_floor} is not between 0 and 1",
            "Give `accuracy_floor` a fraction such as 0.90.",
            parameter="accuracy_floor",
        )


def _nothing_feasible(
    scores: Scores, points: Sweep, accuracy_floor: float
) -> NoFeasibleThresholdError:
    best = points.most_accurate
    reachable = math.floor(points.accuracy[best] * 1e4) / 1e4
    return NoFeasibleThresholdError(
        f"no threshold reaches accuracy {accuracy_floor:g}: the best is "
        f"{points.accuracy[best]:.4f} (recall {points.recall[best]:.4f}) at threshold "
        f"{points.thresholds[best]:.6g}",
        f"Lower `accuracy_floor` to {reachable:.4f} at most, or fit a better head.",
        best_accuracy=float(points.accuracy[best]),
        roc_auc=float(roc_auc_score(scores.positive, scores.score)),
    )
