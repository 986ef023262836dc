"""A threshold whose accuracy, recall or specificity on new patients is promised."""

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
from featx.thresholds._criterion import Criterion
from featx.thresholds._recalibration import logits
from featx.thresholds._sweep import sweep
from featx_cache._text import plural

SEQUENCE_THRESHOLDS = 200
HOLM_THRESHOLDS = 20
"""Number of thresholds with several floors. MAPIE tests them by Holm's method, whose power falls
with their number."""

SPREAD_THRESHOLDS = 10
SPREAD_TAIL = 0.01

SET_ASIDE_ADVICE = (
    "Since one patient in five is set aside, that takes about {five_times:,} more patients in "
    "train and val; or lower {floors} or `guarantee`."
)

RISKS = {"accuracy": "accuracy", "recall": "recall", "specificity": "fpr"}
"""Names of the metrics in MAPIE."""

MAX_PATIENTS = 10_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Promise:
    """A promise of what a threshold achieves on new patients.

    Attributes
    ----------
    threshold
        An image is called positive if its score is at least this.
    confidence
        Share of calibration sets for which the promise would hold.
    accuracy_floor, recall_floor, specificity_floor
        Accuracy, recall and specificity that are reached on new patients. None promises nothing of
        it.
    patients
        Number of patients that it was calibrated on, with one image each.
    accuracy, recall, specificity
        Results on those patients. The threshold was chosen on them.

    Examples
    --------
    >>> Promise(0.4, 0.9, 0.9, None, 400, 0.94, 0.97)
    Promise(threshold 0.4: with 90% confidence, accuracy ≥ 0.9, by 400 patients)
    """

    threshold: float
    confidence: float
    accuracy_floor: float | None
    recall_floor: float | None
    patients: int
    accuracy: float
    recall: float
    specificity_floor: float | None = None
    specificity: float | None = None

    @property
    def floors(self) -> dict[str, float]:
        """Floors that are promised, by the name of their metric."""
        return Criterion(
            accuracy_floor=self.accuracy_floor,
            recall_floor=self.recall_floor,
            specificity_floor=self.specificity_floor,
        ).floors

    def __repr__(self) -> str:
        floors = ", ".join(f"{name} ≥ {floor:g}" for name, floor in self.floors.items())
        floors = f"with {self.confidence:.0%} confidence, {floors}"
        patients = plural(self.patients, "patient")
        return f"Promise(threshold {self.threshold:.6g}: {floors}, by {patients})"

    @property
    def sentence(self) -> str:
        """The promise and its assumption."""
        floors = " and ".join(f"{name} at least {floor:g}" for name, floor in self.floors.items())
        floors = floors.replace(" at", " is at", 1)
        return (
            f"With {self.confidence:.0%} confidence, {floors} on new patients (one image of each), "
            f"provided that they come from the same population as the {self.patients} patients "
            "that the threshold was calibrated on (exchangeability)."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, the sentence among them."""
        plain = asdict(self)
        if self.specificity_floor is None:
            del plain["specificity_floor"], plain["specificity"]
        return {**plain, "sentence": self.sentence}


def candidate_thresholds(
    scores: Scores, criterion: Criterion, *, most: int = SEQUENCE_THRESHOLDS
) -> NDArray[np.float64]:
    """Order thresholds for a promise, by scores that have no part in it.

    With one floor, the first is where it is kept best: the threshold of highest accuracy, the
    lowest one for recall, the highest one for specificity. Those after it are better and better in
    what is maximized. So a test that goes on until it fails needs no correction for their number.

    Parameters
    ----------
    scores
        Out-of-fold scores of the training images.
    criterion
        Criterion whose floors are promised.
    most
        Number of thresholds, at most.

    Returns
    -------
    ndarray of shape (thresholds,), dtype float64
        Thresholds, descending. With a floor of recall alone they ascend.

    Examples
    --------
    >>> scores = Scores.from_arrays([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9])
    >>> candidate_thresholds(scores, Criterion(accuracy_floor=0.9)).round(2).tolist()
    [0.25, 0.1]
    >>> candidate_thresholds(scores, Criterion(recall_floor=0.9)).round(2).tolist()
    [0.1, 0.25]
    """
    points, floors = sweep(scores), criterion.floors
    if "accuracy" in floors:
        return _spaced(points.thresholds[points.most_accurate :: -1], most)
    # Recall falls from point to point, and specificity rises.
    last = int(np.flatnonzero(points.recall >= floors.get("recall", 0.0))[-1])
    first = int(np.flatnonzero(points.specificity >= floors.get("specificity", 0.0))[0])
    if list(floors) == ["recall"]:
        return _spaced(points.thresholds[: last + 1], most)
    if list(floors) == ["specificity"]:
        return _spaced(points.thresholds[first:][::-1], most)
    return _spaced(points.thresholds[min(first, last) : max(first, last) + 1][::-1], most)


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


def promise_threshold(
    scores: Scores,
    candidates: NDArray[np.float64],
    *,
    criterion: Criterion,
    confidence: float = 0.9,
    sequence: bool = True,
    seed: int = 0,
    advice: str = SET_ASIDE_ADVICE,
) -> Promise:
    """Pick the best threshold by a criterion whose floors on new patients can be promised.

    MAPIE tests the candidates by Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052) on
    one image of each patient, drawn at random. Images of one patient are no independent evidence.

    Parameters
    ----------
    scores
        Scores of patients whom the head never saw, by the very head that will be used.
    candidates : array of shape (thresholds,)
        Thresholds from `candidate_thresholds` or `spread_thresholds`, chosen without these images.
    criterion
        Criterion whose floors are promised, and which chooses among the thresholds that keep them.
    confidence
        Confidence of the promise, between 0 and 1.
    sequence
        Whether the candidates are in the order of `candidate_thresholds`. If they are, and there is
        one floor, they are tested one after another until one fails. If not, tests are corrected
        for their number (Holm 1979).
    seed
        Seed of drawing one image of each patient.
    advice
        Advice if more patients are needed. ``{five_times}`` is five times their number, and
        ``{floors}`` names the parameters of the floors.

    Raises
    ------
    InputError
        If confidence is no fraction, or there is no floor.
    NoFeasibleThresholdError
        If nothing can be promised. It says how many more patients would do.

    Examples
    --------
    >>> scores = Scores.from_arrays([0] * 200 + [1] * 200, [0.1] * 195 + [0.9] * 205)
    >>> criterion = Criterion(accuracy_floor=0.95)
    >>> promise_threshold(scores, candidate_thresholds(scores, criterion), criterion=criterion)
    Promise(threshold 0.5: with 90% confidence, accuracy ≥ 0.95, by 400 patients)
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(
            f"the confidence {confidence:g} is not between 0 and 1",
            "Give `guarantee` a fraction such as 0.9.",
            parameter="guarantee",
        )
    criterion.require_floor()
    drawn = one_image_per_patient(scores.patient, seed)
    truth, values = scores.positive[drawn], scores.score[drawn]
    floors = criterion.floors
    if len(floors) > 1:
        candidates = _spaced(candidates, HOLM_THRESHOLDS)
    in_sequence = sequence and len(floors) == 1
    controller = BinaryClassificationController(
        predict_function=lambda X: np.column_stack([1 - X[:, 0], X[:, 0]]),
        risk=[RISKS[name] for name in floors],
        target_level=[_target(name, floor) for name, floor in floors.items()],
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
    if criterion.objective != "recall":
        threshold = _best_of(np.ravel(controller.valid_predict_params), truth, values, criterion)
    reached = _reached(truth, values, threshold)
    return Promise(
        threshold=threshold,
        confidence=confidence,
        accuracy_floor=criterion.accuracy_floor,
        recall_floor=criterion.recall_floor,
        patients=len(drawn),
        accuracy=reached["accuracy"],
        recall=reached["recall"],
        specificity_floor=criterion.specificity_floor,
        specificity=reached["specificity"],
    )


def _target(name: str, floor: float) -> float:
    """Return the level of a floor as MAPIE has it: it knows false alarms, not specificity."""
    return 1.0 - float(floor) if name == "specificity" else float(floor)


def _reached(
    truth: NDArray[np.bool_], values: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    """Return what a threshold reaches. Without sick or healthy people their rate is undefined."""
    right = (values >= threshold) == truth
    return {
        "accuracy": float(right.mean()),
        "recall": float(right[truth].mean()) if truth.any() else float("nan"),
        "specificity": float(right[~truth].mean()) if not truth.all() else float("nan"),
    }


def _best_of(
    thresholds: NDArray[np.float64],
    truth: NDArray[np.bool_],
    values: NDArray[np.float64],
    criterion: Criterion,
) -> float:
    """Return the threshold by which a criterion's value is highest. Ties go to higher recall."""
    share = float(truth.mean())

    def rank(threshold: float) -> tuple[float, float]:
        reached = _reached(truth, values, threshold)
        value = float(criterion.values(reached["recall"], reached["specificity"], share))
        return round(value, 12), reached["recall"]

    return float(max(thresholds.tolist(), key=rank))


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
    needed: list[tuple[float, float, tuple[float, ...]]] = []
    for threshold in candidates:
        reached = _reached(truth, values, threshold)
        shares = {"accuracy": 1.0, "recall": truth.mean(), "specificity": 1.0 - truth.mean()}
        patients = max(
            _patients(1 - reached[name], 1 - floor, level, int(shares[name] * len(truth)))
            / max(shares[name], 1e-9)
            for name, floor in floors.items()
        )
        missed = sum(max(floor - reached[name], 0.0) for name, floor in floors.items())
        needed.append((patients, missed, tuple(reached[name] for name in floors)))
    fewest, _, best = min(needed)
    what = " and ".join(f"{name} {floor:g}" for name, floor in floors.items())
    apart = " that were set aside" if advice == SET_ASIDE_ADVICE else ""
    message = f"{what} can't be promised from {len(truth)} patients{apart}"
    highest = max(float(((values >= t) == truth).mean()) for t in candidates)
    reached_most = " and ".join(
        f"{name} {value:.4f}" for name, value in zip(floors, best, strict=True)
    )
    parameters = " or ".join(f"`{name}_floor`" for name in floors)
    if fewest > MAX_PATIENTS:
        return NoFeasibleThresholdError(
            f"{message}: on them the head reaches {reached_most}; if that is all it can do, more "
            "patients wouldn't help",
            f"Lower {parameters}, or search a better head.",
            best_accuracy=highest,
        )
    more = int(np.ceil(fewest)) - len(truth)
    return NoFeasibleThresholdError(
        f"{message}: at {reached_most}, as on these, about {more:,} more would do",
        advice.format(five_times=5 * more, floors=parameters),
        best_accuracy=highest,
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
