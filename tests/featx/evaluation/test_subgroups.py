"""Metrics by subgroup: who is in which, in which order, and what is said of small ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import evaluate_scores
from featx.evaluation._subgroups import Subgroups, evaluate_subgroups, subgroup_columns

CLASSES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def table() -> pd.DataFrame:
    """200 images, each of its own patient, a third of them healthy. Viral ones look less sick."""
    random = np.random.default_rng(0)
    cause = np.array(["", "bacteria", "virus"], object)[np.arange(210) % 3]
    cause[1:160:3] = "bacteria"
    virus = cause == "virus"
    sick = cause != ""
    score = np.clip(0.3 + 0.4 * sick - 0.25 * virus + random.normal(0, 0.15, 210), 0, 1)
    return pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(210)],
            "label": np.where(sick, "PNEUMONIA", "NORMAL"),
            "group": [f"p{n}" for n in range(210)],
            "score": score,
            "cause": cause,
            "mode": np.where(np.arange(210) < 12, "RGB", "L"),
            "width": random.integers(200, 2500, 210),
            "height": random.integers(200, 2500, 210),
            "age": [str(n % 90) for n in range(210)],
            "ward": ["A"] * 203 + [""] * 7,
        }
    )


def divided(table: pd.DataFrame, column: str) -> Subgroups:
    return evaluate_subgroups(Scores.from_table(table, CLASSES), 0.5, table, column)


def names(found: Subgroups) -> list[str]:
    return [part.name for part in found.parts]


def test_each_cause_is_told_from_all_of_the_healthy(table: pd.DataFrame) -> None:
    found = divided(table, "cause")
    assert found.shared == "NORMAL"
    assert set(names(found)) == {"bacteria", "virus"}
    for part in found.parts:
        chosen = table[table["cause"].isin([part.name, ""])]
        expected = evaluate_scores(Scores.from_table(chosen, CLASSES), 0.5)
        assert part.metrics == expected
        assert part.negatives == (table["cause"] == "").sum()
        assert part.positives == (table["cause"] == part.name).sum()
    recall = {part.name: part.metrics.recall for part in found.parts}
    assert recall["virus"] < recall["bacteria"]


def test_smallest_first_and_small_ones_are_named(table: pd.DataFrame) -> None:
    found = divided(table, "mode")
    assert names(found) == ["RGB", "L"]
    assert found.shared == ""
    assert found.parts[0].note == "too few patients: 8 with PNEUMONIA, 4 with NORMAL"
    assert found.parts[1].note == ""
    assert sum(part.metrics.images for part in found.parts) == len(table)


def test_a_part_of_one_class_is_measured_as_far_as_it_goes(table: pd.DataFrame) -> None:
    odd = table.assign(room=np.where(table["cause"] == "virus", "x-ray 2", "x-ray 1"))
    part = divided(odd, "room").parts[0]
    assert part.name == "x-ray 2"
    assert part.note == "no NORMAL"
    assert 0 < part.metrics.recall < 1
    assert math.isnan(part.metrics.roc_auc)
    json.dumps(part.as_dict(), allow_nan=False)


def test_size_bands_go_by_the_shorter_side(table: pd.DataFrame) -> None:
    found = divided(table, "size")
    side = table[["width", "height"]].min(axis=1)
    counts = {part.name: part.metrics.images for part in found.parts}
    assert counts["below 256 px"] == (side < 256).sum()
    assert counts["512–1023 px"] == ((side >= 512) & (side < 1024)).sum()
    assert counts["2048 px and up"] == (side >= 2048).sum()
    assert sum(counts.values()) == len(table)


def test_many_numbers_are_divided_at_their_quartiles(table: pd.DataFrame) -> None:
    found = divided(table, "age")
    assert len(found.parts) == 4
    assert {"0 to 17"} < set(names(found))
    assert min(part.metrics.images for part in found.parts) > 40
    few = table.assign(age=[str(n % 8) for n in range(len(table))])
    assert set(names(divided(few, "age"))) == set("01234567")


def test_images_without_a_value_are_a_part_where_both_classes_have_some(
    table: pd.DataFrame,
) -> None:
    found = divided(table, "ward")
    assert names(found) == ["(empty)", "A"]
    assert found.parts[0].metrics.images == 7


def test_columns_that_can_be_asked_for(table: pd.DataFrame) -> None:
    assert subgroup_columns(table) == ["cause", "mode", "width", "height", "age", "ward", "size"]
    assert "size" not in subgroup_columns(table.drop(columns="width"))
    with pytest.raises(InputError, match="there is no column 'caus'") as error:
        divided(table, "caus")
    assert "Did you mean cause?" in str(error.value)
    with pytest.raises(InputError, match="no column 'group'"):
        divided(table, "group")


def test_too_many_values_and_none(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="has 210 values"):
        divided(table.assign(study=table["group"]), "study")
    with pytest.raises(InputError, match="no image has a value"):
        divided(table.assign(ward=""), "ward")
