"""Few labels and many scores together: prediction-powered inference, by patients and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from featx.evaluation import Interval
from featx.evaluation._interval import CONFIDENCE

Values = NDArray[np.float64]
_TAIL = (1.0 - CONFIDENCE) / 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSample:
    """Images of a site, some of which have labels.

    Attributes
    ----------
    called : ndarray of shape (images,), dtype bool
        Verdict on each image of the site.
    chance : ndarray of shape (images,), dtype float64
        Probability of being sick by the score.
    rows : ndarray of shape (labels,), dtype int
        Images that have labels.
    sick : ndarray of shape (labels,), dtype bool
        Their labels.
    weight : ndarray of shape (labels,), dtype float64
        Number of images that each of them stands for.
    patient : ndarray of shape (labels,), dtype int
        Number of the patient of each, from 0 on.
    """

    called: NDArray[np.bool_]
    chance: Values
    rows: NDArray[np.intp]
    sick: NDArray[np.bool_]
    weight: Values
    patient: NDArray[np.intp]

    def estimate(self, metric: str, *, powered: bool = True) -> tuple[float, Interval] | None:
        """Estimate a metric of the site, with its 95 % interval.

        Accuracy and the share of the sick are means over the images, recall and specificity ratios
        of means. Their numerators and denominators are those of the probabilities of all images,
        corrected by what the labels say of the probabilities (Angelopoulos et al., Science 2023).
        How much the probabilities count is tuned (PPI++, Angelopoulos, Duchi and Zrnic 2023). So
        wrong ones cost nothing, but gain nothing, either. The labels are weighted by how rarely
        such images were drawn (Fisch et al. 2024 do so by strata).

        The interval is Clopper and Pearson's for as many labels as the variance is worth (Korn and
        Graubard 1998). As in `featx.evaluation._clustered.effective_size`, the variance counts two
        patients more, a hit and a miss that no score explains. Without them, labels that happen to
        agree with all scores would leave no doubt.

        Parameters
        ----------
        metric
            ``accuracy``, ``recall``, ``specificity`` or ``share``.
        powered
            Whether the probabilities count. Otherwise it is what the labels alone say.

        Returns
        -------
        tuple of float and Interval, or None
            None if no label is of a class that the metric needs.
        """
        called, truth = self.called[self.rows], self.sick.astype(np.float64)
        hit, member = _parts(metric, called, truth)
        if not member.any():
            return None
        all_hits, all_members = _parts(metric, self.called, self.chance)
        own_hit, own_member = all_hits[self.rows], all_members[self.rows]
        share = self.weight / self.weight.sum()

        def value(tuning: float) -> float:
            above = tuning * all_hits.mean() + share @ (hit - tuning * own_hit)
            below = tuning * all_members.mean() + share @ (member - tuning * own_member)
            return min(max(float(above / below), 0.0), 1.0) if below > 0.0 else math.nan

        pilot = value(0.0)
        tuning = 0.0
        if powered:
            tuning = _tuning(
                hit - pilot * member,
                own_hit - pilot * own_member,
                all_hits - pilot * all_members,
                share,
            )
        found = value(tuning)
        if math.isnan(found):
            found, tuning = pilot, 0.0
        residual = (hit - found * member) - tuning * (own_hit - found * own_member)
        plain = hit - found * member
        size = self._effective_size(found, residual, plain, member)
        return found, _interval(found, size)

    def _effective_size(
        self, value: float, residual: Values, plain: Values, member: Values
    ) -> float:
        """Return how many independent labels the estimate is worth."""
        patients = int(self.patient.max()) + 1
        weight, extra = self.weight, float(self.weight.mean())
        members = float(weight @ member) + 2.0 * extra
        hits = (float(weight @ member) * value + extra) / members
        guard = extra**2 * (hits**2 + (1.0 - hits) ** 2)

        def variance(values: Values) -> float:
            centred = weight * (values - np.average(values, weights=weight))
            totals = np.bincount(self.patient, centred, patients)
            return (float(totals @ totals) * patients / max(patients - 1, 1) + guard) / members**2

        # Of the labels' own error, the part that all images of the site would have, too, stays.
        fraction = min(len(self.rows) / len(self.called), 1.0)
        found = (1.0 - fraction) * variance(residual) + fraction * variance(plain)
        return max(float(hits * (1.0 - hits) / found), 1.0)


def _parts(metric: str, called: NDArray[np.bool_], sick: Values) -> tuple[Values, Values]:
    """Return the hits of a metric, and what they are counted among, by chance or by label."""
    well, everybody = 1.0 - sick, np.ones(len(sick))
    return {
        "accuracy": (np.where(called, sick, well), everybody),
        "recall": (called * sick, sick),
        "specificity": (~called * well, well),
        "share": (sick, everybody),
    }[metric]


def _tuning(labelled: Values, expected: Values, all_expected: Values, share: Values) -> float:
    """Return how much the probabilities should count, from 0 to 1, for the least variance."""
    spread = float(all_expected.var())
    if spread == 0.0:
        return 0.0
    centred = expected - share @ expected
    return float(np.clip((share * centred) @ labelled / spread, 0.0, 1.0))


def _interval(value: float, size: float) -> Interval:
    """Return Clopper and Pearson's interval of a proportion of some number of images."""
    count = value * size
    low = float(beta.ppf(_TAIL, count, size - count + 1.0)) if count > 0.0 else 0.0
    high = float(beta.ppf(1.0 - _TAIL, count + 1.0, size - count)) if count < size else 1.0
    return Interval(low, high)
