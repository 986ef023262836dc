"""A sandbox with everything that the documentation talks of, very small."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.demo._phantoms import write_phantoms
from featx.extraction import extract
from featx.reports import Written
from featx.scoring import find_images
from featx_cli.__main__ import _run
from tests.cli.conftest import featx
from tests.dicoms import dicom

__all__ = ["featx"]

SMALLER = {
    "extract": "--input-size 32 --precision float32 --batch-size 16",
    "fit": "--accuracy-floor 0.3",
    "tune": "--accuracy-floor 0.1 --trials 2 --jobs 1",
    "calibrate": "--accuracy-floor 0.1",
}
"""Options added to the commands of the documentation, so that they take a second and not an hour:
the last value of an option counts. Floors are low because a random network tells nobody apart."""
TINY_LAYER = "block2_pool"
"""The first layers of a network: an embedding is 8x8x128, which takes little of everything."""
TINY: dict[str, Any] = {
    "name": "vgg16",
    "weights": "random",
    "input_size": 32,
    "precision": "float32",
    "layer": TINY_LAYER,
}
STOCK = [
    f"featx fit embeddings --head {head} --run runs/{head} --accuracy-floor 0.95"
    for head in ("logreg", "svm", "keras")
]
"""Commands of the documentation that pages before them build on."""


class Sandbox:
    """A folder in which blocks are run one after another, as a reader would.

    Attributes
    ----------
    folder
        The working directory.
    done
        Blocks that were run already. Their results lie here, and they aren't run twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[str] = set()

    def arguments(self, words: list[str]) -> list[str]:
        """Return the command of a reader (without ``featx``) at the sandbox's size."""
        # All heads would take half a minute.
        words = ["logreg,lda" if word == "all" else word for word in words[1:]]
        added = SMALLER.get(words[0], "").split()
        if words[0] == "fit" and "keras" in words:
            added += ["--epochs", "1", "--set", "precision=float32"]
            added += [] if "--head-config" in words else ["--set", "architecture=gap"]
        if words[0] == "extract":
            added += [] if any(w.endswith(".keras") for w in words) else ["--weights", "random"]
            added += [] if "--backbone" in words else ["--backbone", "vgg16"]
            added += [] if "--copies" in words else ["--copies", "1"]
            if "embeddings" in words:  # that the other pages build on
                added += ["--layer", TINY_LAYER, "--pool-extra", "none"]
            elif not {"--layer", "my_model.keras"} & set(words):
                added += ["--layer", TINY_LAYER]
        return [*words, *added]

    def clear_the_way(self, words: list[str]) -> None:
        """Remove what an earlier page wrote where this command writes."""
        targets = {"--run", "--out", "--onnx", "--fix-splits", "--explain"}
        targets |= {"extract": {"--cache"}, "evaluate": {"--json", "--csv"}}.get(words[1], set())
        for option, value in itertools.pairwise(words):
            target = self.folder / value
            if option in targets:
                for path in (target, target.with_name(f"{target.name}.study")):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if option == "--out" and words[1] == "report":
                shutil.rmtree(target.with_name(f"{target.stem}_files"), ignore_errors=True)
                written = Written.beside(target)
                for path in (written.markdown, written.model_card):
                    path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def _stocked(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The sandbox when the first page is opened."""
    folder = tmp_path_factory.mktemp("reader")
    sandbox = Sandbox(folder)
    data = write_phantoms(folder / "chest_xray", patients=36, size=32)
    extract(load_manifest(data), folder / "embeddings", backbone=load_backbone(**TINY))
    others = write_phantoms(folder / "other_hospital", patients=12, size=32, seed=1)
    for image in sorted(others.rglob("*.png")):  # other people have other names
        image.rename(image.with_name(re.sub(r"^(IM-|person)", r"\g<1>9", image.name)))
    shutil.copytree(others / "train", folder / "our_hospital")
    shutil.copytree(others / "test", folder / "images_without_labels")
    images = list(find_images([others / "test"]))
    pixels = [np.asarray(Image.open(image).convert("L")) for image in images]
    (folder / "new_patients").mkdir()
    shutil.copy(images[0], folder / "new_patients" / "a.png")
    dicom(folder / "new_patients" / "b.dcm", pixels[-1])
    rows = ["path,label"]
    for number, image in enumerate(images):
        dicom(folder / f"hospital/{number}.dcm", pixels[number], PatientID=f"Q-{number}")
        rows.append(f"hospital/{number}.dcm,{image.parent.name}")
    (folder / "hospital.csv").write_text("\n".join(rows), encoding="utf-8")
    with contextlib.chdir(folder):
        for line in STOCK:
            assert _run(sandbox.arguments(line.split())) == 0
            sandbox.done.add(line)
    return sandbox


@pytest.fixture
def sandbox(_stocked: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The sandbox, as the current directory."""
    monkeypatch.chdir(_stocked.folder)
    monkeypatch.setenv("FEATX_SALT", "a reader's")
    before = dict(os.environ)
    with threadpool_limits(1):  # so many small matrices are quickest on one core
        yield _stocked
    os.environ.clear()
    os.environ.update(before)
