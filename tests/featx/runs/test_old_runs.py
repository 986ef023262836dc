"""Runs written before are read as long as their schema is known, and score as they did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featx._run import load_run
from featx.runs import RunRecord
from featx.runs._own_files import STUDY, foreign_in

FIXTURES = Path(__file__).parent / "fixtures"
SCORES = json.loads((FIXTURES / "scores.json").read_text())


@pytest.mark.parametrize("name", SCORES)
def test_a_run_of_a_known_schema_scores_as_it_did(name: str) -> None:
    run = load_run(FIXTURES / name)
    X = np.random.default_rng(7).normal(size=(6, 2, 2, 8)).astype(np.float16)
    assert run.score(X) == pytest.approx(SCORES[name], abs=1e-6)
    assert np.ptp(run.score(X)) > 1e-3


def test_the_fixtures_are_of_every_schema_there_has_been() -> None:
    schemas = {
        json.loads((FIXTURES / name / "run.json").read_text())["schema_version"] for name in SCORES
    }
    assert schemas == {1, 2, 3}


def test_the_settings_of_a_keras_run_of_schema_1_find_their_place() -> None:
    content = json.loads((FIXTURES / "run-schema-1" / "run.json").read_text())
    content["head"] = {"name": "keras", "seed": 3, "epochs": 5, "precision": "bfloat16"}
    keras = RunRecord.model_validate(content).head.keras
    assert keras is not None
    assert (keras.epochs, keras.precision, keras.architecture) == (5, "bfloat16", "study")


def test_what_a_run_of_schema_3_says_is_read() -> None:
    record = load_run(FIXTURES / "run-schema-3-calibrated").record
    assert record.tuning is not None
    assert record.tuning.heads == ("lda",)
    assert record.promise is not None
    assert record.promise.confidence == 0.5
    assert record.calibrated is not None
    assert record.calibrated.images == 80
    assert record.recalibration is not None
    assert record.recalibration.method == "sigmoid"


def test_a_promise_whose_recall_is_undefined_is_read() -> None:
    content = json.loads((FIXTURES / "run-schema-3-calibrated" / "run.json").read_text())
    content["promise"]["recall"] = None  # no sick patient was among those set aside
    record = RunRecord.model_validate_json(json.dumps(content))
    assert record.promise is not None
    assert record.promise.recall is None


def test_what_a_search_of_an_earlier_version_left_is_featx_s_own(tmp_path: Path) -> None:
    for name in (
        ".tune.lock",
        "study.journal",
        "scores/.gitignore",
        "scores/joblib/featx/tuning/scorer/_compute/func_code.py",
        "trials/.trial-0.lock",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert foreign_in(tmp_path, STUDY) is None
