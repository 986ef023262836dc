"""The commands in a report make the run again: every setting that isn't the default is in them."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from featx.heads import HeadSpec
from featx.reports.commands import commands
from featx.runs import RunRecord, load_run
from featx_cli import app
from tests.featx.reports.conftest import Made


@pytest.fixture
def record(made: Made) -> RunRecord:
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
    text = commands(record, data="DATA", cache="CACHE", run="RUN")
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
    ("", {"copies": 1}, ["--use-copies"]),
    ("", {"tuning": {"trials": 3}, "promise": {"confidence": 0.9}}, ["--guarantee", "0.9"]),
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


def test_a_search_is_a_search(record: RunRecord) -> None:
    _, tune = lines(record.model_copy(update={"tuning": {"trials": 3}}))
    assert tune[1] == "tune"
    assert "--set" not in tune
