"""``featx doctor``: what it finds, and what it makes of what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from featx.backbones._precision import resolve_precision
from featx_cli.commands import doctor

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


def line(out: str, start: str) -> str:
    """The line of the table that starts so, its columns one space apart."""
    found = [" ".join(row.split()) for row in out.splitlines() if row.strip().startswith(start)]
    assert len(found) == 1, out
    return found[0]


def test_a_ready_machine_is_ok(featx: Featx) -> None:
    answer = featx("doctor")
    assert answer.code == 0
    assert line(answer.out, "Python") == f"Python {platform.python_version()} ok"
    version = importlib.metadata.version("tensorflow")
    assert line(answer.out, "tensorflow") == f"tensorflow {version} ok"
    assert resolve_precision("auto")[0] in line(answer.out, "forward pass")
    assert "GiB" in line(answer.out, "memory")
    assert "GiB" in line(answer.out, "disk free here")
    assert line(answer.out, "temporary folder").endswith("ok")
    assert "missing" not in answer.out


def test_a_pipe_gets_whole_paths(
    featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert line(featx("doctor").out, "temporary folder") == f"temporary folder {folder} ok"


def test_weights_are_said_to_be_here_or_not_yet(
    featx: Featx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "vgg16_notop.weights.h5").touch()
    answer = featx("doctor")
    assert line(answer.out, "vgg16 ImageNet weights").endswith("on this machine ok")
    assert "not here yet" in line(answer.out, "vgg19 ImageNet weights")
    assert answer.code == 0


def test_a_missing_package_fails(featx: Featx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("tensorflow", "no-such-package-of-featx"))
    answer = featx("doctor")
    assert answer.code == 1
    assert line(answer.out, "no-such-package").endswith("not installed missing")


def test_onnxruntime_may_be_missing(featx: Featx, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    answer = featx("doctor")
    assert answer.code == 0
    assert "not installed for ONNX networks: featx[onnx]" in line(answer.out, "onnxruntime")


def test_a_tensorflow_that_cannot_be_imported_fails(
    featx: Featx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ImportError("libcudart.so.12")

    monkeypatch.setattr(doctor, "import_quietly", broken)
    answer = featx("doctor")
    assert answer.code == 1
    assert line(answer.out, "forward pass").endswith("TensorFlow can't be imported missing")


def test_an_unwritable_temporary_folder_fails(
    featx: Featx, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", broken)
    answer = featx("doctor")
    assert answer.code == 1
    assert line(answer.out, "temporary folder").endswith("can't be written missing")
