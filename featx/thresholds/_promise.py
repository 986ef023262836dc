"""A threshold whose accuracy on new patients is promised, with a stated confidence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mapie.risk_control import BinaryClassificationController
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds._recalibration import logits
from featx.thresholds._sweep import sweep
from featx_cache._text import plural

SEQUENCE_THRESHOLDS = 200
HOLM_THRESHOLDS = 20
"""Number of thresholds with two floors. MAPIE tests them by Holm's method, whose power falls with
their number."""

SPREAD_THRESHOLDS = 10
SPREAD_TAIL = 0.01

SET_ASIDE_ADVICE = (
    "Since one patient in five is set aside, that takes about {five_times:,} more patients in "
    "train and val; or lower `accuracy_floor` or `guarantee`."
)

MAX_PATIENTS = 10_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Promise:
    """A promise of the accuracy of a threshold on new patients.

    Attributes
    ----------
    threshold
        An image is called positive if its score is at least this.
    confidence
        Share of calibration sets for which the promise would hold.
    accuracy_floor, recall_floor
        Accuracy and recall that are reached on new patients. None promises nothing of recall.
    patients
        Number of patients that it was calibrated on, with one image each.
    accuracy, recall
        Results on those patients. The threshold was chosen on them.

    Examples
    --------
    >>> Promise(0.4, 0.9, 0.9, None, 400, 0.94, 0.97)
    Promise(threshold 0.4: with 90% confidence, accuracy ≥ 0.9, by 400 patients)
    """

    threshold: float
    confidence: float
    accuracy_floor: float
    recall_floor: float | None
    patients: int
    accuracy: float
    recall: float

    def __repr__(self) -> str:
        recall = f", recall ≥ {self.recall_floor:g}" if self.recall_floor is not None else ""
        floors = (
            f"with {self.confidence:.0%} confidence, accuracy ≥ {self.accuracy_floor:g}{recall}"
        )
        patients = plural(self.patients, "patient")
        return f"Promise(threshold {self.threshold:.6g}: {floors}, by {patients})"

    @property
    def sentence(self) -> str:
        """The promise and its assumption."""
        floors = f"accuracy is at least {self.accuracy_floor:g}"
        if self.recall_floor is not None:
            floors += f" and recall at least {self.recall_floor:g}"
        return (
            f"With {self.confidence:.0%} confidence, {floors} on new patients (one image of each), "
            f"provided that they come from the same population as the {self.patients} patients "
            "that the threshold was calibrated on (exchangeability)."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, the sentence among them."""
        return {**asdict(self), "sentence": self.sentence}


def candidate_thresholds(scores: Scores, *, most: int = SEQUENCE_THRESHOLDS) -> NDArray[np.float64]:
    """Order thresholds for a promise, by scores that have no part in it.

    The first is the one of highest accuracy. Those after it are lower and lower, with ever higher
    recall. So a test that goes down until it fails needs no correction for their number.

    Parameters
    ----------
    scores
        Out-of-fold scores of the training images.
    most
        Number of thresholds, at most.

    Returns
    -------
    ndarray of shape (thresholds,), dtype float64
        Thresholds, descending.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9])
    >>> candidate_thresholds(scores).round(2).tolist()
    [0.25, 0.1]
    """
    points = sweep(scores)
    return _spaced(points.thresholds[points.most_accurate :: -1], most)


def spread_thresholds(scores: Scores) -> NDArray[np.float64]:
    """Spread thresholds for a promise to another population, whose scores may lie elsewhere.

    The most accurate threshold of the training images, where `candidate_thresholds` begins, may be
    far off there. A test that goes down from it would fail at once. These thresholds are few, and
    each is tested for itself. They lie at equal distances of log odds. Hardly a sick image lies
    below the lowest, and hardly a healthy one above the highest.

    Parameters
    ----------
    scores
        Out-of-fold scores of the training images.

    Returns
    -------
    ndarray of shape (thresholds,), dtype float64
        Thresholds, descending.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9])
    >>> spread_thresholds(scores)[[0, -1]].round(2).tolist()
    [0.71, 0.41]
    """
    truth, odds = scores.positive, logits(scores.score)
    ends = [np.quantile(odds[truth], SPREAD_TAIL), np.quantile(odds[~truth], 1 - SPREAD_TAIL)]
    # Healthy people of another population often have higher scores than those that it knows.
    ends.append(np.quantile(odds[truth], 0.5))
    spread: NDArray[np.float64] = expit(np.linspace(max(ends), min(ends), SPREAD_THRESHOLDS))
    return spread


def promise_threshold(  # noqa: PLR0913
    scores: Scores,
    candidates: NDArray[np.float64],
    *,
    accuracy_floor: float,
    confidence: float = 0.9,
    recall_floor: float | None = None,
    sequence: bool = True,
    seed: int = 0,
    advice: str = SET_ASIDE_ADVICE,
) -> Promise:
    """Pick the threshold of highest recall whose accuracy on new patients can be promised.

    MAPIE tests the candidates by Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052) on
    one image of each patient, drawn at random. Images of one patient are no independent evidence.

    Parameters
    ----------
    scores
        Scores of patients whom the head never saw, by the very head that will be used.
    candidates : array of shape (thresholds,)
        Thresholds from `candidate_thresholds` or `spread_thresholds`, chosen without these images.
    accuracy_floor, recall_floor
        Accuracy and recall to promise. None promises nothing of recall.
    confidence
        Confidence of the promise, between 0 and 1.
    sequence
        Whether the candidates are in the order of `candidate_thresholds`. If they are, they are
        tested one after another until one fails. If not, tests are corrected for their number
        (Holm 1979).
    seed
        Seed of drawing one image of each patient.
    advice
        Advice if more patients are needed. ``{five_times}`` is five times their number.

    Raises
    ------
    InputError
        If confidence is no fraction.
    NoFeasibleThresholdError
        If nothing can be promised. It says how many more patients would do.

    Examples
    --------
    >>> scores = Scores.from_arrays([0] * 200 + [1] * 200, [0.1] * 195 + [0.9] * 205)
    >>> promise_threshold(scores, candidate_thresholds(scores), accuracy_floor=0.95)
    Promise(threshold 0.5: with 90% confidence, accuracy ≥ 0.95, by 400 patients)
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(
            f"the confidence {confidence:g} is not between 0 and 1",
            "Give `guarantee` a fraction such as 0.9.",
            parameter="guarantee",
        )
    drawn = one_image_per_patient(scores.patient, seed)
    truth, values = scores.positive[drawn], scores.score[drawn]
    floors = {"accuracy": accuracy_floor}
    if recall_floor is not None:
        floors["recall"] = recall_floor
        candidates = _spaced(candidates, HOLM_THRESHOLDS)
    in_sequence = sequence and len(floors) == 1
    controller = BinaryClassificationController(
        predict_function=lambda X: np.column_stack([1 - X[:, 0], X[:, 0]]),
        risk=list(floors),
        target_level=[float(floor) for floor in floors.values()],
        confidence_level=confidence,
        best_predict_param_choice="recall",
        list_predict_params=candidates,
        fwer_method="fixed_sequence" if in_sequence else "bonferroni_holm",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns if nothing can be promised, as the error does
        controller.calibrate(values[:, None], truth)
    if controller.best_predict_param is None:
        # In a sequence the first test decides whether there is a second.
        tested = candidates[:1] if in_sequence else candidates
        level = (1 - confidence) / len(tested)
        raise _too_few(truth, values, tested, floors, level, advice)
    threshold = float(controller.best_predict_param)
    called = values >= threshold
    return Promise(
        threshold=threshold,
        confidence=confidence,
        accuracy_floor=accuracy_floor,
        recall_floor=recall_floor,
        patients=len(drawn),
        accuracy=float((called == truth).mean()),
        recall=float(called[truth].mean()) if truth.any() else float("nan"),
    )


def one_image_per_patient(groups: ArrayLike, seed: int) -> NDArray[np.intp]:
    """Draw one image of each patient, and return their positions."""
    names = np.asarray(groups).astype(str)
    order = np.random.default_rng(seed).permutation(len(names))
    _, first = np.unique(names[order], return_index=True)
    return np.sort(order[first])


def _spaced(thresholds: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Take so many thresholds at equal steps, at most."""
    positions = np.linspace(0, len(thresholds) - 1, most).round().astype(int)
    return np.asarray(thresholds[np.unique(positions)])


def _too_few(
    truth: NDArray[np.bool_],
    values: NDArray[np.float64],
    candidates: NDArray[np.float64],
    floors: dict[str, float],
    level: float,
    advice: str,
) -> NoFeasibleThresholdError:
    """Say how many patients would do, if they were like these."""
    needed: list[tuple[float, float]] = []
    for threshold in candidates:
        called = values >= threshold
        reached = {"accuracy": (called == truth).mean(), "recall": called[truth].mean()}
        shares = {"accuracy": 1.0, "recall": truth.mean()}
        patients = max(
            _patients(1 - reached[name], 1 - floor, level, int(shares[name] * len(truth)))
            / max(shares[name], 1e-9)
            for name, floor in floors.items()
        )
        needed.append((patients, float(reached["accuracy"])))
    fewest, accuracy = min(needed)
    what = " and ".join(f"{name} {floor:g}" for name, floor in floors.items())
    apart = " that were set aside" if advice == SET_ASIDE_ADVICE else ""
    message = f"{what} can't be promised from {len(truth)} patients{apart}"
    best = max(float(((values >= t) == truth).mean()) for t in candidates)
    if fewest > MAX_PATIENTS:
        return NoFeasibleThresholdError(
            f"{message}: on them the head reaches accuracy {best:.4f}; if that is all it can do, "
            "more patients wouldn't help",
            "Lower `accuracy_floor` (or `recall_floor`), or search a better head.",
            best_accuracy=best,
        )
    more = int(np.ceil(fewest)) - len(truth)
    return NoFeasibleThresholdError(
        f"{message}: at accuracy {accuracy:.4f}, as on these, about {more:,} more would do",
        advice.format(five_times=5 * more),
        best_accuracy=best,
    )


def _patients(risk: float, most: float, level: float, there: int) -> float:
    """Return how many patients make a risk significantly lower than what is allowed.

    If as many as there are would do, another risk is what fails.
    """

    def enough(patients: int) -> bool:
        p = compute_hoeffding_bentkus_p_value(
            np.array([risk]), np.array([patients]), np.array([most]), True
        )
        return bool(p[0, 0] <= level)

    if risk >= most:
        return float("inf")
    return float(there) if enough(there) else _smallest(enough, there)


def _smallest(enough: Callable[[int], bool], low: int) -> float:
    """Return the smallest number that is enough and above `low`, by doubling and then halving."""
    high = low + 1
    while not enough(high):
        low, high = high, 2 * high
        if high > MAX_PATIENTS:
            return float("inf")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
