"""The commands in a report make the run again: every setting that isn't the default is in them."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from featx._run import load_run
from featx.backbones import StandardizationSpec
from featx.heads import HeadSpec
from featx.reports._commands import CommandPaths, rebuild_commands
from featx.runs import RunRecord
from featx.thresholds import Criterion
from featx_cli import app
from tests.featx.reports.conftest import CALIBRATED, PROMISE, Sample


@pytest.fixture
def record(made: Sample) -> RunRecord:
    return load_run(made.run).record


def changed(record: RunRecord, place: str, **values: Any) -> RunRecord:
    """Change values of a part of a record, such as ``extraction.backbone``."""
    parts = place.split(".") if place else []
    specs: list[Any] = [record]
    for part in parts:
        specs.append(getattr(specs[-1], part))
    new = specs.pop().model_copy(update=values)
    for part in reversed(parts):
        new = specs.pop().model_copy(update={part: new})
    assert isinstance(new, RunRecord)
    return new


def lines(record: RunRecord) -> list[list[str]]:
    """Return both commands as words, which the command line has to understand."""
    text = rebuild_commands(record, CommandPaths())
    found = [shlex.split(line) for line in text.splitlines()]
    below: Any = app.make_command()
    for words in found:
        below.commands[words[1]].make_context(words[1], words[2:], resilient_parsing=True)
    return found


CHANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("extraction.backbone", {"input_size": 224}, ["--input-size", "224"]),
    ("extraction.backbone", {"weights": "random"}, ["--weights", "random"]),
    ("extraction.backbone", {"preprocess": "rescale"}, ["--preprocess", "rescale"]),
    ("extraction.decoding", {"contrast": "clahe"}, ["--contrast", "clahe"]),
    ("extraction.decoding", {"jpeg_reduction": 0}, ["--jpeg-reduction", "0"]),
    ("extraction", {"storage_dtype": "float32"}, ["--storage-dtype", "float32"]),
    ("extraction.augmentation", {"copies": 3}, ["--copies", "3"]),
    ("extraction.augmentation", {"copies": 1, "rotation": 7.0}, ["--rotation", "7.0"]),
    ("extraction.augmentation", {"copies": 1, "brightness": (0.9, 2.0)}, ["--brightness", "0.9,2"]),
    ("extraction.augmentation", {"copies": 1, "horizontal_flip": False}, ["--no-horizontal-flip"]),
    ("extraction.augmentation", {"copies": 1, "vertical_flip": True}, ["--vertical-flip"]),
    ("extraction.augmentation", {"seed": 5}, ["--seed", "5"]),
    ("", {"tta": 2}, ["--copies-of", "all"]),
    ("", {"tta": 2}, ["--tta"]),
    ("", {"seed": 4}, ["--seed", "4"]),
    ("", {"folds": 3}, ["--folds", "3"]),
    ("", {"copies": 0}, ["--no-use-copies"]),
    ("", {"choose_on": "copies"}, ["--choose-on", "copies"]),
    ("extraction.augmentation", {"copies": 1, "gamma": 0.2}, ["--gamma", "0.2"]),
    ("extraction.augmentation", {"copies": 1, "blur": (1.0, 2.0)}, ["--blur", "1,2"]),
    ("extraction.backbone", {"layer": "block4_pool"}, ["--layer", "block4_pool"]),
    ("extraction.backbone", {"architecture_sha256": "00"}, ["--backbone", "FILE"]),
    (
        "extraction.backbone",
        {"standardization": StandardizationSpec(samplewise_std=True)},
        ["--samplewise-std"],
    ),
    ("head", {"calibration": "sigmoid"}, ["--calibration", "sigmoid"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "values", "words"), CHANGES, ids=lambda value: str(value)[:40])
def test_a_setting_is_said(
    record: RunRecord, place: str, values: dict[str, Any], words: list[str]
) -> None:
    def said(record: RunRecord) -> str:
        return " ".join(word for line in lines(record) for word in (*line, "|"))

    text = f" {' '.join(words)} "
    assert text in said(changed(record, place, **values))
    assert text not in said(record) or place == "extraction.backbone"


def test_settings_of_a_head_are_said_and_defaults_are_not(record: RunRecord) -> None:
    keras = HeadSpec.choose("keras", settings={"dense_units": (8, 4), "learning_rate": 0.5})
    _, fit = lines(record.model_copy(update={"head": keras}))
    told = {fit[n + 1] for n, word in enumerate(fit) if word == "--set"}
    assert told >= {"dense_units=8,4", "learning_rate=0.5"}
    assert not any(setting.startswith("epochs=") for setting in told)
    own = HeadSpec.choose("keras", settings={"layers": [{"class_name": "Flatten", "config": {}}]})
    _, fit = lines(record.model_copy(update={"head": own}))
    assert fit[fit.index("--head-config") + 1] == "LAYERS.yaml"


FOUND: dict[str, Any] = {
    "study": "search", "winner": 3, "threshold": 0.5, "recall": 0.9, "accuracy": 0.9,
    "optimism": {"recall": 0.0, "accuracy": 0.0},
}  # fmt: skip
TUNING: dict[str, Any] = FOUND | {
    "heads": ["logreg", "svm"],
    "sampler": "gp",
    "pruner": "none",
    "trials": {"complete": 30, "pruned": 5, "fail": 1, "infeasible": 3},
    "search": {
        "fixed": {"logreg": ["C"]},
        "objective": "pareto",
        "threshold_only": False,
        "use_copies": False,
        "guarantee": 0.9,
        "recall_floor": 0.8,
    },
}


@pytest.mark.parametrize(
    ("criterion", "told"),
    [
        (Criterion(recall_floor=0.97), "--recall-floor 0.97"),
        (
            Criterion(accuracy_floor=0.9, cost=(12345678, 1.5)),
            "--accuracy-floor 0.9 --cost 12345678:1.5",
        ),
        (Criterion(specificity_floor=0.8, youden=True), "--specificity-floor 0.8 --youden"),
    ],
    ids=str,
)
def test_the_criterion_is_told_as_it_was_given(
    record: RunRecord, criterion: Criterion, told: str
) -> None:
    floor = criterion.accuracy_floor or 0.0
    changed = {"criterion": criterion, "accuracy_floor": floor}
    _, fit = lines(record.model_copy(update=changed))
    assert f" --run RUN {told} --use-copies" in " ".join(fit)


def test_a_search_is_told_with_its_heads_trials_and_what_was_fixed(record: RunRecord) -> None:
    head = HeadSpec.choose("logreg", settings={"C": 0.5, "representation": "max"})
    _, tune = lines(record.model_copy(update={"tuning": TUNING, "head": head}))
    said = " ".join(tune)
    assert tune[:3] == ["featx", "tune", "CACHE"]
    for words in (
        "--head logreg,svm", "--trials 35", "--sampler gp", "--pruner none", "--objective pareto",
        "--no-use-copies", "--guarantee 0.9", "--recall-floor 0.8", "--set C=0.5",
    ):  # fmt: skip
        assert f" {words}" in said
    assert "representation" not in said
    _, tune = lines(record.model_copy(update={"tuning": FOUND}))  # of an earlier version
    assert tune[:5] == ["featx", "tune", "CACHE", "--head", "logreg"]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("labelled images", []),
        ("labelled images, with a promise", ["--guarantee", "0.9"]),
        ("unlabelled images: label shift", ["--unlabelled"]),
    ],
)
def test_a_calibrated_run_is_made_of_the_one_before(
    record: RunRecord, method: str, words: list[str]
) -> None:
    made = {"calibrated": CALIBRATED | {"method": method}}
    if "--guarantee" in words:
        made["promise"] = PROMISE
    _, fit, calibrate = lines(record.model_copy(update=made))
    assert fit[:3] == ["featx", "fit", "CACHE"]
    assert "--guarantee" not in fit
    assert calibrate == [
        "featx", "calibrate", "RUN", "IMAGES", "--run", "RUN", "--accuracy-floor", "0.6", *words,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "told"),
    [("imagenet", []), ("random", []), ("/x/vgg16.h5", ["--weights", "FILE"])],
)
def test_a_weights_file_is_said(record: RunRecord, place: str, told: list[str]) -> None:
    extract, _ = lines(record.model_copy(update={"weights": place}))
    given = [extract[n : n + 2] for n, word in enumerate(extract) if word == "--weights"]
    assert given == ([told] if told else [])


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("NORMAL", "PNEUMONIA"), False),
        (("normal", "abnormal"), False),
        (("abnormal", "normal"), True),
        (("b", "a"), True),
    ],
    ids=str,
)
def test_the_positive_class_is_said_where_it_is_not_the_usual_one(
    record: RunRecord, classes: tuple[str, str], told: bool
) -> None:
    extract, _ = lines(record.model_copy(update={"classes": classes}))
    assert ("--positive" in extract) is told
    assert not told or extract[extract.index("--positive") + 1] == classes[1]
