"""What calibrated scores alone say of a run at a site, and how far off that is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import kstwobign

from featx._scores import Scores
from featx.evaluation import Interval
from featx.evaluation._resampling import percentile_interval, resampled_weights
from featx.thresholds import Recalibration, learn_platt
from featx.thresholds._recalibration import logits

METRICS = ("accuracy", "recall", "specificity", "share")
RESAMPLES = 500

TRIAL_SPLITS = 4
"""Number of times that the training patients are halved: one half calibrates, one is a site."""
TRIAL_LOG_ODDS = np.linspace(-3.0, 3.0, 9)
"""Shares of the sick that trial sites have, as log odds: from 5 % to 95 %."""
SHARE_BANDWIDTH = 0.75
"""Difference of two estimated shares, as log odds, at which sites aren't alike any more."""
DISPLACEMENT_GROUPS = 4
_NORMAL_QUANTILE = 1.959964
_GRID = 256
_HALVINGS = 24

Values = NDArray[np.float64]
Rates = dict[str, Values]


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A map from scores to probabilities, and the share of the sick that it was learned at."""

    recalibration: Recalibration
    share: float

    @classmethod
    def learn(cls, scores: Scores) -> Calibrator:
        """Learn it on out-of-fold scores, each patient counted once (Platt 1999)."""
        weight = one_each(scores.patient_number)
        return cls(learn_platt(scores), float(np.average(scores.positive, weights=weight)))

    def probabilities(self, scores: ArrayLike, share: float) -> Values:
        """Return the probabilities of being sick at another share of the sick."""
        known = self.recalibration.apply(scores)
        sick = known * share / self.share
        well = (1.0 - known) * (1.0 - share) / (1.0 - self.share)
        return np.asarray(sick / (sick + well), np.float64)

    def rates(self, scores: Values, threshold: float, weights: Values) -> Rates:
        """Return the expected metrics of many weightings of some images: shape (weightings,).

        The share of the sick is the most likely one, as of `featx.thresholds.estimate_prior`
        (Saerens et al. 2002). The counts of the confusion matrix are sums of probabilities
        (Guillory et al., ICCV 2021; CBPE of NannyML).
        """
        known, called = self.recalibration.apply(scores), scores >= threshold
        sick, well = known / self.share, (1.0 - known) / (1.0 - self.share)
        share = _likeliest_share(sick, well, weights)
        part = sick * share[:, np.newaxis]
        chance = weights * part / (part + well * (1.0 - share)[:, np.newaxis])
        found, all_sick = chance @ called, chance.sum(axis=1)
        cleared = (weights - chance) @ ~called
        everybody = weights.sum(axis=1)
        return {
            "accuracy": (found + cleared) / everybody,
            "recall": found / all_sick,
            "specificity": cleared / (everybody - all_sick),
            "share": share,
        }


class TrialSites:
    """Sites whose labels are known: held-out patients of the training set, and their copies.

    A hospital disturbs all of its images alike, and copies are disturbed each in a way of its own.
    So copies whose scores moved alike make a site: a quarter of each class, from those that fell
    most to those that rose most. Each trial calibrates on untouched images of one half of the
    patients, and estimates on images of the other half.

    Parameters
    ----------
    untouched
        Out-of-fold scores of the training images.
    paths
        Path of each of them.
    copies
        Out-of-fold scores of their copies: path, label, group, copy, score. It may be empty.
    threshold
        Threshold of the run.
    seed
        Seed of the halves.
    """

    def __init__(
        self,
        untouched: Scores,
        paths: ArrayLike,
        copies: pd.DataFrame,
        threshold: float,
        *,
        seed: int = 0,
    ) -> None:
        self.untouched, self.threshold, self.seed = untouched, threshold, seed
        self.has_copies = len(copies) > 0
        self._images = self._table(paths, copies)

    def _table(self, paths: ArrayLike, copies: pd.DataFrame) -> pd.DataFrame:
        """Return one row an image or copy: score, positive, patient, and the site that it is in."""
        known = self.untouched
        plain = pd.DataFrame(
            {
                "path": np.asarray(paths, object),
                "score": known.score,
                "positive": known.positive,
                "patient": known.patient_number,
            }
        ).assign(site=0)
        if not self.has_copies:
            return plain
        disturbed = copies[["path", "copy", "score"]].merge(
            plain[["path", "positive", "patient", "score"]], on="path", suffixes=("", "_plain")
        )
        moved = pd.Series(logits(disturbed["score"]) - logits(disturbed["score_plain"]))
        rank = moved.groupby([disturbed["copy"], disturbed["positive"]]).rank(pct=True)
        quarter = np.ceil(rank * DISPLACEMENT_GROUPS).clip(1, DISPLACEMENT_GROUPS).astype(int)
        first = disturbed["copy"].rank(method="dense").astype(int) - 1
        site = 1 + first * DISPLACEMENT_GROUPS + quarter - 1
        return pd.concat([plain, disturbed.assign(site=site)[plain.columns]], ignore_index=True)

    @cached_property
    def _trials(self) -> list[tuple[Calibrator, Mixture, pd.DataFrame]]:
        """Calibrators and mixtures of one half, and the images of the other half by site."""
        random, patient = np.random.default_rng(self.seed), self.untouched.patient_number
        sick = pd.Series(self.untouched.positive).groupby(patient).max().to_numpy()
        found = []
        for _ in range(TRIAL_SPLITS):
            calibrates = np.zeros(len(sick), bool)
            for kind in (False, True):  # each half has patients of both classes
                of_kind = random.permutation(np.flatnonzero(sick == kind))
                calibrates[of_kind[: len(of_kind) // 2]] = True
            half = self.untouched[calibrates[patient]]
            if half.positive.all() or not half.positive.any():
                continue
            learned, mixture = Calibrator.learn(half), Mixture(half.score, half)
            rest = self._images[~calibrates[self._images["patient"]]]
            found += [
                (learned, mixture, images)
                for _, images in rest.groupby("site")
                if images["positive"].nunique() == 2
            ]
        return found

    @cached_property
    def _results(self) -> _Results:
        """Estimates and truths of all trial sites, each with many shares of the sick."""
        shares = expit(TRIAL_LOG_ODDS)
        off: list[Values] = []
        estimated: list[Values] = []
        misfits: list[float] = []
        disturbed: list[bool] = []
        for learned, mixture, images in self._trials:
            score, sick = images["score"].to_numpy(np.float64), images["positive"].to_numpy(bool)
            part = sick / sick.sum(), ~sick / (~sick).sum()
            weights = shares[:, np.newaxis] * part[0] + (1.0 - shares)[:, np.newaxis] * part[1]
            found = learned.rates(score, self.threshold, weights)
            called = score >= self.threshold
            recall, specificity = float(called @ part[0]), float(~called @ part[1])
            truth: Rates = {
                "accuracy": shares * recall + (1.0 - shares) * specificity,
                "recall": np.full_like(shares, recall),
                "specificity": np.full_like(shares, specificity),
                "share": shares,
            }
            off.append(np.stack([truth[name] - found[name] for name in METRICS], axis=1))
            estimated.append(found["share"])
            disturbed += [bool(images["site"].iloc[0])] * len(shares)
            by_patient = weights * one_each(np.unique(images["patient"], return_inverse=True)[1])
            at = learned.rates(score, self.threshold, by_patient)["share"]
            misfits += [
                mixture.misfit(score, *each) for each in zip(by_patient, at.tolist(), strict=True)
            ]
        return _Results(
            np.concatenate(off), np.concatenate(estimated), np.array(disturbed), np.array(misfits)
        )

    def errors(self, share: float) -> tuple[dict[str, float], float]:
        """Return how far off estimates are at trial sites that look like a site.

        Parameters
        ----------
        share
            Share of the sick there, estimated. Trial sites with about this estimate count most.

        Returns
        -------
        errors : dict
            Root mean square of the truth less the estimate of each metric: of copies or of
            untouched images, whichever is larger.
        misfit : float
            Misfit (see `Mixture`) up to which errors are known: 95 % of trial sites have less.
        """
        if not self._trials:
            return dict.fromkeys(METRICS, 1.0), 0.0
        results = self._results
        away = (_log_odds(results.shares) - _log_odds(np.array([share]))) / SHARE_BANDWIDTH
        likeness = np.exp((np.min(away**2) - away**2) / 2.0)
        means = [
            np.average(results.off[which] ** 2, axis=0, weights=likeness[which] + 1e-12)
            for which in (results.disturbed, ~results.disturbed)
            if which.any()
        ]
        root = np.sqrt(np.max(means, axis=0))
        known = float(np.quantile(results.misfits, 0.95))
        return dict(zip(METRICS, root.tolist(), strict=True)), known


class _Results(NamedTuple):
    """Truth less estimate (sites, metrics), and estimated share, kind and misfit of each site."""

    off: Values
    shares: Values
    disturbed: NDArray[np.bool_]
    misfits: Values


class Mixture:
    """Values of training patients as they are distributed if only the share of the sick differs.

    Parameters
    ----------
    values : ndarray of shape (images,)
        Scores of the training images, or another property of them.
    scores
        Their labels and patients. Each patient counts once.
    """

    def __init__(self, values: Values, scores: Scores) -> None:
        self._grid = np.unique(np.quantile(values, np.linspace(0.0, 1.0, _GRID)))
        weight, sick = one_each(scores.patient_number), scores.positive
        self._well, self._sick = (
            _distribution(values[which], weight[which], self._grid) for which in (~sick, sick)
        )

    def misfit(self, values: Values, weights: Values, share: float) -> float:
        """Return the Kolmogorov-Smirnov distance of some values from the mixture at a share."""
        return float(np.abs(self._difference(values, weights, share)).max())

    def excess(self, values: Values, weights: Values, share: float) -> float:
        """Return that distance as far as the values are larger than those of the mixture."""
        return float(max(self._difference(values, weights, share).max(), 0.0))

    def _difference(self, values: Values, weights: Values, share: float) -> Values:
        mixed = share * self._sick + (1.0 - share) * self._well
        return np.asarray(mixed - _distribution(values, weights, self._grid), np.float64)


def ks_p_value(
    distance: float, patients: int, training_patients: int, *, one_sided: bool = False
) -> float:
    """Return the asymptotic p-value of a Kolmogorov-Smirnov distance.

    It is a little too large if a share was fitted.
    """
    root = distance * np.sqrt(patients * training_patients / (patients + training_patients))
    return float(np.exp(-2.0 * root**2) if one_sided else kstwobign.sf(root))


def one_each(patient: NDArray[np.intp]) -> Values:
    """Return weights of images with which each patient counts once."""
    return np.asarray(1.0 / np.bincount(patient)[patient], np.float64)


def _likeliest_share(sick: Values, well: Values, weights: Values) -> Values:
    """Return the share of the sick of most likelihood, for each weighting of the images.

    `sick` and `well` are the likelihoods of each score, up to a factor. Expectation maximisation
    has the same limit, and takes hundreds of steps to it.
    """
    low, high, gap = np.zeros(len(weights)), np.ones(len(weights)), sick - well
    for _ in range(_HALVINGS):
        share = (low + high) / 2.0
        slopes = gap / (well + share[:, np.newaxis] * gap)
        rises = np.einsum("ij,ij->i", weights, slopes) > 0.0
        low, high = np.where(rises, share, low), np.where(rises, high, share)
    return np.asarray((low + high) / 2.0, np.float64)


def _log_odds(shares: Values) -> Values:
    return np.asarray(logit(shares.clip(0.001, 0.999)), np.float64)


def _distribution(values: Values, weights: Values, grid: Values) -> Values:
    """Return the weighted share of values up to each point of a grid."""
    order = np.argsort(values)
    sums = np.concatenate([[0.0], weights[order].cumsum()])
    found = sums[np.searchsorted(values[order], grid, side="right")] / sums[-1]
    return np.asarray(found, np.float64)


def sampled_intervals(
    calibrator: Calibrator,
    scores: Values,
    patients: NDArray[np.intp],
    threshold: float,
    *,
    seed: int,
) -> dict[str, Interval]:
    """Return 95 % intervals of the expected metrics by a bootstrap of patients."""
    drawn: dict[str, list[Values]] = {name: [] for name in METRICS}
    for weights in resampled_weights(patients, seed=seed, resamples=RESAMPLES):
        for name, values in calibrator.rates(scores, threshold, weights).items():
            drawn[name].append(values)
    found = {name: percentile_interval(np.concatenate(each)) for name, each in drawn.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def widened(value: float, sampled: Interval, error: float) -> Interval:
    """Add an error of a known root mean square to a bootstrap interval, within 0 and 1.

    Both are taken for independent (Zou and Donner 2008, MOVER).
    """
    away = _NORMAL_QUANTILE * error
    low = value - np.hypot(max(value - sampled.low, 0.0), away)
    high = value + np.hypot(max(sampled.high - value, 0.0), away)
    return Interval(float(max(low, 0.0)), float(min(high, 1.0)))
