"""Choice of the positive class: told by healthy people's names, else by the alphabet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.data import ReadingOptions, load_manifest, positive_is_known, positive_warning
from featx.data._manifest import order_classes
from featx.data._positive import is_healthy_name
from tests.featx.data.test_folders import draw

PAIRS = [
    # negative, positive
    ("normal", "abnormal"), ("no_finding", "PNEUMONIA"), ("No Finding", "Cardiomegaly"),
    ("healthy", "COVID"), ("negative", "Positive"), ("control", "case"), ("none", "any"),
    ("benign", "Malignant"), ("clear", "TB"), ("0", "-1"), ("0.0", "1.0"), ("False", "True"),
    ("no", "Yes"), ("non-covid", "covid"), ("NORMAL", "Bacterial pneumonia"),
    ("1_normal", "0_pneumonia"), ("Normal cases", "Disease cases"), ("tb negative", "tb"),
    ("normal", "not normal"), ("Normal", "GRAM negative"), ("NonCOVID", "COVID"),
    ("CT_NonCOVID", "CT_COVID"), ("nodisease", "disease"), ("nonodule", "nodule"),
    ("normal CXR", "TB CXR"), ("healthy_controls", "patients"),
    ("Negative for Pneumonia", "Typical Appearance"),
]  # fmt: skip


@pytest.mark.parametrize(("negative", "positive"), PAIRS)
def test_the_class_with_a_healthy_name_is_the_negative_one(negative: str, positive: str) -> None:
    for found in ((negative, positive), (positive, negative)):
        assert order_classes(found, ReadingOptions()) == (negative, positive)
    assert positive_is_known((negative, positive))
    assert positive_warning((negative, positive), chosen=False) == ""


@pytest.mark.parametrize("name", ["abnormal", "unhealthy", "not healthy", "nodule", "1", "noisy"])
def test_names_that_only_look_healthy(name: str) -> None:
    assert not is_healthy_name(name)


@pytest.mark.parametrize("found", [("bacteria", "virus"), ("healthy", "normal")])
def test_the_alphabet_decides_where_both_or_none_is_known_and_that_is_said(
    found: tuple[str, str],
) -> None:
    assert order_classes(found[::-1], ReadingOptions()) == found
    said = positive_warning(found, chosen=False)
    assert said.startswith("WARNING: the alphabet alone made")
    assert said.endswith(f"give `positive={found[0]!r}`.")
    assert positive_warning(found, chosen=True) == ""


def test_what_was_asked_for_wins_and_a_healthy_positive_class_is_warned_of() -> None:
    found = ("abnormal", "normal")
    for asked in (
        ReadingOptions(classes=["abnormal", "normal"]),
        ReadingOptions(positive="normal"),
        ReadingOptions(classes=["normal", "abnormal"], positive="normal"),
    ):
        assert order_classes(found, asked) == found
    assert "`positive='abnormal'`" in positive_warning(found)


def test_a_run_that_is_evaluated_keeps_its_own_order() -> None:
    asked = ReadingOptions(classes=["abnormal", "normal"], both_classes=False)
    assert order_classes(("normal",), asked) == ("abnormal", "normal")


def test_accents_may_be_characters_of_their_own() -> None:
    composed, apart = "Anomali\u00e9", "Anomalie\u0301"
    assert order_classes([apart, "Sain"], ReadingOptions(positive=composed)) == ("Sain", apart)


def test_folders_tables_and_arrays_alike(tmp_path: Path) -> None:
    for name in ("abnormal", "normal"):
        draw(tmp_path / "data" / name / f"{name}.png", len(name))
    assert load_manifest(tmp_path / "data").classes == ("normal", "abnormal")
    file = tmp_path / "data" / "m.csv"
    file.write_text("path,label\nabnormal/abnormal.png,1.0\nnormal/normal.png,0.0\n")
    assert load_manifest(file).classes == ("0.0", "1.0")
    file.write_text("path,label\nabnormal/abnormal.png,abnormal\nnormal/normal.png,normal\n")
    assert load_manifest(file).classes == ("normal", "abnormal")
    load_manifest(file).save(tmp_path / "data" / "m.parquet")
    assert load_manifest(tmp_path / "data" / "m.parquet").classes == ("normal", "abnormal")
    pixels = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8)
    for labels, classes in (([0, 1], ("0", "1")), ([0, -1], ("0", "-1"))):
        np.savez(tmp_path / "a.npz", train_images=pixels, train_labels=np.array(labels))
        assert load_manifest(tmp_path / "a.npz").classes == classes
