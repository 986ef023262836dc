"""``run.json``: what is read back, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from featx._run import load_run
from featx.runs import FittedRun
from featx.runs._record import RunRecord, versions
from featx.runs._record_parts import MetricsRecord
from featx.thresholds import Criterion
from tests.refusing import refused


@pytest.fixture
def run(fitted: FittedRun, tmp_path: Path) -> Path:
    """A run that may be damaged."""
    shutil.copytree(fitted.path, tmp_path / "run")
    return tmp_path / "run"


def refusal(run: Path) -> str:
    return refused(load_run, run)


def edit(run: Path, **changes: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    del record["checksum"]
    for name, value in changes.items():
        if value is ...:
            del record[name]
        else:
            record[name] = value
    (run / "run.json").write_text(json.dumps(record))


def test_what_was_written_is_read_back(fitted: FittedRun) -> None:
    run = load_run(fitted.path)
    assert run.record == fitted.record
    assert run.record.threshold == fitted.record.threshold


def test_its_parts_are_attributes_and_mappings_of_what_the_file_says(fitted: FittedRun) -> None:
    values = json.loads((fitted.path / "run.json").read_text())
    metrics = fitted.record.metrics
    assert metrics.out_of_fold.recall == metrics["out_of_fold"]["recall"]
    assert {**fitted.record.seconds} == values["seconds"]
    other = values["metrics"]["out_of_fold"] | {"mood": "good"}
    assert other["intervals"]["recall"] == dict(metrics.out_of_fold.intervals["recall"])
    del other["brier"]
    known = MetricsRecord.model_validate(other)
    assert (known.brier, "brier" in known, known["mood"]) == (None, False, "good")
    assert json.loads(known.model_dump_json()) == other


def test_a_record_is_frozen(fitted: FittedRun) -> None:
    with pytest.raises(ValueError, match="frozen"):
        fitted.record.threshold = 0.1  # type: ignore[misc]


def test_fields_that_a_later_version_adds_are_no_reason_to_refuse(run: Path) -> None:
    edit(run, mood="good")
    assert load_run(run).record.seed == 0


def test_a_folder_that_is_no_run_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path} is not a run (it has no run.json)")
    assert refusal(tmp_path / "gone").startswith(f"there is no run at {tmp_path / 'gone'}")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"PK\x03\x04"], ids=repr
)
def test_a_damaged_record_is_refused_by_name(run: Path, content: bytes) -> None:
    (run / "run.json").write_bytes(content)
    message = refusal(run)
    assert f"{run / 'run.json'} can't be used" in message
    assert "Fit the run again" in message


def test_a_truncated_record_is_refused(run: Path) -> None:
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text[: len(text) // 2])
    assert "can't be used" in refusal(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema_version", 4),
        ("threshold", ...),
        ("threshold", None),
        ("threshold", "high"),
        ("threshold", float("nan")),
        ("accuracy_floor", 1.5),
        ("criterion", {"recall_floor": 7}),
        ("criterion", "recall"),
        ("classes", ["NORMAL"]),
        ("head", {"name": "forest"}),
        ("head_file", "../elsewhere/head.skops"),
        ("head_file", "head.pkl"),
        ("extraction", {}),
    ],
)
def test_a_wrong_field_is_named(run: Path, name: str, value: Any) -> None:
    edit(run, **{name: value})
    assert f"can't be used: {name}" in refusal(run)


def test_the_criterion_of_an_earlier_run_is_its_accuracy_floor(run: Path) -> None:
    edit(run, criterion=..., accuracy_floor=0.0)
    assert load_run(run).record.criterion == Criterion(accuracy_floor=0.0)


def test_an_accuracy_floor_that_is_not_the_criterions_is_damage(run: Path) -> None:
    edit(run, accuracy_floor=0.01)
    assert "accuracy_floor isn't that of the criterion" in refusal(run)


def test_versions_name_python_and_the_packages_that_decide_results() -> None:
    found = versions()
    assert {"python", "featx", "tensorflow", "keras", "scikit-learn", "numpy"} <= set(found)
    assert all(version[0].isdigit() for version in found.values())


def test_a_package_that_is_not_installed_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.runs._record._PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


def test_the_schema_has_no_default_for_what_a_run_must_say() -> None:
    required = {name for name, field in RunRecord.model_fields.items() if field.is_required()}
    assert {"threshold", "fingerprint", "extraction", "metrics", "versions", "seed"} <= required


@pytest.mark.parametrize(("name", "value"), [("recall", None), ("confusion", {"tp": 1})])
def test_metrics_that_can_t_be_shown_are_refused(run: Path, name: str, value: Any) -> None:
    metrics = json.loads((run / "run.json").read_text())["metrics"]["out_of_fold"] | {name: value}
    edit(run, metrics={"out_of_fold": metrics})
    assert "can't be used: metrics.out_of_fold" in refusal(run)
