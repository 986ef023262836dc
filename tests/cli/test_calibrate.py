"""``featx calibrate`` and ``featx evaluate --protocol``: what is printed, written and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featx._run import load_run
from featx.demo._phantoms import write_phantoms
from featx.runs._record import write_record

Featx = Callable[..., Any]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn patients whom no run knows, without splits."""
    made = write_phantoms(tmp_path_factory.mktemp("hospital") / "d", patients=12, size=64, seed=9)
    flat = made.parent / "flat"
    for image in made.rglob("*.png"):
        target = flat / image.parent.name / f"{image.parent.parent.name}-{image.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.rename(target)
    return flat


def test_a_new_run_from_a_folder_of_images(
    featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
) -> None:
    answer = featx(
        "calibrate", tiny_run, hospital, "--accuracy-floor", "0.5", "--run", tmp_path / "new"
    )
    assert answer.code == 0
    words = " ".join(answer.out.split())
    assert "old new, cross-validated" in words
    assert answer.out.startswith("Positive class (sick): PNEUMONIA. Negative class (healthy): NOR")
    assert "a threshold that its patient had no part in" in words
    new = load_run(tmp_path / "new").record
    assert f"{new.threshold:.6g}" in answer.out
    assert new.calibrated is not None
    assert new.calibrated["images"] == len(list(hospital.rglob("*.png")))
    evaluated = featx("evaluate", tmp_path / "new", hospital)
    assert evaluated.code == 2
    assert "fitted on these very images" in evaluated.err


@pytest.fixture
def able_run(tiny_run: Path, tmp_path: Path) -> Path:
    """The run of untrained embeddings, made to believe that its scores tell sick from healthy."""
    shutil.copytree(tiny_run, tmp_path / "able")
    table = pd.read_csv(tmp_path / "able" / "oof.csv")
    sick = table["label"] == "PNEUMONIA"
    table["score"] = np.random.default_rng(0).uniform(0.0, 0.6, len(table)) + 0.4 * sick
    table.to_csv(tmp_path / "able" / "oof.csv", index=False)
    record = load_run(tmp_path / "able").record
    (tmp_path / "able" / "run.json").unlink()
    write_record(tmp_path / "able", record)
    return tmp_path / "able"


def test_scores_that_tell_nothing_estimate_nothing(
    featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
) -> None:
    answer = featx("calibrate", tiny_run, hospital, "--unlabelled", "--run", tmp_path / "new")
    assert answer.code == 2
    assert "don't tell sick from healthy" in answer.err
    assert not (tmp_path / "new").exists()


def test_without_labels(featx: Featx, able_run: Path, hospital: Path, tmp_path: Path) -> None:
    arguments = ("--unlabelled", "--accuracy-floor", "0.3", "--run", tmp_path / "new")
    answer = featx("calibrate", able_run, hospital / "NORMAL", *arguments)
    assert answer.code == 0
    words = " ".join(answer.out.split())
    assert "images without labels" in words
    assert "only their shares differ" in words
    assert load_run(tmp_path / "new").record.recalibration is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--accuracy-floor", "1.5"), "the accuracy floor 1.5 is not between 0 and 1"),
        (("--guarantee", "1"), "the confidence 1 is not between 0 and 1"),
        (("--unlabelled", "--guarantee", "0.9"), "need labels"),
        (("--unlabelled", "--recalibrate", "sigmoid"), "need labels"),
        (("--unlabelled", "--cache", "kept"), "--cache keeps the embeddings of labelled images"),
        (("--recalibrate", "platt"), "--recalibrate"),
        (("--split", "nowhere"), "has no image in split 'nowhere'"),
        (("--accuracy-floor", "1.0"), "no threshold reaches accuracy 1"),
        (("--accuracy-floor", "1.0"), "The embeddings were not kept: add --cache FOLDER"),
    ],
)
def test_misuse_is_one_line_and_writes_nothing(
    featx: Featx,
    tiny_run: Path,
    hospital: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    answer = featx("calibrate", tiny_run, hospital, "--run", tmp_path / "new", *arguments)
    assert answer.code in (1, 2)
    errors = [line for line in answer.err.splitlines() if line.startswith("featx: error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_embeddings_of_a_floor_that_can_not_be_reached_are_kept_in_the_cache(
    featx: Featx, tiny_run: Path, hospital: Path, tmp_path: Path
) -> None:
    kept, arguments = tmp_path / "kept", ("--run", tmp_path / "new", "--accuracy-floor")
    answer = featx("calibrate", tiny_run, hospital, *arguments, "1.0", "--cache", kept)
    assert answer.code == 1
    said = f"The embeddings are kept in {kept}: `featx calibrate` starts from that folder."
    assert answer.error.endswith(said)
    assert featx("calibrate", tiny_run, kept, *arguments, "0.5").code == 0
    answer = featx("calibrate", tiny_run, kept, "--run", tmp_path / "other", *arguments[2:], "1.0")
    assert "The embeddings" not in answer.error


def test_the_run_itself_is_not_written_to(featx: Featx, tiny_run: Path, hospital: Path) -> None:
    answer = featx("calibrate", tiny_run, hospital, "--run", tiny_run, "--force")
    assert answer.code == 2
    assert "is the run that is calibrated" in answer.err


def test_the_protocol_needs_a_seam(featx: Featx, tiny_run: Path) -> None:
    answer = featx("evaluate", tiny_run, "--protocol", "shift")
    assert answer.code == 2
    assert "Name another column with --seam" in answer.err


def test_the_protocol_along_a_column(featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    answer = featx("evaluate", tiny_run, "--protocol", "shift", "--seam", "split", "--json", file)
    if answer.code == 2:  # the drawn set's val has too few patients for a side
        assert "doesn't divide these images" in answer.err
        assert not file.exists()
        return
    assert answer.code == 0
    assert json.loads(file.read_text())["seams"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "drift"), "--protocol"),
        (("--seam", "hospital"), "--seam is for --protocol shift"),
        (("--protocol", "shift", "--by", "mode"), "--by has no use with --protocol shift"),
        (("--protocol", "shift", "--seam", "nothing"), "there is no column 'nothing'"),
    ],
)
def test_misuse_of_the_protocol(
    featx: Featx, tiny_run: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = featx("evaluate", tiny_run, *arguments)
    assert answer.code == 2
    assert message in answer.err
