"""The manifest's counts and the order of classes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from featx.data import Manifest, ReadingOptions
from featx.data._manifest import order_classes
from featx.errors import InputError


def test_counts_have_a_column_for_a_class_without_images() -> None:
    table = pd.DataFrame(
        {"path": ["a"], "sha256": ["0"], "label": ["A"], "split": ["train"], "group": ["a"]}
    )
    manifest = Manifest(Path(), table, ("A", "B"))
    assert manifest.counts().to_dict() == {"A": {"train": 1}, "B": {"train": 0}}
    assert len(manifest) == 1


@pytest.mark.parametrize(
    ("classes", "positive", "expected"),
    [
        (None, None, ("A", "B")),
        (None, "A", ("B", "A")),
        (None, "B", ("A", "B")),
        (["B", "A"], None, ("B", "A")),
        (["B", "A"], "B", ("A", "B")),
    ],
)
def test_the_positive_class_is_the_last(
    classes: list[str] | None, positive: str | None, expected: tuple[str, str]
) -> None:
    asked = ReadingOptions(classes=classes, positive=positive)
    assert order_classes(["B", "A"], asked) == expected


def test_no_two_classes_is_an_error_that_counts_them() -> None:
    with pytest.raises(InputError, match="there is 1: A"):
        order_classes(["A"], ReadingOptions())
    with pytest.raises(InputError, match="there are 3: A, B, C"):
        order_classes(["A", "B", "C"], ReadingOptions())
