"""Fitting heads on a cache that is larger than the memory they may have.

Makes a cache of drawn float16 numbers that don't compress, then fits a Keras head (read from disk
in every epoch) and a logistic regression (pooled while reading) on it, each in a process that a
control group holds to so much memory. An epoch of the same head on a sixth of the rows in memory is
timed beside it. Needs root and Linux's control groups, version 1. Usage::

    python benchmarks/memory.py FOLDER [--gigabytes 6] [--limit 2]

FOLDER is where the cache goes. It is removed afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx.backbones import BackboneSpec
from featx.extraction import ExtractionSpec
from featx.images import AugmentationSpec
from featx_cache._index import Provenance, RowLocations, write_index
from featx_cache._shards import RowKeys, shard_name, write_shard

SHAPE, SHARD = (9, 9, 512), 240
GROUP = Path("/sys/fs/cgroup/memory/featx-benchmark")
FIT = """
import sys, json, numpy as np, time
from featx.heads import HeadSpec
from featx.training._data import load_training_data
from featx.training._scoring import fit_head
from featx_cache import LazyEmbeddings, open_cache
name, settings, rows = sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
cache = open_cache(sys.argv[1])
spec = HeadSpec.choose(name, settings=settings)
started = time.perf_counter()
data = load_training_data(cache, spec, use_copies=False)
head = fit_head(spec, data, np.arange(rows or len(data.y)))
epochs = [epoch["seconds"] for epoch in getattr(head, "history_", [])]
print(json.dumps({
    "rows": rows or len(data.y), "on disk": isinstance(data.X, LazyEmbeddings),
    "seconds": time.perf_counter() - started, "epochs": epochs}))
"""


def make_cache(folder: Path, rows: int) -> None:
    """Write a cache of drawn numbers, uncompressed."""
    spec = ExtractionSpec(
        backbone=BackboneSpec(
            name="vgg16",
            layer="block5_pool",
            weights="random",
            weights_sha256="0" * 64,
            input_size=300,
        ),
        augmentation=AugmentationSpec(copies=0),
    )
    (folder / "shards").mkdir(parents=True)
    draw = np.random.default_rng(0)
    label = np.arange(rows) % 2
    sha256 = [hashlib.sha256(str(row).encode()).hexdigest() for row in range(rows)]
    names = []
    for start in range(0, rows, SHARD):
        some = range(start, min(start + SHARD, rows))
        keys = RowKeys.of([(sha256[row], 0) for row in some])
        content = draw.standard_normal((len(some), *SHAPE), np.float32)
        content[:, :, :, :32] += label[start : start + len(some), None, None, None]
        names.append(shard_name(spec.fingerprint, keys))
        write_shard(
            folder / "shards" / names[-1],
            content.astype(np.float16),
            keys,
            spec=spec.canonical_json(),
            compression=None,
        )
    images = pd.DataFrame(
        {
            "path": [f"train/{row}.png" for row in range(rows)],
            "sha256": sha256,
            "label": np.array(["NORMAL", "PNEUMONIA"], object)[label],
            "split": "train",
            "group": [f"p{row // 2}" for row in range(rows)],
        }
    )
    number = np.arange(rows)
    places = RowLocations(
        number,
        np.zeros(rows, np.int16),
        (number // SHARD).astype(np.int32),
        (number % SHARD).astype(np.int32),
        names,
    )
    labelling = Provenance(("NORMAL", "PNEUMONIA"), {}, weights="none", data="none")
    write_index(folder, images, places, labelling, spec=spec.canonical_json())


def fit(
    cache: Path, name: str, settings: Mapping[str, object], rows: int, limit: float
) -> dict[str, Any]:
    """Fit in a process that may have `limit` gigabytes; 0 for no limit."""

    def enter() -> None:
        if limit:
            (GROUP / "cgroup.procs").write_text(str(os.getpid()))

    if limit:
        GROUP.mkdir(exist_ok=True)
        (GROUP / "memory.limit_in_bytes").write_text(str(int(limit * 2**30)))
    command = [sys.executable, "-c", FIT, str(cache), name, json.dumps(settings), str(rows)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=enter, env=environment
    )
    if done.returncode:
        return {"failed": done.returncode, "said": done.stderr[-400:]}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"largest process so far, GiB": round(peak, 2)}


def main() -> None:
    """Print a line a fit, and the ratio of the epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--limit", type=float, default=2.0)
    arguments = parser.parse_args()
    rows = int(arguments.gigabytes * 1e9 / (2 * np.prod(SHAPE)))
    cache = arguments.folder / "large-cache"
    try:
        make_cache(cache, rows)
        print(f"{rows} rows, {sum(f.stat().st_size for f in cache.rglob('*.h5')) / 1e9:.2f} GB")
        keras = {"epochs": 2}
        large = fit(cache, "keras", keras, 0, arguments.limit)
        print("keras, limited:", large, flush=True)
        logreg = {"representation": "average"}
        print("logreg, limited:", fit(cache, "logreg", logreg, 0, arguments.limit), flush=True)
        print("logreg, pyramid:", fit(cache, "logreg", {}, 0, arguments.limit), flush=True)
        some = rows // 6
        small = fit(cache, "keras", keras, some, 0)
        print("keras, in memory:", small, flush=True)
        disk, memory = (min(found["epochs"]) / found["rows"] for found in (large, small))
        print(f"an epoch from disk takes {disk / memory:.2f} times as long a row (bar: 1.5)")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        if GROUP.is_dir():
            GROUP.rmdir()


if __name__ == "__main__":
    main()
