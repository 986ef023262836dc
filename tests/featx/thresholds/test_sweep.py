"""The exact sweep against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import InputError
from featx.thresholds import sweep

# Few distinct values make ties; floats of any size make neighbours that have no number between.
SCORES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 0.5 + 2**-53, 1.0]),
    st.floats(0, 1),
    st.floats(-1e300, 1e300),
)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[int], list[float]]:
    """Labels of both classes and their scores."""
    extra = draw(st.lists(st.integers(0, 1), max_size=20))
    labels = draw(st.permutations([0, 1, *extra]))
    scores = draw(st.lists(SCORES, min_size=len(labels), max_size=len(labels)))
    return labels, scores


def by_hand(labels: list[int], scores: list[float], threshold: float) -> tuple[float, float]:
    """Count recall and accuracy at one threshold, image by image."""
    hits = sum(1 for y, s in zip(labels, scores, strict=True) if y == 1 and s >= threshold)
    right = sum(1 for y, s in zip(labels, scores, strict=True) if (s >= threshold) == (y == 1))
    return hits / sum(labels), right / len(labels)


@given(labelled())
def test_recall_and_accuracy_are_what_counting_gives(
    data: tuple[list[int], list[float]],
) -> None:
    points = sweep(*data)
    for threshold, recall, accuracy in zip(
        points.thresholds, points.recall, points.accuracy, strict=True
    ):
        assert (recall, accuracy) == pytest.approx(by_hand(*data, threshold), abs=1e-12)


@given(labelled())
def test_no_threshold_gives_anything_that_the_sweep_has_not(
    data: tuple[list[int], list[float]],
) -> None:
    points = sweep(*data)
    known = {
        (round(r, 9), round(a, 9)) for r, a in zip(points.recall, points.accuracy, strict=True)
    }
    for threshold in [*data[1], np.nextafter(max(data[1]), np.inf), -1e308]:
        recall, accuracy = by_hand(*data, threshold)
        assert (round(recall, 9), round(accuracy, 9)) in known


@given(labelled())
def test_there_is_one_point_a_distinct_score_and_one_that_calls_nobody(
    data: tuple[list[int], list[float]],
) -> None:
    points = sweep(*data)
    assert len(points.thresholds) == len(set(data[1])) + 1
    assert (np.diff(points.thresholds) > 0).all()
    assert (np.diff(points.recall) <= 0).all()
    assert points.recall[0] == 1.0
    assert points.recall[-1] == 0.0


@given(labelled(), st.floats(0, 1))
def test_best_is_the_feasible_point_of_highest_recall_then_accuracy(
    data: tuple[list[int], list[float]], floor: float
) -> None:
    points = sweep(*data)
    feasible = [
        (recall, accuracy)
        for recall, accuracy in zip(points.recall, points.accuracy, strict=True)
        if accuracy >= floor
    ]
    best = points.best(floor)
    if not feasible:
        assert best is None
    else:
        assert best is not None
        assert (points.recall[best], points.accuracy[best]) == max(feasible)


def test_thresholds_lie_halfway_between_neighbouring_scores() -> None:
    points = sweep([0, 1, 0, 1], [0.2, 0.4, 0.4, 0.8])
    assert points.thresholds[:3].tolist() == pytest.approx([0.2, 0.3, 0.6])
    assert points.thresholds[3] > 0.8


def test_scores_next_to_each_other_are_still_told_apart() -> None:
    low, high = 0.5, np.nextafter(0.5, 1)
    points = sweep([0, 1], [low, high])
    assert points.thresholds[1] == high
    assert points.accuracy[1] == 1.0


def test_constant_scores_leave_everybody_or_nobody() -> None:
    points = sweep([0, 1, 1], [0.5, 0.5, 0.5])
    assert points.recall.tolist() == [1.0, 0.0]
    assert points.accuracy.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_labels_may_be_truth_values() -> None:
    numbers, truths = sweep([0, 1, 1], [0.1, 0.2, 0.3]), sweep([False, True, True], [0.1, 0.2, 0.3])
    assert np.array_equal(numbers.accuracy, truths.accuracy)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label: int) -> None:
    with pytest.raises(InputError, match="all 3 images are of one class"):
        sweep([label] * 3, [0.1, 0.2, 0.3])


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="0 images"):
        sweep([], [])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_and_counted(wrong: float) -> None:
    with pytest.raises(InputError, match="scores are not finite numbers: 2"):
        sweep([0, 1, 1], [0.1, wrong, wrong])


@pytest.mark.parametrize("scores", [[0.1, 0.2], [[0.1], [0.2], [0.3]]])
def test_lengths_or_shapes_that_differ_are_refused(scores: list[float]) -> None:
    with pytest.raises(InputError, match="don't match"):
        sweep([0, 1, 1], scores)
