"""Seams: two sides of a data set that differ as hospitals might, and share no patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from featx.errors import InputError
from featx.evaluation._seams import find_seams


def kaggle() -> pd.DataFrame:
    rows = []
    for n in range(40):
        cause = "bacteria" if n % 2 else "virus"
        rows += [(f"train/PNEUMONIA/person{n}_{cause}_{n}{v}.jpeg", "PNEUMONIA") for v in (0, 1)]
        series = "NORMAL2-IM" if n % 4 else "IM"
        rows.append((f"train/NORMAL/{series}-{n:04}-0001.jpeg", "NORMAL"))
    table = pd.DataFrame(rows, columns=["path", "label"])
    return table.assign(group=table["path"].str.extract(r"/([^/]+?)[_-]\d+\.jpeg$")[0])


def hospitals() -> pd.DataFrame:
    number = np.arange(120)
    return pd.DataFrame(
        {
            "path": [f"{n}.png" for n in number],
            "label": np.where(number % 2, "SICK", "WELL"),
            "group": [f"p{n // 2}" for n in number],
            "hospital": np.array(["a", "b", "c"])[number // 2 % 3],
            "age": number // 2,
        }
    )


def test_the_names_of_the_kaggle_set_have_four() -> None:
    names = [seam.name for seam in find_seams(kaggle(), "PNEUMONIA")]
    assert names == [
        "cause: virus -> bacteria",
        "cause: bacteria -> virus",
        "series: NORMAL2-IM -> IM",
        "series: IM -> NORMAL2-IM",
    ]


def test_no_patient_is_on_both_sides_and_each_side_has_both_classes() -> None:
    table = kaggle()
    for seam in find_seams(table, "PNEUMONIA"):
        assert not (seam.train & seam.test).any()
        assert not set(table["group"][seam.train]) & set(table["group"][seam.test])
        for side in (seam.train, seam.test):
            assert set(table["label"][side]) == {"NORMAL", "PNEUMONIA"}


def test_the_class_without_the_column_is_dealt_to_both_sides_once() -> None:
    table = kaggle()
    forth, back = find_seams(table, "PNEUMONIA", ["cause"])
    normal = (table["label"] == "NORMAL").to_numpy()
    assert np.array_equal(forth.train & normal, back.test & normal)
    assert np.array_equal((forth.train | forth.test) & normal, normal)


def test_of_three_hospitals_each_is_left_out_once() -> None:
    table = hospitals()
    seams = find_seams(table, "SICK", ["hospital"])
    assert [s.name for s in seams] == [f"hospital: the others -> {h}" for h in "abc"]
    assert set(table["hospital"][seams[0].train]) == {"b", "c"}


def test_numbers_are_divided_at_their_median() -> None:
    table = hospitals()
    low, high = (seam for seam in find_seams(table, "SICK", ["age"]))
    assert low.name == "age: low -> high"
    assert table["age"][low.train].max() < table["age"][low.test].min()
    assert np.array_equal(low.train, high.test)


def test_an_unknown_column_is_told_of_with_one_that_looks_like_it() -> None:
    with pytest.raises(InputError, match=r"no column 'hospitl'.*Did you mean hospital"):
        find_seams(hospitals(), "SICK", ["hospitl"])


def test_images_without_a_seam_ask_for_a_column() -> None:
    with pytest.raises(InputError, match="Name a column of the manifest with `seam`"):
        find_seams(hospitals(), "SICK")


def test_a_column_that_leaves_too_few_patients_is_refused() -> None:
    table = hospitals().assign(device=lambda t: np.where(t.index < 6, "new", "old"))
    with pytest.raises(InputError, match="doesn't divide these images"):
        find_seams(table, "SICK", ["device"])
