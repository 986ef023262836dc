"""How often `featx predict` names what was done to an X-ray, and marks one without need.

Images are those of the run's first fold, one of a patient and as many of each class. The run's
training images are here those of the other folds. Each image is predicted as it is, inverted,
turned, and disturbed by the preset ``shift`` (one copy), which may not be called inverted or
turned. Pictures of something else may be in a folder of their own. Usage::

    python benchmarks/frontal.py RUN --data FOLDER --images 120 --others PICTURES
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import featx
from featx._run import Run
from featx.backbones import Backbone
from featx.evaluation import Reference
from featx.images import decode, make_copy, preset_augmentation
from featx.scoring._view import VIEWS, changed

FOLD = 0
SHIFT = preset_augmentation("shift", copies=1)


def held_out(run: Run, images: int) -> list[str]:
    """Return paths of images of the first fold, and take that fold from the training images."""
    reference = run.reference
    fold = reference.table["fold"].to_numpy()
    rest = reference.table[fold != FOLD].reset_index(drop=True)
    run.__dict__["reference"] = Reference(reference.vectors[fold != FOLD], rest)
    own = reference.table[fold == FOLD].drop_duplicates("group")
    chosen = own.groupby("label").sample(images // 2, random_state=0)
    return [str(path) for path in chosen["path"]]


def versions(pixels: NDArray[np.float32], sha256: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield an image as it is, disturbed, inverted and turned, with the view of each."""
    for change, view in enumerate(VIEWS):
        # A turn is undone by the other three, and an inversion by itself.
        inverted, turns = divmod(change, 4)
        yield view or "untouched", changed(pixels, 4 * inverted + (-turns) % 4)
    yield "disturbed", make_copy(pixels, SHIFT, sha256, 1)


def main() -> None:
    """Write changed images, predict them, and print what they were called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--others", type=Path)
    parser.add_argument("--weights")
    given = parser.parse_args()
    run = featx.load_run(given.run)
    backbone = run.backbone(given.weights)
    paths = held_out(run, given.images)
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            file = given.data / path
            size, spec = backbone.spec.input_size, run.extraction.decoding
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            for view, pixels in versions(decode(file, size, spec=spec), sha256):
                target = Path(folder) / view / f"{number}.png"
                target.parent.mkdir(exist_ok=True)
                grey = pixels.mean(axis=-1).round().clip(0, 255).astype(np.uint8)
                Image.fromarray(grey).save(target)
        print("| what was done | images | what they are called |\n|---|---|---|")
        for each in sorted(Path(folder).iterdir()):
            row(run, backbone, each.name, each)
    if given.others is not None:
        row(run, backbone, "something else", given.others)


def row(run: Run, backbone: Backbone, name: str, folder: Path) -> None:
    """Print what the images of a folder are called."""
    found = run.predict(folder, backbone=backbone, progress=False)
    called = Counter(p.view or "not marked" for p in found if p.score is not None)
    words = ", ".join(f"{view} {count}" for view, count in called.most_common())
    print(f"| {name} | {called.total()} | {words} |", flush=True)


if __name__ == "__main__":
    main()
