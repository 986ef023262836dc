"""`featx distill` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Featx
from tests.featx.distilling.test_distill import make_student, names_in

TINY = ("--weights", "random", "--input-size", "32", "--precision", "float32")
QUICK = ("--runtime", "tensorflow", "--copies", "1", "--epochs", "1", "--batch-size", "4")


@pytest.fixture
def words(phantom_data: Path, tmp_path: Path) -> list[str | Path]:
    """Words of a distillation that takes a moment."""
    student = make_student(tmp_path / "student.keras")
    return ["distill", phantom_data, "--student", student, *TINY, *QUICK]


def test_prints_how_well_the_student_agrees(
    featx: Featx, words: list[str | Path], tmp_path: Path
) -> None:
    out = tmp_path / "out" / "mini.keras"
    answer = featx(*words, "--out", out, "--noise-share", "0.9")
    assert answer.code == 0, answer.err
    assert "Correlation of all values" in answer.out
    assert "copies" in answer.out
    facts = json.loads((tmp_path / "out" / "mini.json").read_text())
    assert f"Made from {facts['images']} images, {facts['rows']} rows with copies" in answer.out
    assert facts["teacher"]["augmentation"]["noise_share"] == 0.9
    assert "Epoch 1 of 1: loss" in answer.err
    assert facts["held_out"]["copies"]["explained"] < 0
    assert "The network isn't ready for use: take more images or --epochs." in answer.err
    assert "Next: featx extract" not in answer.out
    assert names_in(out.parent) == {"mini.keras", "mini.json", "mini-embeddings"}

    again = featx(*words, "--out", out)
    assert again.code == 2
    assert again.err.splitlines()[-1] == (
        f"featx: error: {out} exists already. Give another --out, or --force to replace it."
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--out", "mini.h5"], "mini.h5 is neither a .keras nor a .weights.h5 file"),
        (["--out", "m.keras", "--student", "no.keras"], "there is no student no.keras. Give --stu"),
        (["--out", "m.keras", "--epochs", "0"], "--epochs can't be 0"),
        (["--out", "m.keras", "--layer", "block5_conv9"], "has no layer 'block5_conv9'"),
        (["--out", "m.keras", "--layer", "block4_pool"], "is unfit: of 32x32 pixels it makes 1x1"),
        (["--out", "m.keras", "--augment", "shift", "--noise-share", "7"], "noise_share"),
    ],
)
def test_wrong_input_is_one_line(
    featx: Featx,
    words: list[str | Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = featx(*words, *more)
    assert answer.code == 2, answer.err
    last = answer.err.splitlines()[-1]
    assert said.replace("noise_share", "--noise-share") in last
    assert "unexpected" not in last
    assert names_in(tmp_path) == {"student.keras"}
