"""What a run's scores of copies say, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx.runs._copies import copies_in_words, images_in_words
from featx.thresholds import Criterion, sweep
from featx_cache import Cache


def held_to(run: FittedRun, criterion: Criterion) -> FittedRun:
    """Return a run with another criterion in its record."""
    other = FittedRun(run.path)
    floor = criterion.accuracy_floor or 0.0
    changes = {"criterion": criterion, "accuracy_floor": floor}
    other.record = run.record.model_copy(update=changes)
    return other


def test_a_floor_that_is_kept_needs_no_more_words(fitted: FittedRun) -> None:
    metrics = fitted.record.metrics.copies
    assert metrics is not None
    said = copies_in_words(held_to(fitted, Criterion(accuracy_floor=0.0)))
    assert said.endswith(f"recall {metrics.recall:.4f}, accuracy {metrics.accuracy:.4f}.")


def test_a_floor_that_could_be_kept_names_the_threshold_that_does(fitted: FittedRun) -> None:
    points = sweep(fitted.copies_scores)
    metrics = fitted.record.metrics.copies
    assert metrics is not None
    assert metrics.specificity is not None
    floor = min(1.0, metrics.specificity + 0.05)
    criterion = Criterion(specificity_floor=floor)
    best = criterion.best(points)
    assert best is not None
    said = copies_in_words(held_to(fitted, criterion))
    assert f"There specificity is below the floor {floor:g}. The highest recall" in said
    assert f"threshold {points.thresholds[best]:.6g} (`choose_on='copies'`)" in said


def test_a_floor_out_of_reach_names_what_is_nearest(fitted: FittedRun) -> None:
    said = copies_in_words(held_to(fitted, Criterion(accuracy_floor=1.0)))
    most = sweep(fitted.copies_scores).accuracy.max()
    assert "There accuracy is below the floor 1. No threshold keeps it there." in said
    assert f"has accuracy {most:.4f}" in said


def test_without_scores_of_copies_nothing_is_said(cache: Cache, tmp_path: Path) -> None:
    run = fit(cache, HeadSpec.choose("lda"), tmp_path / "run", accuracy_floor=0.3, use_copies=False)
    assert copies_in_words(run) == ""
    assert images_in_words(run) == "40 images of 20 patients"


@pytest.mark.parametrize(
    ("choose_on", "words"),
    [
        ("both", "40 images of 20 patients and their augmented copies"),
        ("copies", "augmented copies of 40 images of 20 patients"),
    ],
)
def test_the_images_that_chose_are_named(fitted: FittedRun, choose_on: str, words: str) -> None:
    other = FittedRun(fitted.path)
    other.record = fitted.record.model_copy(update={"choose_on": choose_on})
    assert images_in_words(other) == words
