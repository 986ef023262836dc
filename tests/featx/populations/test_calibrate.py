"""A run for another population: the same head, another operating point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx._run import Run, load_run
from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.evaluation import evaluate_scores
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.populations import UnlabelledImages, calibrate, calibrate_unlabelled
from featx.populations._images_needed import advice_on_images, images_needed
from featx.scoring import LeftOut, score_images
from featx.thresholds import Criterion
from featx_cache import Cache


@pytest.fixture(scope="module")
def run(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("calibrating") / "run"
    fit(cache, HeadSpec(name="logreg"), folder, accuracy_floor=0.7)
    return load_run(folder)


@pytest.fixture(scope="module")
def local(make_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Other patients, whose embeddings are all shifted towards the sick ones."""

    def change(made: Any) -> None:
        made.embeddings += 0.7 * (np.arange(made.embeddings.shape[-1]) < 3)
        made.images["group"] = "other-" + made.images["group"]
        made.images["path"] = "other/" + made.images["path"]
        made.images["sha256"] = [h[::-1] for h in made.images["sha256"]]

    return make_cache(tmp_path_factory.mktemp("local") / "cache", patients=40, change=change)  # type: ignore[no-any-return]


def test_the_threshold_is_the_local_one_and_the_head_the_same(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    report = calibrate(run, scored, tmp_path / "new", accuracy_floor=0.75)
    new = load_run(tmp_path / "new")
    called = scored.table["score"] >= new.record.threshold
    assert (called == (scored.table["label"] == "PNEUMONIA")).mean() >= 0.75
    assert new.record.threshold > run.record.threshold  # everybody looks sicker there
    assert new.file("head.skops").read_bytes() == run.file("head.skops").read_bytes()
    assert new.record.accuracy_floor == 0.75
    assert new.record.calibrated is not None
    assert new.record.calibrated["from"] == str(run.path)
    low, high = new.record.band or (1, 0)
    assert low <= new.record.threshold <= high
    assert report.old.threshold == run.record.threshold


def test_the_new_numbers_are_those_of_patients_who_had_no_part(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    report = calibrate(run, scored, tmp_path / "new", accuracy_floor=0.75)
    flattered = scored.table["score"] >= report.record.threshold
    truth = scored.table["label"] == "PNEUMONIA"
    assert report.new.accuracy <= (flattered == truth).mean()


def test_evaluation_leaves_out_the_images_that_chose_the_threshold(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    calibrate(run, score_images(run, local, "test"), tmp_path / "new", accuracy_floor=0.5)
    new = load_run(tmp_path / "new")
    with pytest.raises(InputError, match="fitted on these very images"):
        new.evaluate(local, split="test")
    left_out = new.evaluate(local, split="all").left_out
    assert left_out.same_file == (local.images["split"] == "test").sum()


def test_too_few_images_are_explained_by_those_that_were_left_out(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    sick = scored.scores.positive
    few = replace(scored, table=scored.table[sick], vectors=scored.vectors[sick],
                  left_out=LeftOut(same_file=3))  # fmt: skip
    with pytest.raises(InputError, match="0 healthy patients") as error:
        calibrate(run, few, tmp_path / "new", accuracy_floor=0.75)
    assert "3 images left out" in " ".join(error.value.__notes__)


def test_the_criterion_is_the_runs_own_unless_another_is_named(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    one = run.calibrate(local, tmp_path / "one", recall_floor=0.8, progress=False)
    assert one.record.criterion == Criterion(recall_floor=0.8)
    assert one.record.accuracy_floor == 0.0
    scored = score_images(run, local, "all")
    assert scored.scores.called(one.record.threshold)[scored.scores.positive].mean() >= 0.8
    report = calibrate(one, scored, tmp_path / "two")
    assert report.record.criterion == one.record.criterion
    assert report.record.threshold == one.record.threshold
    assert "the one of highest specificity with recall ≥ 0.8 on them." in report.notes[0]
    assert "of the sick can't show that recall keeps the floor 0.8" in report.advice
    other = calibrate(one, scored, tmp_path / "three", accuracy_floor=0.75)
    assert other.record.criterion == Criterion(accuracy_floor=0.75)
    assert other.record.accuracy_floor == 0.75


def test_a_promise_of_recall_and_specificity_is_kept_in_the_record(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    floors = {"recall_floor": 0.3, "specificity_floor": 0.2}
    report = calibrate(
        run, scored, tmp_path / "new", guarantee=0.8, recall_floor=0.3, specificity_floor=0.2
    )
    promise = load_run(tmp_path / "new").record.promise
    assert promise is not None
    assert promise.accuracy_floor is None
    assert {name: promise[name] for name in floors} == floors
    assert "recall is at least 0.3 and specificity at least 0.2 on new" in promise.sentence
    assert report.record.criterion.floors == {"recall": 0.3, "specificity": 0.2}
    with pytest.raises(InputError, match="`guarantee` promises floors, and the lowest expected"):
        calibrate(run, scored, tmp_path / "other", guarantee=0.8, cost=(3, 1))


def test_recalibrated_scores_keep_their_order_and_become_probabilities(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    calibrate(run, scored, tmp_path / "new", accuracy_floor=0.75, recalibrate="sigmoid")
    new = load_run(tmp_path / "new")
    recalibration = new.record.recalibration
    assert recalibration is not None
    probabilities = recalibration.apply(scored.table["score"])
    assert np.array_equal(np.argsort(probabilities), np.argsort(scored.table["score"].to_numpy()))
    share = (scored.table["label"] == "PNEUMONIA").mean()
    assert probabilities.mean() == pytest.approx(share, abs=0.03)
    plain = calibrate(run, scored, tmp_path / "plain", accuracy_floor=0.75)
    (threshold,) = recalibration.apply([plain.record.threshold])
    assert new.record.threshold == pytest.approx(threshold)


def test_a_calibrated_run_can_be_calibrated_again(run: Run, local: Cache, tmp_path: Path) -> None:
    scored = score_images(run, local, "val")
    calibrate(run, scored, tmp_path / "one", accuracy_floor=0.5, recalibrate="temperature")
    one = load_run(tmp_path / "one")
    again = score_images(one, local, "train")
    calibrate(one, again, tmp_path / "two", accuracy_floor=0.5, recalibrate="sigmoid")
    two = load_run(tmp_path / "two")
    assert one.record.recalibration is not None
    assert two.record.recalibration is not None
    expected = two.record.recalibration.apply(run.out_of_fold["score"])
    assert two.out_of_fold["score"].to_numpy() == pytest.approx(expected)
    assert two.record.metrics["out_of_fold"]["roc_auc"] == pytest.approx(
        run.record.metrics["out_of_fold"]["roc_auc"]
    )


def test_too_few_images_are_told_how_many_would_do(run: Run, local: Cache, tmp_path: Path) -> None:
    scored = score_images(run, local, "all")
    report = calibrate(run, scored, tmp_path / "new", accuracy_floor=0.75)
    low = report.new.intervals["accuracy"].low
    assert bool(report.advice) == (low < 0.75)
    assert report.advice
    assert any(
        words in report.advice
        for words in ("images would do", "label more images", "All of it is below the floor")
    )


@pytest.mark.parametrize(
    ("wrong", "floor", "advice"),
    [
        # 50 of 60 right: the interval holds 0.9, so more images may show that the floor is kept.
        (10, 0.9, "The floor is in it, so it may be kept or not: label more images"),
        (30, 0.9, "All of it is below the floor: lower `accuracy_floor`."),
        (3, 0.9, "images would do at this accuracy."),
        (0, 0.9, ""),
    ],
)
def test_advice_claims_no_more_than_the_interval(wrong: int, floor: float, advice: str) -> None:
    y = np.arange(60) % 2
    metrics = evaluate_scores(Scores.from_arrays(y, np.where(np.arange(60) < wrong, 1 - y, y)), 0.5)
    said = advice_on_images(metrics, Criterion(accuracy_floor=floor))
    assert advice in said
    assert bool(said) == bool(advice)


@pytest.mark.parametrize(("accuracy", "floor"), [(0.95, 0.9), (0.8, 0.79), (1.0, 0.99)])
def test_the_number_that_would_do_does(accuracy: float, floor: float) -> None:
    from featx.evaluation._interval import proportion_interval

    needed = images_needed(accuracy, floor)
    assert needed is not None
    interval = proportion_interval(round(accuracy * needed), needed)
    assert interval is not None
    assert interval.low >= floor
    fewer = proportion_interval(round(accuracy * needed * 0.8), round(needed * 0.8))
    assert fewer is not None
    assert fewer.low < floor


def test_no_number_does_at_an_accuracy_below_the_floor() -> None:
    assert images_needed(0.9, 0.9) is None


def test_a_promise_of_a_low_floor_is_kept_in_the_record(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "all")
    report = calibrate(run, scored, tmp_path / "new", accuracy_floor=0.55, guarantee=0.8)
    assert report.promise is not None
    record = load_run(tmp_path / "new").record.promise
    assert record is not None
    assert dict(record) == report.promise.as_dict()
    assert report.promise.patients == scored.table["group"].nunique()


def test_what_cannot_be_promised_says_how_many_patients_would_do(
    run: Run, local: Cache, tmp_path: Path
) -> None:
    scored = score_images(run, local, "test")
    with pytest.raises(NoFeasibleThresholdError, match=r"can't be promised from \d+ patients"):
        calibrate(run, scored, tmp_path / "new", accuracy_floor=0.6, guarantee=0.95)
    assert not (tmp_path / "new").exists()


def test_a_run_is_not_replaced_by_what_is_made_of_it(run: Run, local: Cache) -> None:
    scored = score_images(run, local, "all")
    with pytest.raises(InputError, match="is the run that is calibrated"):
        calibrate(run, scored, run.path, accuracy_floor=0.7, force=True)


def unlabelled(run: Run, sick: int, well: int) -> UnlabelledImages:
    """Images of the training population, with another share of sick ones."""
    table = run.out_of_fold
    parts = [
        table[table["label"] == label].sample(n, replace=True, random_state=0)
        for label, n in (("PNEUMONIA", sick), ("NORMAL", well))
    ]
    chosen = pd.concat(parts)
    table = chosen[["path", "group", "score"]].assign(distance=run.reference.limit / 2)
    return UnlabelledImages(table)


@pytest.mark.long
def test_without_labels_the_share_of_sick_people_moves_the_threshold(
    run: Run, tmp_path: Path
) -> None:
    few = calibrate_unlabelled(run, unlabelled(run, 15, 135), tmp_path / "few", accuracy_floor=0.8)
    many = calibrate_unlabelled(
        run, unlabelled(run, 135, 15), tmp_path / "many", accuracy_floor=0.8
    )
    assert few.prior.share < 0.25 < 0.75 < many.prior.share
    assert few.new.values["recall"] <= many.new.values["recall"]
    assert few.new.values["accuracy"] >= 0.8
    record = load_run(tmp_path / "few").record
    assert record.calibrated is not None
    assert "label shift" in record.calibrated["assumption"]
    assert record.recalibration is not None
    assert record.recalibration.method == "prior"


def test_at_the_training_share_little_changes(run: Run, tmp_path: Path) -> None:
    report = calibrate_unlabelled(
        run, unlabelled(run, 80, 80), tmp_path / "new", accuracy_floor=0.7
    )
    assert report.prior.share == pytest.approx(0.5, abs=0.15)
    assert report.new.values["recall"] == pytest.approx(report.old.values["recall"], abs=0.15)
