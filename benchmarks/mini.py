"""featx-mini against the network that it was distilled from: three tables.

    featx extract chest_xray --cache teacher --backbone vgg16
    featx extract chest_xray --cache mini --backbone featx-mini
    python benchmarks/mini.py teacher mini

The caches hold the same images and copies. Likeness is that of the embeddings. A head is fitted on
phantoms, and measured on others of the same seed, which isn't that of the phantoms that featx-mini
was made from. Speed is that of three networks on drawn images, in turns, by ncnn. What heads make
of the two caches, ``benchmarks/copies.py`` says.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from markdown_table import show
from numpy.typing import NDArray

import featx
from featx.backbones._mini import MINI, MINI_FILE
from featx.demo import write_phantoms
from featx.demo._hospitals import HOME
from featx_cache import Cache

NETWORKS = ("vgg19", "vgg16", MINI)
BATCH, BLOCK = 16, 256
PHANTOM_SEED, PHANTOM_PATIENTS = 7, 200


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", help="cache of the teacher's embeddings")
    parser.add_argument("mini", help="cache of featx-mini's embeddings of the same images")
    parser.add_argument("--head", default="logreg")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores. {MINI_FILE.name}: {MINI_FILE.stat().st_size / 1e6:.2f} MB\n")
    show(
        [likeness(featx.load_cache(given.teacher), featx.load_cache(given.mini), c) for c in (0, 1)]
    )
    show([on_phantoms(given.head)])
    show(speed(given.rounds))


def speed(rounds: int) -> list[dict[str, Any]]:
    """Time the bare forward passes at 300 pixels, the networks in turns."""
    backbones = [
        featx.load_backbone(
            name, weights="imagenet" if name == MINI else "random", runtime="ncnn", device="cpu"
        )
        for name in NETWORKS
    ]
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, 300, 300, 1)).astype(np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(rounds + 1):
        for name, backbone in zip(NETWORKS, backbones, strict=True):
            started = time.perf_counter()
            backbone.embed(images)
            seconds[name].append(time.perf_counter() - started)
    rates = {name: BATCH / statistics.median(taken[1:]) for name, taken in seconds.items()}
    return [
        {"network": name, "images/s": rate, "times VGG19": rate / rates["vgg19"]}
        for name, rate in rates.items()
    ]


def likeness(teacher: Cache, mini: Cache, copy: int) -> dict[str, Any]:
    """Correlate the embeddings of untouched images, or of their first copies."""
    place = {key: row for row, key in enumerate(_keys(teacher))}
    pairs = [
        (place[key], row) for row, key in enumerate(_keys(mini)) if key[1] == copy and key in place
    ]
    size = int(np.prod(mini.embedding_shape))
    moments, averages = np.zeros(5), []
    for start in range(0, len(pairs), BLOCK):
        rows = np.array(pairs[start : start + BLOCK])
        one, other = (
            cache.read(rows[:, side]).reshape(len(rows), -1)[:, :size].astype(np.float64)
            for side, cache in enumerate((teacher, mini))
        )
        moments += [one.sum(), other.sum(), (one**2).sum(), (other**2).sum(), (one * other).sum()]
        averages.append([_averages(each, mini.embedding_shape) for each in (one, other)])
    count = len(pairs) * size
    x, y, xx, yy, xy = moments / count
    channels = [
        np.corrcoef(*each)[0, 1]
        for each in np.concatenate(averages, axis=1).transpose(2, 0, 1)
        if each.std(axis=1).all()
    ]
    return {
        "images": "untouched" if copy == 0 else f"copy {copy}",
        "number": len(pairs),
        "correlation of all values": (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y)),
        "of a channel's average (median)": float(np.median(channels)),
    }


def _keys(cache: Cache) -> list[tuple[str, int]]:
    table = cache.table(np.arange(len(cache.rows)))
    return list(zip(table["sha256"], table["copy"].tolist(), strict=True))


def _averages(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    averages: NDArray[np.float64] = values.reshape(len(values), *shape).mean(axis=(1, 2))
    return averages


def on_phantoms(head: str) -> dict[str, Any]:
    """Fit a head on phantoms of another seed, and measure it on their test split."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_phantoms(
            Path(folder) / "data", patients=PHANTOM_PATIENTS, seed=PHANTOM_SEED, hospital=HOME
        )
        backbone = featx.load_backbone(MINI)
        cache = featx.extract(featx.load_manifest(data), Path(folder) / "cache", backbone)
        run = featx.fit(cache, head, Path(folder) / "run", accuracy_floor=0.9)
        metrics = run.evaluate().metrics
        return {
            "phantoms of seed": PHANTOM_SEED,
            "test images": metrics.images,
            "accuracy": metrics.accuracy,
            "recall": metrics.recall,
            "ROC AUC": metrics.roc_auc,
        }


if __name__ == "__main__":
    main()
