"""Whether a population differs from the one that a run was trained on, in words and numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import fisher_exact, ks_2samp

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation._wording import counted
from featx.thresholds._promise import one_of_each

Verdict = Literal["alike", "unclear", "may differ", "differs"]
Values = NDArray[np.float64]

ALPHA = 0.005
"""Level of each test: there are up to six, so that all together raise 3 % false alarms at most."""

KS_MARKS = (0.1, 0.2)
"""Of Kolmogorov-Smirnov distances: the share of patients who would have to be others."""

PSI_MARKS = (0.1, 0.25)
"""Of the population stability index (Siddiqi, Credit Risk Scorecards, 2006): some shift, much."""

FAR_MARKS = (0.05, 0.2)
"""Of the share beyond the distance that one in a hundred training images is beyond."""

PSI_BINS = 10
FEW_PATIENTS = 300
"""With fewer, a Kolmogorov-Smirnov distance of 0.1 can't have p at most 0.005."""

_PERMUTATIONS = 2000
_SENTENCES: dict[Verdict, str] = {
    "alike": "There is no sign that this population differs from the training population",
    "unclear": "It is unclear whether this population differs from the training population",
    "may differ": "This population may differ from the training population",
    "differs": "This population differs from the training population",
}


@dataclass(frozen=True, slots=True)
class Population:
    """What is known of some images.

    Attributes
    ----------
    scores : ndarray of shape (images,), dtype float64
        Out of fold for the training population.
    groups : array of shape (images,)
        The patient of each image.
    sick : ndarray of shape (images,), dtype bool, or None
        True for the positive class; None where labels aren't known.
    distances : ndarray of shape (images,), dtype float64, or None
        From the training images (see `Reference`), out of fold for these; None where they aren't
        known.
    """

    scores: Values
    groups: ArrayLike
    sick: NDArray[np.bool_] | None = None
    distances: Values | None = None

    @classmethod
    def labelled(cls, scores: Scores, distances: Values | None = None) -> Population:
        """Take scores of labelled images."""
        return cls(scores.score, scores.patient, scores.positive, distances)

    def one_of_each(self, seed: int) -> Population:
        """Return one image of each patient, drawn at random."""
        drawn = one_of_each(self.groups, seed)
        return Population(
            np.asarray(self.scores, np.float64)[drawn],
            np.asarray(self.groups)[drawn],
            None if self.sick is None else np.asarray(self.sick).astype(bool)[drawn],
            None if self.distances is None else np.asarray(self.distances, np.float64)[drawn],
        )


@dataclass(frozen=True, slots=True)
class Signal:
    """One way in which populations may differ.

    Attributes
    ----------
    name
        ``scores``, ``stability``, ``scores_of_negatives``, ``scores_of_positives``, ``far`` or
        ``distances``.
    effect
        How large the difference is: a Kolmogorov-Smirnov distance, the population stability index,
        or a share.
    marks
        From where on it counts, and from where on it is large.
    p_value
        Of no difference.
    """

    name: str
    effect: float
    marks: tuple[float, float]
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """What this signal says; an effect that may be chance is no sign, and no proof of none."""
        if self.effect < self.marks[0]:
            return "alike"
        if self.p_value > ALPHA:
            return "unclear"
        return "may differ" if self.effect < self.marks[1] else "differs"


@dataclass(frozen=True, slots=True)
class Shift:
    """How a population differs from the training population.

    Attributes
    ----------
    verdict
        The gravest of the signals. ``unclear`` where none speaks, and one has a large effect that
        may be chance.
    reasons
        Why, in words.
    signals
        Those that could be measured.
    patients, training_patients
        How many there are; one image of each is compared.
    distance_ratio
        Median distance here by that of the training images; None where it isn't known.
    positives, training_positives
        Share of the positive class; None where labels aren't known.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    signals: tuple[Signal, ...]
    patients: int
    training_patients: int
    distance_ratio: float | None = None
    positives: float | None = None
    training_positives: float | None = None

    @property
    def speaks(self) -> bool:
        """Whether it says that the population differs, or may."""
        return self.verdict in ("may differ", "differs")

    @property
    def sentence(self) -> str:
        """The verdict and its reasons."""
        reasons = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{_SENTENCES[self.verdict]}{reasons}."

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, the sentence among them."""
        signals = [asdict(signal) | {"verdict": signal.verdict} for signal in self.signals]
        return {**asdict(self), "signals": signals, "sentence": self.sentence}


def compare_populations(
    training: Population,
    here: Population,
    *,
    limit: float | None = None,
    classes: tuple[str, str] = ("negative", "positive"),
    seed: int = 0,
) -> Shift:
    """Say whether a population differs from the training population.

    One image of each patient is compared. A signal counts when its test has p at most 0.005 *and*
    its effect reaches a mark: among thousands of patients anything is significant, and among a
    dozen anything may look large. docs/evaluation.md has the rule and how often it errs.

    Parameters
    ----------
    training
        Out-of-fold scores and distances of the images that a run was fitted on.
    here
        Scores and distances of images that it wasn't fitted on.
    limit
        Distance that 1 % of the training images are beyond; None where it isn't known.
    classes
        Names of the negative and the positive class, for the words.
    seed
        Of drawing the images.

    Raises
    ------
    InputError
        When one of them has no images.
    """
    if not len(training.scores) or not len(here.scores):
        raise InputError("there are no images to compare")
    one, two = training.one_of_each(seed), here.one_of_each(seed)
    signals = [
        _ks("scores", one.scores, two.scores),
        stability_index(one.scores, two.scores, seed=seed),
    ]
    shares = None
    if one.sick is not None and two.sick is not None:
        shares = float(two.sick.mean()), float(one.sick.mean())
        for name, kind in (("scores_of_negatives", False), ("scores_of_positives", True)):
            parts = one.scores[one.sick == kind], two.scores[two.sick == kind]
            if min(map(len, parts)) > 0:
                signals.append(_ks(name, *parts))
    ratio = None
    if one.distances is not None and two.distances is not None:
        ratio = float(np.median(two.distances) / np.median(one.distances))
        if limit is not None:
            signals.append(_far(one.distances, two.distances, limit))
        signals.append(_ks("distances", one.distances, two.distances, larger=True))
    verdict = _gravest(signals)
    return Shift(
        verdict=verdict,
        reasons=_reasons(verdict, signals, ratio, shares, classes, len(two.scores)),
        signals=tuple(signals),
        patients=len(two.scores),
        training_patients=len(one.scores),
        distance_ratio=ratio,
        positives=shares[0] if shares else None,
        training_positives=shares[1] if shares else None,
    )


def stability_index(training: Values, here: Values, *, seed: int = 0) -> Signal:
    """Return the population stability index of scores, and whether it may be chance.

    The sum over bins of (q - p) log(q / p), where p and q are the shares of the training population
    and of this one in ten bins between quantiles of the former (Siddiqi 2006); fewer where scores
    are tied. Half an image is added to every bin, so that none is empty. By chance alone it grows
    as patients get fewer (Yurdakul 2018), so marks alone won't do: p-values come from dealing the
    pooled bins out again.

    Parameters
    ----------
    training, here : ndarray of shape (patients,), dtype float64
        Scores of independent images.
    seed
        Of the dealing.
    """
    edges = np.unique(np.quantile(training, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    bins = len(edges) + 1
    place_one, place_two = (np.searchsorted(edges, each, side="right") for each in (training, here))
    one = np.bincount(place_one, minlength=bins)
    two = np.bincount(place_two, minlength=bins)
    found = float(_stability(one, two))
    random = np.random.default_rng(seed)
    dealt = random.multivariate_hypergeometric(one + two, len(here), size=_PERMUTATIONS)
    others = _stability(one + two - dealt, dealt)
    p_value = float(((others >= found - 1e-12).sum() + 1) / (_PERMUTATIONS + 1))
    return Signal("stability", found, PSI_MARKS, p_value)


def _stability(one: NDArray[np.int64], two: NDArray[np.int64]) -> Values:
    p, q = ((n + 0.5) / (n + 0.5).sum(axis=-1, keepdims=True) for n in (one, two))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1), np.float64)


def _ks(name: str, training: Values, here: Values, *, larger: bool = False) -> Signal:
    """Compare two distributions; `larger` asks only whether values here are."""
    with warnings.catch_warnings():
        # SciPy tells where it goes over from the exact distribution to the asymptotic one.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = ks_2samp(here, training, alternative="less" if larger else "two-sided")
    return Signal(name, float(found.statistic), KS_MARKS, float(found.pvalue))


def _far(training: Values, here: Values, limit: float) -> Signal:
    """Compare the shares beyond the limit, by Fisher's exact test."""
    counts = np.array([[(d > limit).sum(), (d <= limit).sum()] for d in (here, training)])
    p_value = float(fisher_exact(counts, alternative="greater").pvalue)
    return Signal("far", float(counts[0, 0] / len(here)), FAR_MARKS, p_value)


def _gravest(signals: list[Signal]) -> Verdict:
    """Return what all signals say together."""
    said = {signal.verdict for signal in signals}
    for verdict in ("differs", "may differ"):
        if verdict in said:
            return verdict
    large = any(s.verdict == "unclear" and s.effect >= s.marks[1] for s in signals)
    return "unclear" if large else "alike"


def _reasons(
    verdict: Verdict,
    signals: list[Signal],
    ratio: float | None,
    shares: tuple[float, float] | None,
    classes: tuple[str, str],
    patients: int,
) -> tuple[str, ...]:
    """Put into words what speaks for a difference, and what to know when nothing does."""
    words: dict[str, Callable[[Signal], str]] = {
        "scores": lambda s: f"scores are distributed otherwise (Kolmogorov-Smirnov {s.effect:.2f})",
        "stability": lambda s: f"the population stability index of scores is {s.effect:.2f}",
        "scores_of_negatives": lambda s: (
            f"scores of {classes[0]} moved by {s.effect:.2f} (Kolmogorov-Smirnov)"
        ),
        "scores_of_positives": lambda s: (
            f"scores of {classes[1]} moved by {s.effect:.2f} (Kolmogorov-Smirnov)"
        ),
        "far": lambda s: (
            f"{s.effect:.0%} of the patients lie farther from the training images "
            "than 99 % of those do"
        ),
        "distances": lambda s: (
            "embeddings lie farther from the training images (median "
            f"{ratio:.2f} times, Kolmogorov-Smirnov {s.effect:.2f})"
        ),
    }
    if verdict == "unclear":
        large = [s for s in signals if s.verdict == "unclear" and s.effect >= s.marks[1]]
        chance = f"with {counted(patients, 'patient')} this may be chance"
        return (*(words[signal.name](signal) for signal in large), chance)
    speaking = [signal for signal in signals if signal.verdict in ("may differ", "differs")]
    found = [words[signal.name](signal) for signal in speaking]
    names = {signal.name for signal in speaking}
    if shares and names and names <= {"scores", "stability"} and abs(shares[0] - shares[1]) > 0.05:
        found.append(
            f"{shares[0]:.0%} are {classes[1]} here and {shares[1]:.0%} were in training, which "
            "alone may be why"
        )
    if not speaking and patients < FEW_PATIENTS:
        few = counted(patients, "patient")
        found.append(f"but with {few} only large differences would show")
    return tuple(found)
