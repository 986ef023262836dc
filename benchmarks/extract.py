"""How near `featx extract` comes to the hardware, and how far it is ahead of the usual script.

Everything is measured side by side, in turns, on the same images, by processes of their own: the
bare forward pass of the runtime, that of TensorFlow in float32, the extract command (small images,
four copies of each, full-size originals), and the script that people write instead:
`keras.utils.image_dataset_from_directory`, `model.predict` and `np.save`. Loading libraries and
networks is left out of all of them. Usage::

    python benchmarks/extract.py DATA [--originals FOLDER] [--rounds 3] [--runtime ncnn]

DATA is ROOT/{train,val}/CLASS/image; FOLDER is CLASS/image with images of full size.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

BATCH = 8
MEMORY = (500, 2000)
PLAIN = {"runtime": "tensorflow", "precision": "float32"}
NETWORK = ("--backbone", "vgg19", "--weights", "random", "--batch-size", str(BATCH))
BARE = """
import time, numpy as np
from featx.backbones import load_backbone
backbone = load_backbone("vgg19", weights="random", **{options})
images = np.random.default_rng(0).uniform(0, 255, ({batch}, 300, 300, 1)).astype(np.float32)
for _ in range(3):
    backbone.embed(images)
started = time.perf_counter()
for _ in range({passes}):
    backbone.embed(images)
print("images/s", {batch} * {passes} / (time.perf_counter() - started))
"""
SCRIPT = """
import time, keras, numpy as np
model = keras.applications.VGG19(include_top=False, weights=None, input_shape=(300, 300, 3))
model.predict(np.zeros(({batch}, 300, 300, 3), np.float32), verbose=0)
started = time.perf_counter()
data = keras.utils.image_dataset_from_directory(
    {folder!r}, image_size=(300, 300), batch_size={batch}, shuffle=False, verbose=False)
data = data.map(lambda x, y: (keras.applications.vgg19.preprocess_input(x), y))
embeddings = model.predict(data, verbose=0)
np.save({target!r}, embeddings)
print("images/s", len(embeddings) / (time.perf_counter() - started))
"""


def main() -> None:
    """Print the speeds of every round, then the ratios and their bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--originals", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--runtime", choices=("auto", "tensorflow", "ncnn"), default="auto")
    parser.add_argument("--no-memory", action="store_true", help="Leave out peak memory.")
    arguments = parser.parse_args()
    images = arguments.images
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = {
            "extract": (_subset(arguments.data, work / "small", images), "0"),
            "extract, 4 copies": (_subset(arguments.data, work / "copied", images // 5), "4"),
        }
        if arguments.originals:
            originals = _subset(arguments.originals, work / "originals", images)
            sources["extract, originals"] = (originals, "0")
        scripted = _subset(arguments.data, work / "scripted", images * 2 // 5)
        chosen = {"runtime": arguments.runtime}
        rounds = []
        for _ in range(arguments.rounds):
            bare = {"bare pass": chosen, "bare TensorFlow float32 pass": PLAIN}
            speeds = {name: _bare(options, images) for name, options in bare.items()}
            network = (*NETWORK, "--runtime", arguments.runtime)
            for name, (data, copies) in sources.items():
                speeds[name] = _extract(data, work / "cache", "--copies", copies, *network)[0]
            script = SCRIPT.format(
                batch=BATCH, folder=str(scripted / "train"), target=str(work / "embeddings.npy")
            )
            speeds["predict + np.save"] = _speed(script)
            rounds.append(speeds)
            print(", ".join(f"{name}: {speed:.2f}" for name, speed in speeds.items()), flush=True)
        _print_ratios(rounds)
        if not arguments.no_memory:
            _print_memory(arguments.data, work, arguments.runtime)


def _print_ratios(rounds: list[dict[str, float]]) -> None:
    bars = {
        ("extract", "bare pass"): 0.92,
        ("extract, 4 copies", "bare pass"): 0.92,
        ("extract, originals", "bare pass"): 0.85,
        ("extract", "bare TensorFlow float32 pass"): 2.2,
        ("extract", "predict + np.save"): 2.5,
    }
    print("\n| images/s of | median | to | median | ratio (median of rounds) | bar |")
    print("|---|---|---|---|---|---|")
    for (one, other), bar in bars.items():
        if one in rounds[0]:
            middle = [median(speeds[name] for speeds in rounds) for name in (one, other)]
            ratio = median(speeds[one] / speeds[other] for speeds in rounds)
            print(f"| {one} | {middle[0]:.2f} | {other} | {middle[1]:.2f} | {ratio:.3f} | {bar} |")


def _print_memory(data: Path, work: Path, runtime: str) -> None:
    """Peak memory with embeddings of the usual size from a network that is quicker."""
    network = ("--backbone", "vgg16", "--weights", "random", "--layer", "block1_pool")
    options = (
        *network,
        "--runtime",
        runtime,
        "--input-size",
        "72",
        "--copies",
        "0",
        "--batch-size",
        str(BATCH),
    )
    print("\n| images | peak RSS, MB |\n|---|---|")
    peaks = []
    for images in MEMORY:
        subset = _subset(data, work / f"memory-{images}", images)
        peaks.append(_extract(subset, work / "cache", *options)[1])
        print(f"| {images} | {peaks[-1]:.0f} |", flush=True)
    print(f"\nratio {peaks[1] / peaks[0]:.3f} (bar: at most 1.10)")


def _subset(data: Path, target: Path, images: int) -> Path:
    """Link the first images of each class, both classes alike while they last."""
    classes: dict[str, list[Path]] = {}
    for path in sorted(data.rglob("*.jp*g")):
        classes.setdefault(path.parent.name, []).append(path)
    pairs = [path for paths in zip(*classes.values(), strict=False) for path in paths]
    rest = [path for paths in classes.values() for path in paths[len(pairs) // len(classes) :]]
    for path in (pairs + rest)[:images]:
        folder = target / "train" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path.resolve())
    return target


def _bare(options: dict[str, str], images: int) -> float:
    return _speed(BARE.format(batch=BATCH, passes=images // BATCH, options=options))


def _speed(program: str) -> float:
    return _run([sys.executable, "-c", program])[0]


def _extract(data: Path, cache: Path, *options: str) -> tuple[float, float]:
    """Run the command. Return its images/s and its peak memory in MB."""
    command = [sys.executable, "-m", "featx", "--quiet", "extract", str(data)]
    result = _run([*command, "--cache", str(cache), *options])
    shutil.rmtree(cache)
    return result


def _run(command: list[str]) -> tuple[float, float]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    found = re.search(r"images/s\W+([\d.]+)", text)
    if status or found is None:
        assert process.stderr is not None
        sys.exit(process.stderr.read())
    return float(found.group(1)), usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
