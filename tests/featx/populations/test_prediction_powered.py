"""Labels and scores together: the truth is in the interval, which the scores make narrower."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from featx.populations import UnlabelledImages, suggest_labels
from featx.populations._expected_performance import METRICS
from featx.populations._prediction_powered import LabelledSample

IMAGES, SHARE, APART, THRESHOLD = 500, 0.4, 2.5, 0.35
RUN: Any = SimpleNamespace(
    record=SimpleNamespace(threshold=THRESHOLD, classes=("NORMAL", "PNEUMONIA"))
)


class Site:
    """A site whose scores are moved by `moved`, and probabilities that know of it or don't."""

    def __init__(self, *, moved: float, sure: float) -> None:
        self.moved, self.sure = moved, sure
        at = (logit(THRESHOLD) - moved) / APART
        recall, specificity = norm.sf(at - APART / 2.0), norm.cdf(at + APART / 2.0)
        accuracy = SHARE * recall + (1.0 - SHARE) * specificity
        self.truth = dict(zip(METRICS, (accuracy, recall, specificity, SHARE), strict=True))

    def sample(self, random: np.random.Generator, labels: int, how: str) -> LabelledSample:
        """Draw images and label some of them."""
        sick = random.random(IMAGES) < SHARE
        values = APART * random.normal(np.where(sick, APART, -APART) / 2.0)
        scores = expit(values + self.moved)
        rows, weight = random.permutation(IMAGES)[:labels], np.ones(labels)
        if how == "suggested":
            names = [str(number) for number in range(IMAGES)]
            table = pd.DataFrame({"path": names, "group": names, "score": scores})
            seed = int(random.integers(1000))
            found = suggest_labels(RUN, UnlabelledImages(table), labels, seed=seed)
            rows = found["path"].to_numpy(np.intp)
            weight = found["sampling_weight"].to_numpy()
        return LabelledSample(
            called=scores >= THRESHOLD,
            chance=expit(self.sure * values + logit(SHARE)),
            rows=rows,
            sick=sick[rows],
            weight=weight,
            patient=np.arange(labels),
        )


@pytest.mark.parametrize("how", ["random", "suggested"])
@pytest.mark.parametrize(
    ("labels", "moved", "sure"), [(50, 0.0, 1.0), (20, 0.0, 1.0), (50, 2.0, 3.0)]
)
def test_the_truth_is_in_the_interval_which_scores_make_narrower(
    how: str, labels: int, moved: float, sure: float
) -> None:
    site, random = Site(moved=moved, sure=sure), np.random.default_rng(0)
    hits: dict[str, list[bool]] = {name: [] for name in METRICS}
    narrower: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(150 if how == "random" else 50):
        sample = site.sample(random, labels, how)
        for name in METRICS:
            both, alone = sample.estimate(name), sample.estimate(name, powered=False)
            if both is not None and alone is not None:
                (_, found), (_, plain) = both, alone
                hits[name].append(found.low <= site.truth[name] <= found.high)
                narrower[name].append((found.high - found.low) / (plain.high - plain.low))
    for name in METRICS:
        # 95 %, less two and a half standard errors.
        assert np.mean(hits[name]) >= (0.905 if how == "random" else 0.87), name
        assert np.mean(narrower[name]) < 1.0, name
    if sure == 1.0:
        assert np.mean(narrower["share"]) < 0.75
        assert np.mean(narrower["specificity"]) < 0.85


def of(sick: NDArray[np.bool_], called: NDArray[np.bool_], chance: float = 0.5) -> LabelledSample:
    """All images are labelled, and their scores say nothing."""
    count = np.arange(len(sick))
    return LabelledSample(
        called, np.full(len(sick), chance), count, sick, np.ones(len(sick)), count
    )


def test_labels_of_all_images_are_the_measurement() -> None:
    sick, called = np.arange(40) < 20, np.arange(40) % 5 > 0
    for name, wanted in (
        ("accuracy", (sick == called).mean()),
        ("recall", called[sick].mean()),
        ("specificity", (~called)[~sick].mean()),
        ("share", 0.5),
    ):
        found = of(sick, called).estimate(name)
        assert found is not None
        assert found[0] == pytest.approx(wanted)


def test_labels_without_an_error_leave_a_doubt() -> None:
    """The rule of three: 40 of 40 may be 0.91."""
    sick = np.arange(40) < 20
    found = of(sick, sick, 1.0).estimate("accuracy")
    assert found is not None
    assert found[0] == 1.0
    assert 0.88 < found[1].low < 0.93
    assert found[1].high == 1.0


def test_a_class_without_a_label_is_unknown() -> None:
    sample = of(np.zeros(30, bool), np.zeros(30, bool))
    assert sample.estimate("recall") is None
    assert sample.estimate("specificity") is not None


def test_images_of_a_patient_count_as_a_patient() -> None:
    """Five images of each patient, all alike, tell no more than one."""
    sick, called = np.arange(100) < 50, np.arange(100) % 25 >= 5
    plain = of(sick, called)
    grouped = LabelledSample(
        called, plain.chance, plain.rows, sick, plain.weight, np.arange(100) // 5
    )
    one, other = plain.estimate("recall"), grouped.estimate("recall")
    assert one is not None
    assert other is not None
    assert other[1].high - other[1].low > 1.5 * (one[1].high - one[1].low)
