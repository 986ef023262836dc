"""Predicting many files takes no more memory than predicting few."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache
from tests.processes import Server

PROGRAM = """
import sys
from pathlib import Path
from featx_cli.__main__ import _run
code = _run(sys.argv[1:])
(peak,) = (l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
print("PEAK", code, peak.split()[1], file=sys.stderr)
"""


@pytest.fixture
def run(phantom_data: Path, tmp_path: Path) -> Path:
    """A run on a network of two layers, which takes a millisecond an image."""
    import keras

    keras.utils.set_random_seed(0)
    network = [
        keras.Input((64, 64, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 9, strides=8, activation="relu"),
    ]
    keras.Sequential(network).save(tmp_path / "tiny.keras")
    backbone = load_backbone(str(tmp_path / "tiny.keras"))
    untouched = AugmentationSpec(copies=0)
    extract(load_manifest(phantom_data), tmp_path / "cache", backbone, augmentation=untouched)
    cache = open_cache(tmp_path / "cache")
    return fit(cache, HeadSpec(name="logreg"), tmp_path / "run", accuracy_floor=0.5).path


def peak_of(commands: Server, *arguments: str | Path) -> float:
    """Run featx in a process of its own. Return the most memory that it had, in MB."""
    done = commands.start(*arguments, program=PROGRAM)
    assert done.wait() == 0, done.err
    _, code, kilobytes = done.err.splitlines()[-1].split()
    assert code == "0", done.err
    return int(kilobytes) / 1024


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_ten_times_the_files_take_the_same_memory(
    commands: Server, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3000):
        Image.new("RGB", (64, 64), (number % 256, 0, 0)).save(folder / f"{number:04}.png")
    out = tmp_path / "verdicts.json"
    few = sorted(folder.iterdir())[:300]
    words = ("-q", "predict", run, "--format", "json", "--out", out)
    small = peak_of(commands, *words, *few)
    large = peak_of(commands, *words, folder, "--force")
    assert out.read_text().count('"path"') == 3000
    # The pixels of the others alone would take 130 MB; two runs of one job may differ by 10.
    assert large - small < 30
