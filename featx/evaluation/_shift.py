"""Whether a population differs from the one that a run was trained on, in words and numbers."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import fisher_exact, ks_2samp

from featx._html import html_table
from featx._scores import Scores
from featx.errors import InputError
from featx.thresholds._promise import one_image_per_patient
from featx_cache._text import plural

Verdict = Literal["alike", "unclear", "may differ", "differs"]
Values = NDArray[np.float64]

SHIFT_P_VALUE = 0.005
"""Level of each test. There are up to six, so that all together raise 3 % false alarms at most."""

KS_MARKS = (0.1, 0.2)
"""Kolmogorov-Smirnov distances that count and are large: shares of patients who differ."""

PSI_MARKS = (0.1, 0.25)
"""Population stability indexes of some shift and of a large one (Siddiqi, Credit Risk Scorecards,
2006)."""

DISTANCE_MARKS = (0.05, 0.2)
"""Shares beyond the distance that one in a hundred training images is beyond."""

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
_REASONS = {
    "scores": "scores are distributed otherwise (Kolmogorov-Smirnov {effect:.2f})",
    "stability": "the population stability index of scores is {effect:.2f}",
    "scores_of_negatives": "scores of {negative} moved by {effect:.2f} (Kolmogorov-Smirnov)",
    "scores_of_positives": "scores of {positive} moved by {effect:.2f} (Kolmogorov-Smirnov)",
    "far": (
        "{effect:.0%} of the patients lie farther from the training images than 99 % of those do"
    ),
    "distances": (
        "embeddings lie farther from the training images (median {ratio:.2f} times, "
        "Kolmogorov-Smirnov {effect:.2f})"
    ),
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Population:
    """Scores of some images, with their patients, labels and distances as far as they are known.

    Attributes
    ----------
    scores : ndarray of shape (images,), dtype float64
        Scores of the positive class, out of fold for the training population.
    groups : array of shape (images,)
        Patient of each image.
    sick : ndarray of shape (images,), dtype bool, or None
        True for the positive class. None if labels aren't known.
    distances : ndarray of shape (images,), dtype float64, or None
        Distances from the training images (see `featx.evaluation._reference`), out of fold for
        these. None if they aren't known.

    Examples
    --------
    >>> Population.labelled(Scores.from_arrays([0, 1], [0.2, 0.9]))
    Population(2 images with labels)
    >>> Population([0.2, 0.9], ["a", "a"])
    Population(2 images)
    """

    scores: Values
    groups: ArrayLike
    sick: NDArray[np.bool_] | None = None
    distances: Values | None = None

    @classmethod
    def labelled(cls, scores: Scores, distances: Values | None = None) -> Population:
        """Take scores of labelled images."""
        return cls(scores.score, scores.patient, scores.positive, distances)

    def one_image_per_patient(self, seed: int) -> Population:
        """Return one image of each patient, drawn at random."""
        drawn = one_image_per_patient(self.groups, seed)
        return Population(
            np.asarray(self.scores, np.float64)[drawn],
            np.asarray(self.groups)[drawn],
            None if self.sick is None else np.asarray(self.sick).astype(bool)[drawn],
            None if self.distances is None else np.asarray(self.distances, np.float64)[drawn],
        )

    def __repr__(self) -> str:
        known = {"labels": self.sick, "distances": self.distances}
        words = " and ".join(name for name, values in known.items() if values is not None)
        return f"Population({plural(len(self.scores), 'image')}{words and f' with {words}'})"


@dataclass(frozen=True, slots=True)
class Signal:
    """A test of one way in which populations may differ.

    Attributes
    ----------
    name
        ``scores``, ``stability``, ``scores_of_negatives``, ``scores_of_positives``, ``far`` or
        ``distances``.
    effect
        Size of the difference: a Kolmogorov-Smirnov distance, the population stability index, or a
        share.
    marks
        Effects that count and that are large.
    p_value
        P-value of no difference.
    """

    name: str
    effect: float
    marks: tuple[float, float]
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """Verdict of this test. An effect that may be chance is no sign, and no proof of none."""
        if self.effect < self.marks[0]:
            return "alike"
        if self.p_value > SHIFT_P_VALUE:
            return "unclear"
        return "may differ" if self.effect < self.marks[1] else "differs"


@dataclass(frozen=True, slots=True, repr=False)
class Shift:
    """Difference of a population from the training population.

    Attributes
    ----------
    verdict
        The gravest of the signals. It is ``unclear`` if none shows a difference, and one has a
        large effect that may be chance.
    reasons
        Reasons in words.
    signals
        Signals that could be measured.
    patients, training_patients
        Numbers of patients. One image of each is compared.
    distance_ratio
        Median distance here by that of the training images. None if it isn't known.
    positives, training_positives
        Share of the positive class. None if labels aren't known.

    Examples
    --------
    >>> import numpy as np
    >>> training = Population(np.linspace(0, 1, 400), range(400))
    >>> shift = compare_populations(training, Population(np.linspace(0.4, 1, 400), range(400)))
    >>> shift
    Shift(differs, 400 patients against 400 in training)
    >>> shift.to_frame()[["signal", "effect", "verdict"]].round(2)
          signal  effect  verdict
    0     scores    0.40  differs
    1  stability    1.94  differs
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
    def suspected(self) -> bool:
        """Whether the population differs, or may differ."""
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

    def to_frame(self) -> pd.DataFrame:
        """Return one row a signal: signal, effect, p_value and verdict."""
        rows = [(s.name, s.effect, s.p_value, s.verdict) for s in self.signals]
        return pd.DataFrame(rows, columns=["signal", "effect", "p_value", "verdict"])

    def __repr__(self) -> str:
        patients = (
            f"{plural(self.patients, 'patient')} against {self.training_patients:,} in training"
        )
        return f"Shift({self.verdict}, {patients})"

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), [self.sentence])


def compare_populations(
    training: Population,
    here: Population,
    *,
    limit: float | None = None,
    classes: tuple[str, str] = ("negative", "positive"),
    seed: int = 0,
) -> Shift:
    """Say whether a population differs from the training population.

    One image of each patient is compared. A signal counts if its test has p at most 0.005 *and* its
    effect reaches a mark. Among thousands of patients anything is significant, and among a dozen
    anything may look large. docs/evaluation.md has the rule and how often it errs.

    Parameters
    ----------
    training
        Out-of-fold scores and distances of the images that a run was fitted on.
    here
        Scores and distances of images that it wasn't fitted on.
    limit
        Distance that 1 % of the training images are beyond. None if it isn't known.
    classes
        Names of the negative and the positive class, for the words.
    seed
        Seed of drawing the images.

    Raises
    ------
    InputError
        If one of them has no images.

    Examples
    --------
    >>> import numpy as np
    >>> training = Population(np.linspace(0, 1, 400), range(400))
    >>> compare_populations(training, training).sentence
    'There is no sign that this population differs from the training population.'
    """
    if not len(training.scores) or not len(here.scores):
        raise InputError("there are no images to compare")
    one, two = (each.one_image_per_patient(seed) for each in (training, here))
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
            signals.append(_share_beyond(one.distances, two.distances, limit))
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

    It is the sum over bins of (q - p) log(q / p), where p and q are the shares of the training
    population and of this one in ten bins between quantiles of the former (Siddiqi 2006). There
    are fewer bins if scores are tied. Half an image is added to every bin, so that none is empty.
    By chance alone the index grows as patients get fewer (Yurdakul 2018). So marks alone won't do,
    and p-values come from permuting the pooled images. Images are taken for independent.
    """
    edges = np.unique(np.quantile(training, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    bins = len(edges) + 1
    one, two = (
        np.bincount(np.searchsorted(edges, each, side="right"), minlength=bins)
        for each in (training, here)
    )
    found = float(_stability(one, two))
    random = np.random.default_rng(seed)
    permuted = random.multivariate_hypergeometric(one + two, len(here), size=_PERMUTATIONS)
    others = _stability(one + two - permuted, permuted)
    p_value = float(((others >= found - 1e-12).sum() + 1) / (_PERMUTATIONS + 1))
    return Signal("stability", found, PSI_MARKS, p_value)


def _stability(one: NDArray[np.int64], two: NDArray[np.int64]) -> Values:
    p, q = ((n + 0.5) / (n + 0.5).sum(axis=-1, keepdims=True) for n in (one, two))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1), np.float64)


def _ks(name: str, training: Values, here: Values, *, larger: bool = False) -> Signal:
    """Compare two distributions. With `larger`, ask only whether values are larger here."""
    with warnings.catch_warnings():
        # SciPy warns if it takes the asymptotic distribution for the exact one.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = ks_2samp(here, training, alternative="less" if larger else "two-sided")
    return Signal(name, float(found.statistic), KS_MARKS, float(found.pvalue))


def _share_beyond(training: Values, here: Values, limit: float) -> Signal:
    """Compare the shares beyond the limit, by Fisher's exact test."""
    counts = np.array([[(d > limit).sum(), (d <= limit).sum()] for d in (here, training)])
    p_value = float(fisher_exact(counts, alternative="greater").pvalue)
    return Signal("far", float(counts[0, 0] / len(here)), DISTANCE_MARKS, p_value)


def _gravest(signals: list[Signal]) -> Verdict:
    """Return the verdict of all signals together."""
    verdicts = {signal.verdict for signal in signals}
    for verdict in ("differs", "may differ"):
        if verdict in verdicts:
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
    """Put the signs of a difference into words, and what to know if there is none."""
    known = {"negative": classes[0], "positive": classes[1], "ratio": ratio}

    def in_words(signal: Signal) -> str:
        return _REASONS[signal.name].format(effect=signal.effect, **known)

    if verdict == "unclear":
        large = [s for s in signals if s.verdict == "unclear" and s.effect >= s.marks[1]]
        chance = f"with {plural(patients, 'patient')} this may be chance"
        return (*map(in_words, large), chance)
    signs = [signal for signal in signals if signal.verdict in ("may differ", "differs")]
    found = [in_words(signal) for signal in signs]
    names = {signal.name for signal in signs}
    if shares and names and names <= {"scores", "stability"} and abs(shares[0] - shares[1]) > 0.05:
        found.append(
            f"{shares[0]:.0%} are {classes[1]} here and {shares[1]:.0%} were in training, which "
            "alone may be why"
        )
    if not signs and patients < FEW_PATIENTS:
        few = plural(patients, "patient")
        found.append(f"but with {few} only large differences would show")
    return tuple(found)
