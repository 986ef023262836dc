"""The operating point: the best threshold by a criterion, among those that no other exceeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from featx._html import html_table
from featx._scores import Scores, as_scores
from featx._silence import silent_optuna
from featx.errors import NoFeasibleThresholdError
from featx.thresholds._criterion import FLOORS, Criterion
from featx.thresholds._one_standard_error import Choice, choose_point
from featx.thresholds._sweep import Sweep, sweep

if TYPE_CHECKING:
    # Optuna brings its databases along: it is imported where it is used.
    from optuna import Study
    from optuna.distributions import BaseDistribution

STUDY_NAME = "operating point"
OBJECTIVES = ["recall", "accuracy"]


@dataclass(frozen=True, slots=True, repr=False)
class OperatingPoint:
    """A chosen threshold and what it achieved on the scores that chose it.

    Attributes
    ----------
    threshold
        An image is called positive if its score is at least this.
    recall, accuracy, specificity
        Results on the scores that the threshold was chosen on.
    criterion
        Criterion that chose it.
    recall_error
        Standard error of the highest recall that was feasible, by patients. 0 if recall isn't what
        the criterion maximizes.
    recall_given_up
        Recall that is less than the highest one, and within its error. Accuracy was won for it. 0
        if the threshold is the one of highest recall.
    note
        Sentence on the recall that was given up; empty if none was.
    study
        Optuna study of the choice, in memory: one trial for each threshold that no other one
        exceeds in recall or accuracy (or specificity, if the criterion looks at it) without being
        less in the other. `write_study` keeps it.

    Examples
    --------
    >>> point = choose_threshold([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9], accuracy_floor=0.7)
    >>> print(f"{point.threshold:.2f}: {point.criterion}")
    0.20: highest recall with accuracy ≥ 0.7
    >>> point.to_frame()
       threshold  recall  accuracy  specificity  feasible
    0        0.2     1.0      0.75          0.5      True
    """

    threshold: float
    recall: float
    accuracy: float
    specificity: float
    criterion: Criterion
    recall_error: float = field(compare=False)
    recall_given_up: float
    note: str = field(compare=False)
    study: Study = field(compare=False)

    @property
    def accuracy_floor(self) -> float | None:
        """Accuracy that had to be reached, if any."""
        return self.criterion.accuracy_floor

    @property
    def trials(self) -> int:
        """Number of trials of the study."""
        return len(self.study.get_trials(deepcopy=False))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a trial: threshold, what it achieves, and whether the floors are kept."""
        rows = [
            (trial.params["threshold"], *trial.values, trial.user_attrs["specificity"],
             trial.user_attrs["feasible"])
            for trial in self.study.get_trials(deepcopy=False)
        ]  # fmt: skip
        columns = ["threshold", "recall", "accuracy", "specificity", "feasible"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return (
            f"OperatingPoint(threshold {self.threshold:.6g}, recall {self.recall:.4f}, accuracy "
            f"{self.accuracy:.4f}: {self.criterion.in_words})"
        )

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), [repr(self), *filter(None, [self.note])])


def choose_threshold(
    y: ArrayLike | Scores,
    scores: ArrayLike | None = None,
    *,
    accuracy_floor: float | None = None,
    recall_floor: float | None = None,
    specificity_floor: float | None = None,
    cost: tuple[float, float] | None = None,
    youden: bool = False,
) -> OperatingPoint:
    """Pick the threshold that maximizes recall, or something else, subject to floors.

    An exact sweep finds the thresholds that no other one exceeds in recall or accuracy without
    being less in the other. All of them become trials of an Optuna study with both as objectives.
    A floor is a constraint, never a penalty: a penalty needs a weight, and a wrong weight calls
    everybody sick. It takes milliseconds, and gives the same each time.

    Without a further keyword the highest recall is taken with accuracy at or above 0.9. If recall
    is maximized, the last patient is often chance: among feasible thresholds whose recall is within
    one standard error of the highest (bootstrap of patients), the one of highest accuracy is taken.

    Parameters
    ----------
    y : array of shape (images,), bool or 0/1, or Scores
        Labels: 1 for the positive class. `Scores` hold labels and scores together.
    scores : array of shape (images,)
        Scores that the model gave to images it wasn't trained on.
    accuracy_floor
        Accuracy to reach, between 0 and 1. It is 0.9 if no other keyword is given, else none.
    recall_floor
        Recall to reach. Specificity is maximized then.
    specificity_floor
        Specificity to reach.
    cost
        Cost of a missed sick patient, and of a false alarm, such as ``(10, 1)``. The expected cost
        is minimized then.
    youden
        Whether Youden's index, recall + specificity - 1, is maximized.

    Raises
    ------
    InputError
        If the criterion or the scores can't be used.
    NoFeasibleThresholdError
        If no threshold reaches the floors. It names the one that misses them least.

    Examples
    --------
    >>> y, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.3, 0.9]
    >>> point = choose_threshold(y, scores, accuracy_floor=0.8)
    >>> round(point.threshold, 2), point.recall, point.specificity, point.criterion
    (0.25, 1.0, 0.6666666666666666, Criterion(highest recall with accuracy ≥ 0.8))
    >>> point = choose_threshold(y, scores, recall_floor=0.5)
    >>> round(point.threshold, 2), point.recall, point.specificity, point.criterion
    (0.65, 0.5, 1.0, Criterion(highest specificity with recall ≥ 0.5))
    """
    criterion = Criterion(
        accuracy_floor=accuracy_floor,
        recall_floor=recall_floor,
        specificity_floor=specificity_floor,
        cost=cost,
        youden=youden,
    )
    return choose_by(criterion, as_scores(y, scores))


def choose_by(criterion: Criterion, scores: Scores) -> OperatingPoint:
    """Pick a threshold by a criterion. See `choose_threshold`."""
    points = sweep(scores)
    choice = choose_point(points, criterion, scores)
    if choice is None:
        raise nothing_feasible(points, criterion, scores)
    with silent_optuna():
        study = _study_of(points, criterion, choice.point)
    best, at = choice.best, choice.point
    return OperatingPoint(
        threshold=float(points.thresholds[at]),
        recall=float(points.recall[at]),
        accuracy=float(points.accuracy[at]),
        specificity=float(points.specificity[at]),
        criterion=criterion,
        recall_error=choice.error,
        recall_given_up=float(points.recall[best] - points.recall[at]),
        note=note_of(points, choice),
        study=study,
    )


def note_of(points: Sweep, choice: Choice) -> str:
    """Say what was given up within one standard error; empty if nothing was."""
    if not choice.moved:
        return ""
    best, chosen = (
        (float(points.recall[at]), float(points.accuracy[at])) for at in (choice.best, choice.point)
    )
    return within_error_note(best, float(points.thresholds[choice.best]), chosen, choice.error)


def within_error_note(
    best: tuple[float, float], threshold: float, chosen: tuple[float, float], error: float
) -> str:
    """Say that a more accurate point was taken. Points are recall and accuracy."""
    return (
        f"On the scores that it was chosen on, the highest recall, {best[0]:.4f} at threshold "
        f"{threshold:.6g}, can't be told from "
        f"{chosen[0]:.4f}: its standard error is {error:.4f}, by patients. So the most accurate "
        f"threshold within it was taken: accuracy {chosen[1]:.4f} instead of {best[1]:.4f}."
    )


def _study_of(points: Sweep, criterion: Criterion, chosen: int) -> Study:
    """Make a study in memory whose trials are the points that can be the best of a sweep."""
    import optuna

    study = optuna.create_study(study_name=STUDY_NAME, directions=["maximize", "maximize"])
    study.set_metric_names(OBJECTIVES)
    floors = {f"{name}_floor": floor for name, floor in criterion.floors.items()}
    for name, floor in floors.items():
        study.set_user_attr(name, floor)
    if list(floors) != ["accuracy_floor"]:
        study.set_user_attr("criterion", criterion.in_words)
    ends = float(points.thresholds[0]), float(points.thresholds[-1])
    between = optuna.distributions.FloatDistribution(*ends)
    distributions: dict[str, BaseDistribution] = {"threshold": between}
    # What looks at specificity may choose a point that another exceeds in recall and accuracy.
    feasible = criterion.feasible(points)
    for point in points.corners if criterion.looks_at_specificity else points.front:
        achieved = {
            name: float(getattr(points, name)[point])
            for name in ("recall", "accuracy", "specificity")
        }
        study.add_trial(
            optuna.trial.create_trial(
                values=[achieved["recall"], achieved["accuracy"]],
                params={"threshold": float(points.thresholds[point])},
                distributions=distributions,
                constraints={
                    f"{name}_floor": floor - achieved[name]
                    for name, floor in criterion.floors.items()
                },
                # The dashboard's plots mark infeasible trials by the constraint, its lists by this.
                user_attrs={
                    "feasible": bool(feasible[point]),
                    "specificity": achieved["specificity"],
                    "chosen": bool(point == chosen),
                },
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


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The point that misses the floors of a criterion least, in words.

    Attributes
    ----------
    floors, reached
        What had to be reached, and what the point reaches.
    threshold
        Threshold of the point.
    lower
        Advice to lower the floors that are missed.
    best_accuracy
        Highest accuracy of any point.
    """

    floors: str
    reached: str
    threshold: float
    lower: str
    best_accuracy: float

    @classmethod
    def of(cls, points: Sweep, criterion: Criterion) -> NearestMiss:
        """Find it in a sweep whose points all miss a floor."""
        near, floors = criterion.nearest(points), criterion.floors
        at = {name: float(getattr(points, name)[near]) for name in FLOORS}
        reached = ", ".join(f"{name} {value:.4f}" for name, value in at.items())
        if list(floors) == ["accuracy"]:
            reached = f"{at['accuracy']:.4f} (recall {at['recall']:.4f})"
        missed = [name for name, floor in floors.items() if at[name] < floor]
        lower = " and ".join(
            f"`{name}_floor` to {math.floor(at[name] * 1e4) / 1e4:.4f}" for name in missed
        )
        return cls(
            " and ".join(f"{name} {floor:g}" for name, floor in floors.items()),
            reached,
            float(points.thresholds[near]),
            f"Lower {lower} at most",
            float(points.accuracy.max()),
        )


def nothing_feasible(
    points: Sweep,
    criterion: Criterion,
    scores: Scores,
    *,
    where: str = "",
    instead: str = "fit a better head",
) -> NoFeasibleThresholdError:
    """Return the error of a criterion that no threshold of a sweep keeps.

    Parameters
    ----------
    points, criterion, scores
        Sweep, criterion, and the scores that were swept.
    where
        Beginning of the sentence: where the floors aren't reached.
    instead
        What may be done instead of lowering floors.
    """
    miss = NearestMiss.of(points, criterion)
    return NoFeasibleThresholdError(
        f"{where}no threshold reaches {miss.floors}: the best is {miss.reached} at threshold "
        f"{miss.threshold:.6g}",
        f"{miss.lower}, or {instead}.",
        best_accuracy=miss.best_accuracy,
        roc_auc=float(roc_auc_score(scores.positive, scores.score)),
    )
