"""What extraction costs as images become many, and whether the index bears a million.

Part ``images`` extracts 100 to 3,000 images with a small network, sizes in turn and several rounds,
and shows how far each lies from a straight line. Part ``million`` makes up the shard records of a
million images and times building the index over them, ``featx cache info``, and opening for
training, each in a process of its own. Usage::

    python benchmarks/scale.py DATA [--part images|million] [--rounds 3]
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

SIZES = (100, 300, 1000, 3000)
RECORDS = 1_000_000


def main() -> None:
    """Print the tables of both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="ROOT/{train,val}/CLASS/image; for part images.")
    parser.add_argument("--part", choices=["images", "million"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--step", choices=["manifest", "build", "open"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        _step(arguments.step, arguments.folder, arguments.records)
        return
    if arguments.part != "million" and arguments.data is None:
        parser.error("part images needs DATA")
    # First, while this process is small: the peak memory of a child begins with its parent's.
    if arguments.part != "images":
        _million(arguments.records)
    if arguments.part != "million":
        _images(arguments.data, [int(n) for n in arguments.sizes.split(",")], arguments.rounds)


def _images(data: str, sizes: list[int], rounds: int) -> None:
    from featx.backbones import load_backbone
    from featx.data import load_manifest
    from featx.extraction import ExtractionOptions, extract_images
    from featx.images import AugmentationSpec

    manifest = load_manifest(data)
    shuffled = manifest.table.drop_duplicates("sha256").sample(frac=1, random_state=0)
    backbone = load_backbone("vgg16", weights="random", input_size=96)
    augmentation, options = AugmentationSpec(copies=0), ExtractionOptions(batch_size=8)
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for round_ in range(rounds + 1):
        for size in sizes if round_ else sizes[:1]:  # the first round only warms up
            part = dataclasses.replace(manifest, table=shuffled.head(size).reset_index(drop=True))
            with tempfile.TemporaryDirectory() as folder:
                report = extract_images(
                    part, folder, backbone, augmentation=augmentation, options=options
                )
            if round_:
                seconds[size].append(report.seconds)
    middle = [median(seconds[size]) for size in sizes]
    # Relative deviations count, so each point is weighed by its own cost.
    slope, fixed = np.polyfit(sizes, middle, 1, w=1 / np.array(middle))
    print("| images | seconds (median) | images/s | off a straight line |\n|---|---|---|---|")
    off = []
    for size, value in zip(sizes, middle, strict=True):
        off.append(value / (fixed + slope * size) - 1)
        print(f"| {size} | {value:.2f} | {size / value:.1f} | {100 * off[-1]:+.1f} % |")
    print(f"\nlargest deviation {100 * max(map(abs, off)):.1f} % (bar: 5 %)\n")


def _million(records: int) -> None:
    print(f"| {records:,} images | seconds | peak RSS, MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            "(the manifest alone, in memory)": _own("manifest", folder, records),
            "building the index": _own("build", folder, records),
            "`featx cache info`": [sys.executable, "-m", "featx", "cache", "info", folder],
            "opening for training": _own("open", folder, records),
        }
        for name, command in steps.items():
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            text = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{name} failed")
            seconds = time.perf_counter() - started
            if text.startswith("seconds "):
                seconds = float(text.split()[1])
            print(f"| {name} | {seconds:.1f} | {usage.ru_maxrss / 1000:.0f} |", flush=True)
    print("\n(bars: 10 s and 500 MB each)")


def _own(step: str, folder: str, records: int) -> list[str]:
    arguments = ["--step", step, "--folder", folder, "--records", str(records)]
    return [sys.executable, __file__, *arguments]


def _step(step: str, folder: Path, records: int) -> None:
    """Do one step in this process and print how long it took."""
    if step == "open":
        started = time.perf_counter()
        import featx

        cache = featx.load_cache(folder)
        table = cache.table(cache.row_numbers(splits=("train", "val"), copies=True))
        _ = (table["label"] == cache.classes[1]).to_numpy(), table["group"].to_numpy()
        print("seconds", time.perf_counter() - started)
        return
    import pandas as pd

    from featx.backbones import BackboneSpec
    from featx.extraction import ExtractionSpec
    from featx.extraction._extract_images import ROWS_PER_SHARD
    from featx.extraction._plan import FinishedShards, locate_rows
    from featx.images import AugmentationSpec
    from featx_cache._index import Provenance, write_index
    from featx_cache._shards import RowKeys, write_shard

    numbers = range(records)
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    classes = ("NORMAL", "PNEUMONIA")
    table = pd.DataFrame(
        {
            "path": [f"train/{classes[n % 2]}/person{n // 2}_bacteria_{n}.jpeg" for n in numbers],
            "sha256": hashes,
            "label": [classes[n % 2] for n in numbers],
            "split": ["train" if n % 10 else "val" for n in numbers],
            "group": [f"person{n // 2}_bacteria" for n in numbers],
        }
    )
    if step == "manifest":
        print("seconds 0")
        return
    spec = ExtractionSpec(
        backbone=BackboneSpec(
            name="vgg19", layer="block5_pool", weights="trained", weights_sha256="", input_size=300
        ),
        augmentation=AugmentationSpec(copies=0),
    )
    finished = FinishedShards()
    for start in range(0, records, ROWS_PER_SHARD):
        keys = RowKeys.of([(sha256, 0) for sha256 in hashes[start : start + ROWS_PER_SHARD]])
        finished.add(f"shard-{start:020d}.h5", keys)
    del hashes
    # The index asks the first shard for the shape of an embedding.
    (folder / "shards").mkdir()
    one = RowKeys.of([("0" * 64, 0)])
    embedding = np.zeros((1, 9, 9, 512), np.float16)
    write_shard(folder / "shards" / f"shard-{0:020d}.h5", embedding, one, spec="{}")
    started = time.perf_counter()
    locations = locate_rows(table, spec, finished)
    text = json.dumps(spec.model_dump())
    write_index(folder, table, locations, Provenance(classes, {}), spec=text)
    print("seconds", time.perf_counter() - started)


if __name__ == "__main__":
    main()
