"""Counts of predictions, and whether their population looks like the training population."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx._run import Run, load_run
from featx.evaluation import average_over_grid
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.scoring import Prediction, PredictionCounts

PATIENTS = 500


def drawn(patients: int, seed: int, sick: float = 0.5) -> Any:
    """Embeddings of one image of each patient: shape (patients, 2, 2, 8)."""
    random = np.random.default_rng(seed)
    positive = (random.random(patients) < sick)[:, None, None, None]
    own = random.normal(0, 0.7, (patients, 1, 1, 8))
    noise = random.normal(0, 0.5, (patients, 2, 2, 8))
    return (0.6 * positive * (np.arange(8) < 3) + own + noise).astype(np.float32)


@pytest.fixture(scope="module")
def run(make_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    def change(made: Any) -> None:
        made.images["group"] = made.images["path"]
        sick = (made.images["label"] == "PNEUMONIA").to_numpy()[:, None, None, None]
        made.embeddings = drawn(len(sick), 0, 0.0) + 0.6 * sick * (np.arange(8) < 3)

    folder = tmp_path_factory.mktemp("counts")
    cache = make_cache(folder / "cache", patients=PATIENTS, copies=0, change=change)
    fit(cache, HeadSpec(name="logreg"), folder / "run", accuracy_floor=0.6)
    return load_run(folder / "run")


def counted(run: Run, embeddings: Any, name: str = "image{}.png") -> PredictionCounts:
    """Count predictions of images with these embeddings, as `Run.predict` makes them."""
    found, record = PredictionCounts(run), run.record
    scores, distances = run.score(embeddings), run.reference.distance(average_over_grid(embeddings))
    low, high = record.band or (1.0, 0.0)
    for number, (score, distance) in enumerate(zip(scores, distances, strict=True)):
        found.add(
            Prediction(
                name.format(number), score, score, record.threshold,
                record.classes[int(score >= record.threshold)], bool(low <= score <= high),
                bool(distance > run.reference.limit), distance,
            )
        )  # fmt: skip
    return found


def test_the_run_s_own_population_is_no_alarm_in_97_of_100(run: Run) -> None:
    alarms = [counted(run, drawn(150, seed)).shift for seed in range(1, 101)]
    assert sum(shift is not None and shift.suspected for shift in alarms) <= 3


def test_scores_of_elsewhere_are_warned_of_with_the_words_of_evaluate(run: Run) -> None:
    moved = drawn(150, 1)
    moved[..., :3] += 0.6  # the healthy look sick, as the sick do
    found = counted(run, moved)
    assert found.shift is not None
    assert found.shift.suspected
    assert {"scores", "stability", "far", "distances"} == {s.name for s in found.shift.signals}
    assert found.warning.startswith(found.shift.sentence.removesuffix("."))
    assert found.warning.startswith("This population differs from the training population: scores")
    called = found.positive / found.images
    assert f"; {called:.0%} are called PNEUMONIA here and " in found.warning
    assert "another share of sick people alone may be why" in found.warning
    assert found.warning.endswith("See `run.evaluate` and `run.calibrate`.")


def test_few_images_are_no_population(run: Run) -> None:
    moved = drawn(29, 1)
    moved[..., :3] += 0.6
    assert counted(run, moved).shift is None


def test_images_of_one_patient_count_as_one(run: Run) -> None:
    assert counted(run, drawn(200, 1), name="person1_bacteria_{}.jpeg").shift is None
    assert counted(run, drawn(200, 1), name="person{}_bacteria_1.jpeg").shift is not None


def test_words(run: Run) -> None:
    found = counted(run, drawn(40, 1))
    assert found.in_words == (
        f"{found.positive} of 40 called PNEUMONIA, {found.uncertain} uncertain."
    )
    found.add(Prediction("bad.png", None, None, 0.5, "", error="broken"))
    assert found.in_words.endswith("uncertain.")
    assert (found.images, found.failed) == (41, 1)


def test_a_name_that_is_not_utf8_is_counted(run: Run, tmp_path: Path) -> None:
    found = PredictionCounts(run)
    found.add(Prediction(str(tmp_path / "\udcff.png"), 0.9, 0.9, 0.5, "PNEUMONIA"))
    assert found.images == 1
