"""What looking at a data set costs: `featx data check`, and a manifest of a million rows.

Part ``check`` runs ``featx data check DATA`` as a program and, beside it in the same run, a loop
that only decodes the same files with Pillow in one process. It gives time and the peak memory of
all processes together. Part ``manifest`` writes a CSV manifest of a million made-up images and
times reading it, validation and all, beside ``pandas.read_csv`` on the same file. Part ``near``
counts how alike different images of DATA are. The limits of near duplicates come from there.

    python benchmarks/data.py DATA [--part check|manifest|near] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=["check", "manifest", "near"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    parts = [arguments.part] if arguments.part else ["check", "manifest", "near"]
    if "check" in parts:
        check(arguments.data)
    if "manifest" in parts:
        with tempfile.TemporaryDirectory() as folder:
            manifest(Path(folder), arguments.rows)
    if "near" in parts:
        near(arguments.data)


def check(data: Path) -> None:
    """Time the check and a bare decoding loop in turn."""
    files = [path for path in data.rglob("*") if path.is_file()]
    started = time.perf_counter()
    for path in files:
        with Image.open(path) as image:
            image.load()
    bare = time.perf_counter() - started
    seconds, peak = run([sys.executable, "-m", "featx", "-q", "data", "check", str(data)])
    print(f"bare decoding of {len(files)} files, one process: {bare:.1f} s")
    print(f"featx data check: {seconds:.1f} s, {seconds / bare:.2f} times as long, {peak:.0f} MB")


def manifest(folder: Path, rows: int) -> None:
    """Write a manifest of made-up images, and read it."""
    number = np.arange(rows)
    label = np.where(number % 4 == 0, "NORMAL", "PNEUMONIA")
    table = pd.DataFrame(
        {
            "path": [f"images/{n // 10000:03}/patient{n // 3}_{n}.jpeg" for n in number],
            "label": label,
            "split": np.array(["train", "train", "train", "val", "test"])[number // 3 % 5],
            "group": [f"patient{n // 3}" for n in number],
            "sha256": [hashlib.sha256(str(n).encode()).hexdigest() for n in number],
            "width": 1024,
            "height": 1024,
            "mode": "L",
            "source": "JPEG",
        }
    )
    file = folder / "manifest.csv"
    table.to_csv(file, index=False)
    del table
    pandas = f"import pandas; pandas.read_csv({str(file)!r})"
    featx = (
        f"from featx.data import load_manifest; m = load_manifest({str(file)!r}); "
        f"assert len(m) == {rows}"
    )
    for name, code in (("pandas.read_csv", pandas), ("featx.load_manifest", featx)):
        seconds, peak = run([sys.executable, "-c", code])
        print(f"{name}, {rows:,} rows: {seconds:.1f} s, {peak:.0f} MB")


def near(data: Path) -> None:
    """Say how alike the most alike different images are."""
    from featx.data import load_manifest
    from featx.inspection._duplicates import LARGEST_DISTANCE, correlation
    from featx.inspection._measure_images import measure

    images = load_manifest(data)
    measured = measure(images)
    content = pd.factorize(images.table["sha256"])[0]
    flat = measured.thumbnail.reshape(len(content), -1)
    found = []
    for one in range(len(content) - 1):
        distance = np.bitwise_count(measured.phash[one + 1 :] ^ measured.phash[one])
        close = np.flatnonzero(distance <= LARGEST_DISTANCE) + one + 1
        close = close[content[close] != content[one]]
        if len(close):
            found.append(correlation(flat[[one] * len(close)], flat[close]))
    alike = np.concatenate(found) if found else np.zeros(1)
    pairs = len(content) * (len(content) - 1) // 2
    print(f"{pairs:,} pairs; {len(alike):,} of different files within "
          f"{LARGEST_DISTANCE} bits; correlation at most {alike.max():.4f}")  # fmt: skip


def run(command: list[str]) -> tuple[float, float]:
    """Run a program. Return its seconds and the peak memory of it and its children in MB."""
    peak, done = [0.0], threading.Event()
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not done.wait(0.05):
            try:
                family = [root, *root.children(recursive=True)]
                peak[0] = max(peak[0], sum(p.memory_full_info().pss for p in family) / 1e6)
            except psutil.Error:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    process.wait()
    seconds = time.perf_counter() - started
    done.set()
    thread.join()
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    return seconds, peak[0]


if __name__ == "__main__":
    main()
