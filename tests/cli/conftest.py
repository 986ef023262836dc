"""The command line in this process, and a run to try it on."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.demo._phantoms import write_phantoms
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity


class Answer(NamedTuple):
    """Answer of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line on standard error."""
        return self.err.splitlines()[-1] if self.err else ""


Featx = Callable[..., Answer]


@pytest.fixture
def featx(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Featx:
    """Run ``featx ARGUMENTS`` in this process, which saves importing TensorFlow again.

    No task takes so long that a line says how it goes on, however busy the machine is.
    """
    monkeypatch.setattr("featx_cli.console.time", SimpleNamespace(monotonic=lambda: 0.0))

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        try:
            code = _run([str(argument) for argument in arguments])
        finally:
            set_verbosity(Verbosity.NORMAL)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def shallow_run(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression on two blocks of VGG16. Its ONNX graph is made in a moment."""
    folder = tmp_path_factory.mktemp("shallow")
    backbone = load_backbone(
        "vgg16", weights="random", input_size=32, layer="block2_pool", precision="float32"
    )
    manifest, untouched = load_manifest(phantom_data), AugmentationSpec(copies=0)
    extract(manifest, folder / "cache", backbone, augmentation=untouched)
    cache = open_cache(folder / "cache")
    return fit(cache, HeadSpec.choose("logreg"), folder / "run", accuracy_floor=0.5).path


@pytest.fixture(scope="module")
def networks_are_built_once() -> Iterator[None]:
    """A network with random weights takes seconds to build. The tests need two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featx.runs._fitted.load_backbone", functools.lru_cache(load_backbone))
        yield


def other_name(name: str) -> str:
    """Call a drawn X-ray as one of another patient: drawn patients all begin with number 0."""
    return re.sub(r"^(IM-|person)", r"\g<1>9", name)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn X-rays of eight other patients, with names of their own, in class folders."""
    root = tmp_path_factory.mktemp("hospital")
    write_phantoms(root / "drawn", patients=8, size=64, seed=9)
    for path in sorted((root / "drawn").rglob("*.png")):
        target = root / "images" / path.parent.name / other_name(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root / "images"
