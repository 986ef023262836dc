"""``featx export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("tf2onnx")

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


def test_it_says_what_it_wrote_and_how_close_it_is(
    featx: Featx, shallow_run: Path, tmp_path: Path
) -> None:
    code, out, err = featx("export", shallow_run, "--onnx", tmp_path / "run.onnx")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(f"{tmp_path / 'run.onnx'}: ")
    assert "pixels (images, 32, 32, 3) -> score (images,), threshold 0." in first
    assert float(second.split(": ")[1]) <= 1e-3
    assert (tmp_path / "run.onnx").stat().st_size > 1e6  # weights of two blocks of VGG16


def test_a_missing_package_is_one_line(
    featx: Featx, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    answer = featx("export", tiny_run, "--onnx", tmp_path / "run.onnx")
    assert answer.code == 2
    assert answer.error == (
        "featx: error: a graph takes the package tf2onnx, which isn't installed. "
        "pip install 'featx[onnx]'"
    )
    assert not list(tmp_path.iterdir())


def test_it_asks_for_the_file(featx: Featx, tiny_run: Path) -> None:
    answer = featx("export", tiny_run)
    assert answer.code == 2
    assert "Missing option '--onnx'" in answer.error
